"""Forget stored answers that nobody will ask for again."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from passmill.domain.callers import operator_caller
from passmill.domain.clock import Clock
from passmill.errors import AppError
from passmill.store import answers
from passmill.store.database import Database

# A retry comes within minutes; a till's queue on disk may come after a long weekend.
KEPT = timedelta(days=30)
_EVERY_SECONDS = 600.0
_AT_ONCE = 5_000
_DEADLINE_SECONDS = 30.0


class ForgetAnswers:
    """Deletes answers older than `KEPT`, in small steps."""

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
                self._log.warning("answers.not_forgotten", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("answers.not_forgotten")
            await asyncio.sleep(_EVERY_SECONDS)

    async def __call__(self) -> int:
        """One step; gives how many were deleted."""
        deadline = asyncio.get_running_loop().time() + _DEADLINE_SECONDS
        async with self._database.transaction(operator_caller(deadline=deadline)) as tx:
            return await answers.delete_answers_before(
                tx, self._clock.now() - KEPT, at_most=_AT_ONCE
            )
