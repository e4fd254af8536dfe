"""Forget events that watchers had time enough to hear of."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from passmill.domain.callers import operator_caller
from passmill.domain.clock import Clock
from passmill.errors import AppError
from passmill.store.database import Database
from passmill.store.events import forget_events_before

_EVERY_SECONDS: Final = 600.0
_AT_ONCE: Final = 2_000
_DEADLINE_SECONDS: Final = 30.0


class ForgetEvents:
    """Deletes events older than `kept`, in small steps."""

    def __init__(self, *, database: Database, clock: Clock, kept: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._kept = kept
        self._log = structlog.get_logger("passmill.upkeep")

    async def run_forever(self) -> None:
        """Every ten minutes. Ends by cancellation."""
        while True:
            try:
                while await self() == _AT_ONCE:  # noqa: ASYNC110 - a pause, not a poll
                    await asyncio.sleep(0.1)
            except AppError as error:
                self._log.warning("events.not_forgotten", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("events.not_forgotten")
            await asyncio.sleep(_EVERY_SECONDS)

    async def __call__(self) -> int:
        """One step; gives how many were deleted."""
        deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
        async with self._database.transaction(operator_caller(deadline=deadline)) as tx:
            return await forget_events_before(tx, self._clock.now() - self._kept, at_most=_AT_ONCE)
