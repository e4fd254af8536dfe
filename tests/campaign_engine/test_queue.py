"""The queue: whose turn it is, what becomes of jobs that fail, and workers that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry

from passmill.compose_worker import WorkerServices, open_worker
from passmill.domain.callers import operator_caller
from passmill.store import jobs
from passmill.store.jobs import JobKind, JobPayload
from passmill.v1.campaign_pb2 import Campaign
from tests.campaign_engine.test_issue_shard import replace_values
from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.postgres import Database
from tests.support.service import Service, open_service

pytestmark = [pytest.mark.asyncio(loop_scope="function"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(loop_scope="function")
async def alone(database: Database) -> AsyncIterator[Service]:
    """A service with a queue that no other test fills."""
    async with open_service(database.url) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="function")
async def worker(alone: Service) -> AsyncIterator[CampaignWorker]:
    """A club's worker in it."""
    async with open_campaign_worker(alone, await alone.add_club()) as opened:
        yield opened


@asynccontextmanager
async def running(services: WorkerServices) -> AsyncIterator[asyncio.Event]:
    """A worker at work in the background, until the block ends or the event is set."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(services.worker.run(stop))
        try:
            yield stop
        finally:
            stop.set()


async def until_ended(worker: CampaignWorker, campaign: Campaign) -> Campaign:
    """Waits for the campaign's end."""
    while True:
        found = await worker.get(campaign)
        if found.state >= Campaign.STATE_CANCELLED:
            return found
        await asyncio.sleep(0.05)


async def owners(worker: CampaignWorker) -> list[int]:
    """Whose the queue's shards are, in their order."""
    rows = await worker.club.tenant.fetch(
        "SELECT payload FROM pgqueuer.pgqueuer WHERE entrypoint = 'campaign_shard'"
        " ORDER BY priority DESC, id"
    )
    return [JobPayload.decode(row["payload"]).tenant_id for row in rows]


async def test_a_small_campaign_does_not_wait_for_a_big_one(
    alone: Service, worker: CampaignWorker
) -> None:
    """While one tenant's big campaign is at work, another's small one gets every other turn from
    the moment it starts."""
    big = await worker.loaded(20, streams=20)
    await worker.start(big)
    await worker.serve_due(at_most=6)
    async with open_campaign_worker(alone, await alone.add_club()) as other:
        small = await other.loaded(3, streams=3)
        await other.start(small)
        order = await owners(worker)
        mine, theirs = worker.tenant_id, other.tenant_id
        assert order[:6] == [mine, theirs] * 3
        assert order[6:] == [mine] * 11
        await other.serve_due()
        assert (await other.get(small)).state == Campaign.STATE_SUCCEEDED
    assert (await worker.get(big)).progress.succeeded == 6


async def test_a_tenants_campaigns_share_its_turns(alone: Service, worker: CampaignWorker) -> None:
    """Four campaigns of one tenant get no more turns than one of another."""
    for _ in range(4):
        await worker.start(await worker.loaded(8, streams=8))
    async with open_campaign_worker(alone, await alone.add_club()) as other:
        await other.start(await other.loaded(8, streams=8))
        order = await owners(worker)
        last = max(at for at, owner in enumerate(order) if owner == other.tenant_id)
        among = order[: last + 1].count(worker.tenant_id)
        # The first of the four had begun before there were others, so it is a little ahead.
        assert 8 <= among <= 8 * 2.2


@pytest.mark.parametrize(
    ("priority", "stride"),
    [(Campaign.PRIORITY_HIGH, 1), (Campaign.PRIORITY_NORMAL, 4), (Campaign.PRIORITY_LOW, 16)],
)
async def test_priority_is_the_share_of_turns(
    worker: CampaignWorker, priority: Campaign.Priority.ValueType, stride: int
) -> None:
    """A campaign's shards are as far apart as its priority says."""
    await worker.start(await worker.loaded(4, streams=4, priority=priority))
    assert [each.turn for each in await worker.jobs()] == [0, stride, 2 * stride, 3 * stride]


async def test_a_worker_serves_a_campaign(worker: CampaignWorker) -> None:
    """PgQueuer hands out the jobs, the campaign ends, the queue is empty, and told to stop the
    worker does."""
    campaign = await worker.loaded(60, streams=6)
    async with running(worker.services):
        await worker.start(campaign)
        ended = await until_ended(worker, campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 60)
    assert await worker.jobs() == []


