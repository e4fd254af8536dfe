"""Jobs that wait for a place or for a lock: what that costs them, and that others do not wait."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NoReturn

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from passmill.domain.ids import TenantId
from passmill.domain.registrations import DeviceNumber
from passmill.errors import AppError, Reason
from passmill.jobs.worker import Worker
from passmill.store.jobs import JobKind, open_job_queue
from passmill.store.push_jobs import PushPayload, enqueue_device_push
from passmill.telemetry.campaign_metrics import CampaignMetrics
from tests.fanout.conftest import Opener
from tests.fanout.test_outcomes import held_by
from tests.support.fan_out import WAIT_SECONDS, FanOut, until
from tests.support.postgres import Database
from tests.support.service import Service

RETRY_AFTER = timedelta(seconds=2)
MANY_ATTEMPTS = 12
"""After which a job that failed would wait for longer."""
LOCK = 4711


@pytest.mark.parametrize("reason", [Reason.RATE_LIMITED, Reason.UNAVAILABLE])
async def test_who_finds_no_place_waits_no_longer_for_coming_often(
    reason: Reason,
    open_worker_for: Opener,
    database: Database,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A job for which there is no place comes again when it is told to, however often it came, and
    is no failure in log and metrics; what fails comes later each time, and is."""
    refused: list[PushPayload] = []

    async def refuse(payload: PushPayload) -> NoReturn:
        refused.append(payload)
        raise AppError(reason=reason, message="Not now.", retry_after=RETRY_AFTER)

    registry = CollectorRegistry()
    worker = Worker(
        open_queue=lambda: open_job_queue(database.url),
        decode=PushPayload.decode,
        handlers={JobKind.PUSH: refuse},
        give_up=_never,
        metrics=CampaignMetrics(registry),
        concurrent_jobs=2,
        heartbeat_seconds=2.0,
    )
    async with open_worker_for(is_running=False) as fan_out:
        async with fan_out.database.transaction(fan_out.caller) as tx:
            await enqueue_device_push(tx, [DeviceNumber(1)])
        await fan_out.club.tenant.fetch("UPDATE pgqueuer.pgqueuer SET attempts = $1", MANY_ATTEMPTS)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run(stop))
            await until(lambda: bool(refused))
            stop.set()
        [row] = await fan_out.club.tenant.fetch(
            "SELECT attempts, execute_after - updated AS delay FROM pgqueuer.pgqueuer"
        )
    is_place = reason is Reason.RATE_LIMITED
    assert row["attempts"] == MANY_ATTEMPTS + 1
    assert (row["delay"] < RETRY_AFTER * 2) == is_place
    assert ("job.put_back" not in "".join(capfd.readouterr())) == is_place
    retried = registry.get_sample_value("passmill_jobs_retried_total", {"kind": JobKind.PUSH.value})
    assert (retried is None) == is_place


async def _never(_: PushPayload) -> bool:
    return False


async def test_a_tenant_whose_trailing_push_is_stuck_keeps_no_other_waiting(
    open_worker_for: Opener, own_service: Service, database: Database
) -> None:
    """While the database lets one tenant's trailing push wait, another's gets into the queue."""
    async with open_worker_for(window_seconds=5.0) as stuck:
        free = replace(stuck, club=await own_service.add_club())
        slow, [slow_token] = await held_by(stuck, 1)
        quick, _ = await held_by(free, 1)
        async with trailing_pushes_stuck(database, stuck.tenant_id) as read_waiting:
            # One of these comes within the window of one before.
            async with asyncio.timeout(WAIT_SECONDS):
                for points in itertools.count(100):
                    await stuck.change(slow, points)
                    if waiting := await read_waiting():
                        break
                    await asyncio.sleep(0.1)
            pushed = stuck.pushed()[slow_token]
            async with asyncio.timeout(WAIT_SECONDS):
                for points in itertools.count(100):
                    await free.change(quick, points)
                    if await has_trailing(free):
                        break
                    await asyncio.sleep(0.1)
            # It was the first that waited all the time.
            assert waiting <= await read_waiting()
        await stuck.all_pushed([slow_token], times=pushed + 1)
        await free.all_done()


async def has_trailing(fan_out: FanOut) -> bool:
    """Whether a trailing push of this tenant is in the queue."""
    rows = await fan_out.club.tenant.fetch(
        "SELECT payload FROM pgqueuer.pgqueuer WHERE entrypoint = 'push'"
    )
    payloads = [PushPayload.decode(row["payload"]) for row in rows]
    return any(each.is_trailing and each.tenant_id == fan_out.tenant_id for each in payloads)


@asynccontextmanager
async def trailing_pushes_stuck(
    database: Database, tenant_id: TenantId
) -> AsyncIterator[Callable[[], Awaitable[set[datetime]]]]:
    """Whoever queues pushes to devices of this tenant waits, in his transaction; gives a question
    for when the transactions began that do."""
    owner = await asyncpg.connect(database.owner_url)
    try:
        await owner.execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            f" 'BEGIN PERFORM pg_advisory_xact_lock({LOCK}); RETURN NEW; END';"
            " CREATE TRIGGER wait BEFORE INSERT ON pgqueuer.pgqueuer FOR EACH ROW WHEN"
            f" (NEW.priority = 1 AND position('{tenant_id}'::bytea IN NEW.payload) > 0)"
            " EXECUTE FUNCTION wait();"
            f" SELECT pg_advisory_lock({LOCK})"
        )

        async def read_waiting() -> set[datetime]:
            rows = await owner.fetch(
                "SELECT xact_start FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE locktype = 'advisory' AND NOT granted AND objid = $1"
                " AND datname = current_database()",
                LOCK,
            )
            return {row["xact_start"] for row in rows}

        yield read_waiting
    finally:
        await owner.close()
