"""Upkeep of the job queue: how full it is, jobs put aside, records of jobs long gone."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog

from passmill.domain.callers import Caller, operator_caller
from passmill.errors import AppError
from passmill.store import jobs
from passmill.store.database import Database
from passmill.telemetry.campaign_metrics import CampaignMetrics

_EVERY_SECONDS = 5.0
_DEADLINE_SECONDS = 30.0
# So many rounds lie between two sweeps of the record.
_ROUNDS_A_SWEEP = 720
_KEPT = timedelta(days=7)


class WatchQueue:
    """Looks after the queue while a worker runs."""

    def __init__(self, *, database: Database, metrics: CampaignMetrics) -> None:
        self._database = database
        self._metrics = metrics
        self._log = structlog.get_logger("passmill.jobs")

    async def run_forever(self) -> None:
        """Every few seconds. Ends by cancellation."""
        rounds = 0
        while True:
            try:
                await self()
                if rounds % _ROUNDS_A_SWEEP == 0:
                    await self.sweep()
                rounds += 1
            except AppError as error:
                self._log.warning("queue.not_watched", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("queue.not_watched")
            await asyncio.sleep(_EVERY_SECONDS)

    async def __call__(self) -> None:
        """Measures the queue, and lets jobs begin again that could not even be put back."""
        async with self._database.transaction(_operator()) as tx:
            state = await jobs.read_queue_state(tx, jobs.JobKind.SHARD)
            requeued = await jobs.requeue_failed_jobs(tx)
        self._metrics.queue(depth=state.waiting, oldest_seconds=state.oldest_seconds)
        if requeued:
            self._log.warning("queue.jobs_requeued", count=requeued)

    async def sweep(self) -> None:
        """Forgets what the queue noted of jobs that ended a week ago."""
        async with self._database.transaction(_operator()) as tx:
            await jobs.forget_ended_jobs(tx, older_than=_KEPT)


def _operator() -> Caller:
    return operator_caller(deadline=asyncio.get_running_loop().time() + _DEADLINE_SECONDS)
