"""A worker: takes jobs from PgQueuer and hands them to use cases.

Delivery is at least once; the use cases are idempotent. A job that fails for a while is put back;
the job of a worker that dies is taken by another one when its heartbeat has been silent for
`heartbeat_seconds`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from types import MappingProxyType
from typing import Final, Generic, Protocol, TypeVar

import structlog
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager

from passmill.errors import AppError, ErrorKind
from passmill.store.jobs import JobKind
from passmill.telemetry.campaign_metrics import CampaignMetrics


class Payload(Protocol):
    """What a job is about."""

    def log_fields(self) -> Mapping[str, str]:
        """What the log says of it."""
        ...


AnyPayload = TypeVar("AnyPayload", bound=Payload)

# An idle worker looks so often by itself, should it miss a notification; and four times a
# heartbeat, as nothing tells of another worker's silence.
_LAST_POLL: Final = timedelta(seconds=5)
_RECONNECT_SECONDS: Final = 0.5
_FIRST_DELAY: Final = timedelta(milliseconds=200)
_LAST_DELAY: Final = timedelta(seconds=15)
# What fails so often for no reason we know is a fault of ours: a person must look.
_TRIES: Final = 6
# May pass by themselves, however long that takes.
_PASSING: Final = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.DEADLINE, ErrorKind.CONFLICT})


class Worker(Generic[AnyPayload]):
    """Serves jobs until told to stop.

    What a handler refuses as EXHAUSTED, with when to come again, did not fail: it had no place.

    `open_queue`: connects to the queue. `decode`: a job's payload; ValueError for what is none.
    `handlers`: what each kind of job does. `give_up`: called when a job has failed too often for no
    known reason; gives whether that did, else the job is put back. `concurrent_jobs`: at least 2,
    so that one job's writing goes along with another's signing. `batch_size`: jobs taken at once,
    at most half of those. `most_at_once`: of a kind, in all workers together.
    """

    def __init__(
        self,
        *,
        open_queue: Callable[[], AbstractAsyncContextManager[Queries]],
        decode: Callable[[bytes | None], AnyPayload],
        handlers: Mapping[JobKind, Callable[[AnyPayload], Awaitable[None]]],
        give_up: Callable[[AnyPayload], Awaitable[bool]],
        metrics: CampaignMetrics,
        concurrent_jobs: int,
        heartbeat_seconds: float,
        batch_size: int = 1,
        most_at_once: Mapping[JobKind, int] = MappingProxyType({}),
    ) -> None:
        self._decode = decode
        self._batch_size = batch_size
        self._most_at_once = most_at_once
        self._open_queue = open_queue
        self._handlers = handlers
        self._give_up = give_up
        self._metrics = metrics
        self._concurrent_jobs = concurrent_jobs
        self._heartbeat = timedelta(seconds=heartbeat_seconds)
        self._log = structlog.get_logger("passmill.jobs")

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`; jobs under way are finished. Outlives the loss of the database: it
        comes back when that does."""
        while not stop.is_set():
            try:
                # Connected anew each time: what listened on a lost connection hears nothing more.
                async with self._open_queue() as queue, asyncio.TaskGroup() as tasks:
                    await self._work(queue, stop, tasks)
            except* Exception as errors:  # noqa: BLE001 - whatever it is, the worker goes on
                names = sorted({type(error).__name__ for error in errors.exceptions})
                self._log.warning("worker.lost_queue", errors=names)
                await _wait(stop, _RECONNECT_SECONDS)

    async def _work(self, queue: Queries, stop: asyncio.Event, tasks: asyncio.TaskGroup) -> None:
        manager = QueueManager(queue, queue.qbe.settings.channel)
        for kind in self._handlers:
            # Held, not deleted, should putting it back fail: upkeep lets it begin again.
            manager.entrypoint(
                kind.value,
                concurrency_limit=self._most_at_once.get(kind, 0),
                accepts_context=False,
                on_failure="hold",
            )(self._serve)
        stopping = tasks.create_task(_pass_on(stop, manager.shutdown))
        try:
            await manager.run(
                dequeue_timeout=min(self._heartbeat / 4, _LAST_POLL),
                batch_size=self._batch_size,
                max_concurrent_tasks=self._concurrent_jobs,
                shutdown_on_listener_failure=True,
                heartbeat_timeout=self._heartbeat,
                log_aggregation_interval=timedelta(),
            )
        finally:
            stopping.cancel()

    async def _serve(self, job: Job) -> None:
        # PgQueuer keeps the traceback of what is put back, so none of ours goes with it: a driver's
        # message may hold what a row holds.
        kind, payload = JobKind(job.entrypoint), self._decode(job.payload)
        delay = _delay(job.attempts)
        try:
            await self._handlers[kind](payload)
        except AppError as error:
            if error.kind is ErrorKind.EXHAUSTED and error.retry_after is not None:
                # Others have their turn: nothing failed, and it waits no longer for coming often.
                self._log.debug("job.had_no_place", kind=kind.value, **payload.log_fields())
                raise RetryRequested(delay=error.retry_after) from None
            self._note(kind, payload, job, error)
            may_pass = error.kind in _PASSING
            delay = max(error.retry_after or delay, delay)
        except Exception:  # noqa: BLE001 - whatever it is, the job is put back
            self._log.exception("job.failed", kind=kind.value, **payload.log_fields())
            self._metrics.job_retried(kind.value)
            may_pass = False
        else:
            return
        if may_pass or job.attempts < _TRIES or not await self._is_given_up(payload):
            raise RetryRequested(delay=delay)

    async def _is_given_up(self, payload: AnyPayload) -> bool:
        try:
            return await self._give_up(payload)
        except Exception:  # noqa: BLE001 - put back, it is given up the next time
            self._log.exception("job.not_given_up", **payload.log_fields())
            return False

    def _note(self, kind: JobKind, payload: AnyPayload, job: Job, error: AppError) -> None:
        self._metrics.job_retried(kind.value)
        self._log.warning(
            "job.put_back",
            kind=kind.value,
            **payload.log_fields(),
            attempts=job.attempts,
            reason=error.reason.value,
        )


def _delay(attempts: int) -> timedelta:
    return min(_FIRST_DELAY * (1 << min(attempts, 10)), _LAST_DELAY)


async def _pass_on(stop: asyncio.Event, shutdown: asyncio.Event) -> None:
    await stop.wait()
    shutdown.set()


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), timeout=seconds)
    except TimeoutError:
        return
