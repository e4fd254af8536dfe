"""How many of a worker's places one pass type may take: where its pushes hang, those of all others
must not wait behind them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from passmill.domain.ids import TenantId
from passmill.domain.recent import Recent
from passmill.errors import AppError, Reason

# APNs answers within some ten milliseconds.
_SLOW_SECONDS: Final = 1.0
_REMEMBERED_SECONDS: Final = 60.0
_MOST_TOPICS: Final = 10_000
_COME_AGAIN: Final = timedelta(seconds=2)


class TopicPlaces:
    """Gives places to pass types: three quarters to one alone, a quarter while its pushes are slow
    or were a minute ago. `places`: of the worker, at least 4. `monotonic`: seconds of any clock."""

    def __init__(self, *, places: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._most = places * 3 // 4
        self._most_of_slow = places // 4
        self._monotonic = monotonic
        self._taken: Counter[tuple[TenantId, str]] = Counter()
        self._pushing: dict[tuple[TenantId, str], dict[object, float]] = {}
        self._slow: Recent[tuple[TenantId, str], bool] = Recent(capacity=_MOST_TOPICS)

    @contextmanager
    def take(self, tenant_id: TenantId, topic: str) -> Iterator[None]:
        """A place for a job's time. AppError RATE_LIMITED, with when to come again, when the pass
        type has as many as it may."""
        key = (tenant_id, topic)
        if self._taken[key] >= (self._most_of_slow if self._is_slow(key) else self._most):
            raise AppError(
                reason=Reason.RATE_LIMITED,
                message="The pushes of this pass type take long; others have their turn.",
                retry_after=_COME_AGAIN,
            )
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]

    @contextmanager
    def pushing(self, tenant_id: TenantId, topic: str) -> Iterator[None]:
        """The time that APNs takes for some pushes."""
        key, mark = (tenant_id, topic), object()
        began = self._monotonic()
        self._pushing.setdefault(key, {})[mark] = began
        try:
            yield
        finally:
            del self._pushing[key][mark]
            if not self._pushing[key]:
                del self._pushing[key]
            ended = self._monotonic()
            if ended - began > _SLOW_SECONDS:
                self._slow.keep(key, True, until=ended + _REMEMBERED_SECONDS)

    def _is_slow(self, key: tuple[TenantId, str]) -> bool:
        now = self._monotonic()
        if self._slow.find(key, now=now):
            return True
        return any(now - began > _SLOW_SECONDS for began in self._pushing.get(key, {}).values())
