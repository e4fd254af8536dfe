"""Take from balances what has ended: points that were earned with an end. A worker's upkeep.

Nobody can spend what has ended, whether it was taken or not: who posts to a balance first takes it
(`store.expiries`). This finds the balances that nobody posts to. Several workers may do so at once,
and one that dies begins again: what is taken is decided under the balance's lock, and its key lets
it be posted once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import groupby
from typing import Final

import structlog

from passmill.domain.callers import Caller, internal_caller, operator_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.errors import AppError
from passmill.store import expiries
from passmill.store.database import Database
from passmill.store.expiries import Key
from passmill.telemetry.balance_metrics import BalanceMetrics

_FOUND_AT_ONCE: Final = 500
_AT_ONCE: Final = 25  # balances locked together; all entries of each are read
_DEADLINE_SECONDS: Final = 30.0


class ExpireBalances:
    """Settles the balances that are due, some in a transaction."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        metrics: BalanceMetrics,
        every_seconds: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._every_seconds = every_seconds
        self._log = structlog.get_logger("passmill.upkeep")

    async def run_forever(self) -> None:
        """Every `every_seconds`. Ends by cancellation."""
        while True:
            try:
                await self()
            except AppError as error:
                self._log.warning("balances.not_expired", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("balances.not_expired")
            await asyncio.sleep(self._every_seconds)

    async def __call__(self) -> int:
        """Settles all that are due now; gives how many entries that took. What is held is left, and
        looked at again the next time."""
        now = self._clock.now()
        posted, after = 0, None
        while True:
            async with self._database.transaction(_operator(), read_only=True) as tx:
                due = await expiries.find_due(tx, now=now, after=after, at_most=_FOUND_AT_ONCE)
            by_tenant = sorted(due, key=lambda each: each.tenant_id)
            for tenant_id, found in groupby(by_tenant, key=lambda each: each.tenant_id):
                keys = [each.key for each in found]
                for start in range(0, len(keys), _AT_ONCE):
                    posted += await self._settle(tenant_id, keys[start : start + _AT_ONCE])
            if len(due) < _FOUND_AT_ONCE:
                break
            after = due[-1]
        async with self._database.transaction(_operator(), read_only=True) as tx:
            oldest = await expiries.oldest_due(tx, now=self._clock.now())
        late = None if oldest is None else self._clock.now() - oldest
        self._metrics.expiry_lag(0.0 if late is None else late.total_seconds())
        return posted

    async def _settle(self, tenant_id: TenantId, keys: Sequence[Key]) -> int:
        deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
        caller = internal_caller(tenant_id, deadline=deadline)
        async with self._database.transaction(caller) as tx:
            settled = await expiries.lock_settled(tx, keys, now=self._clock.now())
        for entry in settled.entries:
            self._metrics.expired(entry.unit, -entry.amount)
        return len(settled.entries)


def _operator() -> Caller:
    return operator_caller(deadline=asyncio.get_running_loop().time() + _DEADLINE_SECONDS)
