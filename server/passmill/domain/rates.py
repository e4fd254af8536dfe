"""How often something may be done by each of many: token buckets in the memory of this process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

# Of sums and products of seconds: a bucket that is just not empty must not be refused.
_ROUNDING: Final = 1e-9


class Rates:
    """Buckets by key (the generic cell rate algorithm, ITU-T I.371). Of more keys than it has room
    for, those charged longest ago are forgotten, and begin with a full bucket."""

    __slots__ = ("_burst_seconds", "_capacity", "_full_at", "_interval", "_monotonic")

    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        capacity: int = 100_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`burst`: so many at once, then `per_second` each second."""
        self._interval = 1.0 / per_second
        self._burst_seconds = burst * self._interval
        self._capacity = capacity
        self._monotonic = monotonic
        # When each bucket would be full again.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, key: str) -> float:
        """0.0 when it may be done once more now, else the seconds after which it may."""
        owed = max(self._full_at.get(key, 0.0) - self._monotonic(), 0.0)
        wait = owed + self._interval - self._burst_seconds
        return wait if wait > _ROUNDING else 0.0

    def charge(self, key: str) -> None:
        """Counts one; where several were let in at once, the bucket may owe some."""
        self._full_at[key] = max(self._full_at.get(key, 0.0), self._monotonic()) + self._interval
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
