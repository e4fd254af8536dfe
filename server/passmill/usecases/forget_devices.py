"""Forget registrations that ended long ago, devices that have none left, and who was one too
many."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from passmill.domain.callers import operator_caller
from passmill.domain.clock import Clock
from passmill.errors import AppError
from passmill.store import devices, sharing
from passmill.store.database import Database

# So long whoever follows the tags may be away, and come back to all that ended meanwhile.
KEPT: Final = timedelta(days=30)
_EVERY_SECONDS: Final = 600.0
_AT_ONCE: Final = 1_000
_DEADLINE_SECONDS: Final = 30.0


class ForgetDevices:
    """Deletes them, in small steps; how many there were stays counted."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._log = structlog.get_logger("passmill.upkeep")

    async def run_forever(self) -> None:
        """Every ten minutes. Ends by cancellation."""
        while True:
            try:
                while await self():  # noqa: ASYNC110 - a pause, not a poll
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
