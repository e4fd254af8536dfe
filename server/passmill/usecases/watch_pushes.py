"""Upkeep of pushes: how many wait, how long, and which pass types are stopped."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from passmill.domain.callers import operator_caller
from passmill.errors import AppError
from passmill.store.database import Database
from passmill.store.jobs import JobKind, read_queue_state
from passmill.store.stopped_topics import count_stopped
from passmill.telemetry.push_metrics import PushMetrics

_EVERY_SECONDS: Final = 5.0
_DEADLINE_SECONDS: Final = 30.0


class WatchPushes:
    """Measures the queue of pushes while a worker runs."""

    def __init__(self, *, database: Database, metrics: PushMetrics) -> None:
        self._database = database
        self._metrics = metrics
        self._log = structlog.get_logger("passmill.push")

    async def run_forever(self) -> None:
        """Every few seconds. Ends by cancellation."""
        while True:
            try:
                await self()
            except AppError as error:
                self._log.warning("push.not_watched", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("push.not_watched")
            await asyncio.sleep(_EVERY_SECONDS)

    async def __call__(self) -> None:
        """Measures once."""
        caller = operator_caller(deadline=asyncio.get_running_loop().time() + _DEADLINE_SECONDS)
        async with self._database.transaction(caller, read_only=True) as tx:
            state = await read_queue_state(tx, JobKind.PUSH, JobKind.PUSH_MANY)
            stopped = await count_stopped(tx)
        self._metrics.queue(depth=state.waiting, oldest_seconds=state.oldest_seconds)
        self._metrics.topics_stopped(stopped)
