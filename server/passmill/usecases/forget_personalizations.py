"""Forget reward sign-ups whose signature nobody will ask for again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from passmill.domain.callers import operator_caller
from passmill.domain.clock import Clock
from passmill.errors import AppError
from passmill.store.database import Database
from passmill.store.personalizations import delete_personalizations_before

# A phone without an answer tries again within minutes; what somebody said of himself does not stay
# longer than that needs.
KEPT: Final = timedelta(days=1)
_EVERY_SECONDS: Final = 600.0
_AT_ONCE: Final = 5_000
_DEADLINE_SECONDS: Final = 30.0


class ForgetPersonalizations:
    """Deletes sign-ups older than `KEPT`, in small steps."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._log = structlog.get_logger("passmill.upkeep")

    async def run_forever(self) -> None:
        """Every ten minutes. Ends by cancellation."""
        while True:
            try:
                while await self() == _AT_ONCE:  # noqa: ASYNC110 - a pause, not a poll
                    await asyncio.sleep(0.1)
            except AppError as error:
                self._log.warning("sign_ups.not_forgotten", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("sign_ups.not_forgotten")
            await asyncio.sleep(_EVERY_SECONDS)

    async def __call__(self) -> int:
        """One step; gives how many were deleted."""
        deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
        async with self._database.transaction(operator_caller(deadline=deadline)) as tx:
            return await delete_personalizations_before(
                tx, self._clock.now() - KEPT, at_most=_AT_ONCE
            )