async def test_a_dead_workers_job_is_taken_over(worker: CampaignWorker) -> None:
    """A shard whose worker was killed, so that its heartbeat is silent, is served by another."""
    campaign = await worker.loaded(10)
    await worker.start(campaign)
    await worker.club.tenant.fetch(
        "UPDATE pgqueuer.pgqueuer SET status = 'picked', queue_manager_id = gen_random_uuid(),"
        " heartbeat = now() - interval '1 minute'"
    )
    async with running(worker.services):
        ended = await until_ended(worker, campaign)
    assert (ended.state, await worker.count_passes()) == (Campaign.STATE_SUCCEEDED, 10)


async def test_a_worker_outlives_its_connections(
    worker: CampaignWorker, database: Database
) -> None:
    """All connections cut, again and again: the worker connects anew and the campaign ends as it
    would have."""
    campaign = await worker.loaded(200, streams=40)
    owner = await asyncpg.connect(database.owner_url)
    try:
        async with running(worker.services):
            await worker.start(campaign)
            for _ in range(3):
                await owner.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " AND application_name = 'passmill queue'"
                )
                await asyncio.sleep(0.3)
            ended = await until_ended(worker, campaign)
    finally:
        await owner.close()
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 200)
    assert await worker.count_passes() == 200


async def test_what_fails_again_and_again_pauses_the_campaign(
    worker: CampaignWorker, database: Database
) -> None:
    """A fault that nobody foresaw is tried some times, and then pauses the campaign instead of
    vanishing; resumed after it was mended, the campaign ends."""
    campaign = await worker.loaded(5)
    [before] = await worker.club.tenant.fetch("SELECT content FROM recipient_chunks")
    owner = await asyncpg.connect(database.owner_url)
    try:
        await worker.start(campaign)
        await owner.execute("ALTER TABLE recipient_chunks RENAME TO lost")
        async with running(worker.services):
            while True:
                held = await worker.get(campaign)
                if held.state == Campaign.STATE_PAUSED:
                    break
                await worker.club.tenant.fetch(
                    "UPDATE pgqueuer.pgqueuer SET execute_after = now() WHERE status = 'queued'"
                )
                await asyncio.sleep(0.05)
            assert held.state_reason == "internal_error"
            await owner.execute("ALTER TABLE lost RENAME TO recipient_chunks")
            await worker.resume(campaign)
            ended = await until_ended(worker, campaign)
    finally:
        await owner.close()
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 5)
    assert before["content"]


async def test_what_is_cancelled_is_tried_until_it_is_voided(
    worker: CampaignWorker, database: Database
) -> None:
    """A fault while a cancelled campaign's passes are voided: it cannot be paused, so its jobs are
    put back however often they fail, and once it is mended all is voided and the campaign ends."""
    campaign = await worker.loaded(20, streams=2)
    await worker.start(campaign)
    await worker.serve_due(at_most=1)
    await worker.cancel(campaign, void_issued=True)
    owner = await asyncpg.connect(database.owner_url)
    try:
        await owner.execute("ALTER TABLE recipient_chunks RENAME TO lost")
        async with running(worker.services):
            while True:
                if await hurry(worker) > 6:  # it was not given up then
                    break
                await asyncio.sleep(0.05)
            assert (await worker.get(campaign)).state == Campaign.STATE_CANCELLING
            await owner.execute("ALTER TABLE lost RENAME TO recipient_chunks")
            await hurry(worker)
            ended = await until_ended(worker, campaign)
    finally:
        await owner.close()
    assert (ended.state, ended.progress.voided) == (Campaign.STATE_CANCELLED, 10)


async def test_what_cannot_begin_is_paused(worker: CampaignWorker, database: Database) -> None:
    """A fault when a scheduled campaign's time comes pauses it instead of leaving it scheduled for
    ever; resumed after it was mended, it begins."""
    campaign = await worker.loaded(5)
    start_time = Timestamp()
    start_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=0.5))
    await worker.start(campaign, start_time=start_time)
    owner = await asyncpg.connect(database.owner_url)
    try:
        await owner.execute("ALTER TABLE recipient_streams RENAME TO lost")
        async with running(worker.services):
            while True:
                await hurry(worker)
                [held] = await worker.club.tenant.fetch("SELECT state, state_reason FROM campaigns")
                if held["state"] != Campaign.STATE_SCHEDULED:
                    break
                await asyncio.sleep(0.05)
            assert tuple(held) == (Campaign.STATE_PAUSED, "internal_error")
            await owner.execute("ALTER TABLE lost RENAME TO recipient_streams")
            await worker.resume(campaign)
            ended = await until_ended(worker, campaign)
    finally:
        await owner.close()
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 5)


