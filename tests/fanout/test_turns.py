"""Jobs that wait for a place: what that costs them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import NoReturn

import pytest
from prometheus_client import CollectorRegistry

from passmill.domain.registrations import DeviceNumber
from passmill.errors import AppError, Reason
from passmill.jobs.worker import Worker
from passmill.store.jobs import JobKind, open_job_queue
from passmill.store.push_jobs import PushPayload, enqueue_device_push
from passmill.telemetry.campaign_metrics import CampaignMetrics
from tests.fanout.conftest import Opener
from tests.support.fan_out import until
from tests.support.postgres import Database

RETRY_AFTER = timedelta(seconds=2)
MANY_ATTEMPTS = 12
"""After which a job that failed would wait for longer."""


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
