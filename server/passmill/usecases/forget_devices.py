"""Forget registrations that ended long ago, devices that have none left, and who was one too
many."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import Final

import structlog

from passmill.domain.callers import operator_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import OPERATOR_TENANT, TenantId
from passmill.domain.registrations import DeviceNumber
from passmill.errors import AppError
from passmill.store import devices, sharing
from passmill.store.database import Database

# So long whoever follows the tags may be away, and come back to all that ended meanwhile.
KEPT: Final = timedelta(days=30)
# No registration takes so long.
_BARE_FOR: Final = timedelta(days=1)
_EVERY_SECONDS: Final = 600.0
_PAGES_EACH_TIME: Final = 20  # of a million devices each is looked at every eight hours
_AT_ONCE: Final = 1_000
_DEADLINE_SECONDS: Final = 30.0
_FIRST: Final = (OPERATOR_TENANT, DeviceNumber(0))


class ForgetDevices:
    """Deletes them, in small steps; how many there were stays counted."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._after = _FIRST
        self._log = structlog.get_logger("passmill.upkeep")

    async def run_forever(self) -> None:
        """Every ten minutes. Ends by cancellation."""
        while True:
            try:
                while await self():  # noqa: ASYNC110 - a pause, not a poll
                    await asyncio.sleep(0.1)
                for _ in range(_PAGES_EACH_TIME):
                    await self.forget_bare()
                    await asyncio.sleep(0.1)
            except AppError as error:
                self._log.warning("devices.not_forgotten", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("devices.not_forgotten")
            await asyncio.sleep(_EVERY_SECONDS)

    async def __call__(self) -> int:
        """One step; gives how many registrations and excesses were deleted."""
        deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
        operator = operator_caller(deadline=deadline)
        before = self._clock.now() - KEPT
        async with self._database.transaction(operator, read_only=True) as tx:
            found = await devices.find_ended(tx, before=before, at_most=_AT_ONCE)
        deleted = 0
        for tenant_id, device_numbers in found.items():
            async with self._database.transaction(operator.acting_for(tenant_id)) as tx:
                deleted += await devices.delete_ended(tx, device_numbers, before=before)
        async with self._database.transaction(operator) as tx:
            deleted += await sharing.delete_over_shares_before(tx, before, at_most=_AT_ONCE)
        return deleted

    async def forget_bare(self) -> int:
        """Looks at the next thousand devices, and deletes those that a registration which came to
        nothing has left behind; gives how many."""
        deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
        operator = operator_caller(deadline=deadline)
        before = self._clock.now() - _BARE_FOR
        async with self._database.transaction(operator, read_only=True) as tx:
            bare, after = await devices.find_bare(
                tx, after=self._after, before=before, at_most=_AT_ONCE
            )
        by_tenant: defaultdict[TenantId, list[DeviceNumber]] = defaultdict(list)
        for tenant_id, device_number in bare:
            by_tenant[tenant_id].append(device_number)
        for tenant_id, device_numbers in by_tenant.items():
            async with self._database.transaction(operator.acting_for(tenant_id)) as tx:
                await devices.delete_ended(tx, device_numbers, before=before)
        self._after = after or _FIRST
        return len(bare)