async def hurry(worker: CampaignWorker) -> int:
    """Lets jobs that were put back begin at once, as if they had failed six times; gives how often
    one of them did."""
    rows = await worker.club.tenant.fetch(
        "UPDATE pgqueuer.pgqueuer SET execute_after = now(), attempts = greatest(attempts, 6)"
        " WHERE status = 'queued' AND attempts > 0 RETURNING attempts"
    )
    return max((row["attempts"] for row in rows), default=0)


async def test_upkeep_of_the_queue(worker: CampaignWorker) -> None:
    """Upkeep measures the shards that wait, lets jobs begin again that were put aside, and forgets
    what ended long ago."""
    await worker.start(await worker.loaded(30, streams=3))
    await worker.club.tenant.fetch(
        "UPDATE pgqueuer.pgqueuer SET status = 'failed' WHERE id ="
        " (SELECT max(id) FROM pgqueuer.pgqueuer)"
    )
    registry = CollectorRegistry()
    async with open_worker(worker.club.tenant.service.settings, registry=registry) as services:
        await services.watch_queue()
        assert registry.get_sample_value("passmill_queue_depth") == 2
        assert len(await worker.jobs()) == 3
        await services.watch_queue()
        assert registry.get_sample_value("passmill_queue_depth") == 3
        oldest = registry.get_sample_value("passmill_queue_oldest_seconds")
        assert oldest is not None
        assert 0 <= oldest < 100
        await worker.club.tenant.fetch(
            "UPDATE pgqueuer.pgqueuer_log SET created = now() - interval '8 days' WHERE job_id ="
            " (SELECT min(job_id) FROM pgqueuer.pgqueuer_log)"
        )
        await services.watch_queue.sweep()
        assert len(await worker.club.tenant.fetch("SELECT FROM pgqueuer.pgqueuer_log")) == 2


async def test_each_stage_is_counted(worker: CampaignWorker) -> None:
    """Recipients by outcome, failures by reason, and the time of a shard's stages are in the
    metrics."""
    registry = CollectorRegistry()
    settings = worker.club.tenant.service.settings
    campaign = await worker.loaded(20)
    await replace_values(worker, {3: "{}"})
    await worker.start(campaign)
    async with open_worker(settings, registry=registry) as services, running(services):
        await until_ended(worker, campaign)

    def sample(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"passmill_{name}", labels)

    assert sample("campaign_recipients_total", action="issue", outcome="succeeded") == 19
    assert sample("campaign_recipients_total", action="issue", outcome="failed") == 1
    assert sample("campaign_failures_total", reason="INTERNAL") == 1
    assert sample("shard_seconds_count", action="issue") == 1
    assert sample("shard_sign_seconds_count") == 1
    assert sample("shard_write_seconds_count") == 1
    assert sample("passes_issued_total") == 19


async def test_jobs_go_with_their_transaction(worker: CampaignWorker) -> None:
    """A transaction that is rolled back leaves no job; one that commits leaves each once."""
    campaign = await worker.campaigns.create()
    campaign_id = worker.campaign_id(campaign)
    database = worker.services.database

    class Undone(Exception):
        pass

    for fails in (True, False):
        try:
            async with database.transaction(worker.club.tenant.caller) as tx:
                await jobs.enqueue_shards(tx, campaign_id, [4, 5], turns=[7, 3])
                await jobs.enqueue_campaign_job(tx, campaign_id, JobKind.SETTLE)
                if fails:
                    raise Undone
        except Undone:
            assert await worker.jobs() == []
    assert [(each.kind, each.payload.shard_number) for each in await worker.jobs()] == [
        (JobKind.SETTLE, 0),
        (JobKind.SHARD, 5),
        (JobKind.SHARD, 4),
    ]
    deadline = asyncio.get_running_loop().time() + 10
    async with database.transaction(operator_caller(deadline=deadline)) as tx:
        assert await jobs.queue_turn(tx) == 3
