"""Let tiers fall whose window has passed. A worker's upkeep: who earned something that is no longer
counted, and so has another tier now, is shown it by the job that shows balances.

How far a program was looked at is moved in the transaction of the jobs, under its lock: so several
workers, or one that dies, leave nobody out and ask for each once. A pass that shows its tier
already is left alone by the job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from passmill.domain.balance_units import BalanceRules
from passmill.domain.callers import internal_caller, operator_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, ProgramId, TenantId
from passmill.domain.ledger import AccountId
from passmill.errors import AppError
from passmill.store import tier_sweeps
from passmill.store.balance_jobs import enqueue_show_balances
from passmill.store.balance_units import read_rules
from passmill.store.changed_passes import read_passes
from passmill.store.database import Database, Transaction
from passmill.store.ledger import get_balances
from passmill.telemetry.balance_metrics import BalanceMetrics

_STEP: Final = timedelta(hours=1)  # of entries looked at in a transaction
# Whoever posts shows the tier of its own time: what was under way at the last look, and not seen,
# has been committed after so long.
_OVERLAP: Final = timedelta(minutes=2)
_AT_ONCE: Final = 500
_DEADLINE_SECONDS: Final = 60.0


class LowerTiers:
    """Looks at the programs whose tiers have windows, hour by hour of what was earned."""

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
                self._log.warning("tiers.not_lowered", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("tiers.not_lowered")
            await asyncio.sleep(self._every_seconds)

    async def __call__(self) -> int:
        """Looks at all programs up to now; gives how many accounts have another tier by that."""
        deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
        operator = operator_caller(deadline=deadline)
        async with self._database.transaction(operator, read_only=True) as tx:
            found = await tier_sweeps.find_sweeps(tx, before=self._clock.now())
        fallen = 0
        for tenant_id, program_id in found:
            while (step := await self._step(tenant_id, program_id)) is not None:
                fallen += step
        return fallen

    async def _step(self, tenant_id: TenantId, program_id: ProgramId) -> int | None:
        """How many have another tier after the next hour; None when there is no next."""
        deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
        caller = internal_caller(tenant_id, deadline=deadline)
        async with self._database.transaction(caller) as tx:
            last = await tier_sweeps.lock_sweep(tx, program_id)
            now = self._clock.now()
            if last is None or last >= now:
                return None
            until = min(now, last + _STEP)
            rules = await read_rules(tx, program_id)
            fallen = await _fallen(tx, program_id, rules, since=last - _OVERLAP, until=until)
            if fallen:
                await enqueue_show_balances(tx, fallen)
            await tier_sweeps.end_sweep(tx, program_id, until)
        self._metrics.tiers_changed(len(fallen))
        return len(fallen)


async def _fallen(
    tx: Transaction,
    program_id: ProgramId,
    rules: BalanceRules,
    *,
    since: datetime,
    until: datetime,
) -> list[AccountId]:
    """The program's accounts whose tiers at these times differ, by the entries there are now."""
    found: set[AccountId] = set()
    for days in rules.windows:
        window = timedelta(days=days)
        found.update(
            await tier_sweeps.earners_between(
                tx, rules.tiers[0].unit, since - window, until - window
            )
        )
    ordered, fallen = sorted(found), list[AccountId]()
    for start in range(0, len(ordered), _AT_ONCE):
        account_ids = ordered[start : start + _AT_ONCE]
        before, after = [await _tiers(tx, rules, account_ids, now=time) for time in (since, until)]
        changed = [each for each in account_ids if before[each] != after[each]]
        # Another program of the tenant may count a unit of this name.
        passes = await read_passes(tx, [PassId(each) for each in changed])
        fallen += [
            each
            for each in changed
            if each in passes and passes[PassId(each)].program_id == program_id
        ]
    return fallen


async def _tiers(
    tx: Transaction, rules: BalanceRules, account_ids: Sequence[AccountId], *, now: datetime
) -> Mapping[AccountId, str]:
    unit = rules.tiers[0].unit
    balances = await get_balances(tx, account_ids, now=now)
    earned = {
        days: await tier_sweeps.earned_by_each(tx, account_ids, unit, now - timedelta(days=days))
        for days in rules.windows
    }
    tiers = {}
    for account_id in account_ids:
        tier = rules.tier_of(
            {0: balances[account_id, unit].earned}
            | {days: each.get(account_id, 0) for days, each in earned.items()}
        )
        tiers[account_id] = "" if tier is None else tier.tier
    return tiers
