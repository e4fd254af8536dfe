"""Pause, resume, cancel, waves, threshold and schedule, each with its exact outcome."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.domain import campaigns as domain
from passmill.domain.ids import StreamId, new_uuid
from passmill.errors import AppError
from passmill.store.jobs import JobKind
from passmill.usecases import campaign_steps
from passmill.usecases.campaign_steps import MAX_SHARDS, require_plan
from passmill.v1.admin_service_pb2 import SetTenantStateRequest, Tenant
from passmill.v1.campaign_pb2 import Campaign, RecipientResult, RolloutPlan
from tests.campaign_engine.test_issue_shard import replace_values
from tests.support.campaign_worker import CampaignWorker
from tests.support.campaigns import chunk, recipient
from tests.support.refusals import refusal_of
from tests.support.service import SetClock, meta

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_pause_holds_before_the_next_shard(worker: CampaignWorker) -> None:
    """From the answer to PauseCampaign on no shard begins, though its job is there; resumed, those
    not done are served, and nothing was lost or made twice."""
    campaign = await worker.loaded(40, streams=4)
    await worker.start(campaign)
    await worker.serve_due(at_most=1)
    paused = await worker.pause(campaign)
    assert (paused.state, paused.state_reason) == (Campaign.STATE_PAUSED, "paused by request")
    assert await worker.serve_due() == 3
    assert await worker.count_passes() == 10
    held = await worker.get(campaign)
    assert (held.state, held.progress.shards_done) == (Campaign.STATE_PAUSED, 1)
    resumed = await worker.resume(campaign)
    assert (resumed.state, resumed.state_reason) == (Campaign.STATE_RUNNING, "")
    assert await worker.serve_due() == 3
    assert (await worker.get(campaign)).state == Campaign.STATE_SUCCEEDED
    assert await worker.count_passes() == 40


async def test_a_shard_at_work_finishes_in_a_pause(worker: CampaignWorker) -> None:
    """A shard that is about to write when the campaign is paused writes all of its passes, is not
    served again after the resume, and the pause waits for it."""
    campaign = await worker.loaded(20, streams=2)
    await worker.start(campaign)
    async with worker.services.database.transaction(worker.club.tenant.caller) as tx:
        await tx.fetch("SELECT FROM campaign_shards WHERE shard_number = 0 FOR UPDATE")
        serving = asyncio.create_task(worker.serve_shard(campaign, 0))
        await until_blocked(worker, 1)
        pausing = asyncio.create_task(worker.pause(campaign))
        await until_blocked(worker, 2)
    await serving
    assert (await pausing).progress.succeeded == 10
    assert await worker.count_passes() == 10
    await worker.resume(campaign)
    assert [each.payload.shard_number for each in await worker.jobs()][-1] == 1
    await worker.serve_due()
    assert await worker.count_passes() == 20


async def test_a_shard_that_was_skipped_meanwhile_writes_nothing(worker: CampaignWorker) -> None:
    """A shard that has signed everything and then finds itself cancelled leaves no trace."""
    campaign = await worker.loaded(20, streams=2)
    await worker.start(campaign)
    async with worker.services.database.transaction(worker.club.tenant.caller) as tx:
        await tx.fetch("SELECT FROM campaign_shards WHERE shard_number = 0 FOR UPDATE")
        serving = asyncio.create_task(worker.serve_shard(campaign, 0))
        await until_blocked(worker, 1)
        await tx.fetch("UPDATE campaign_shards SET state = 4 WHERE shard_number = 0")
    await serving
    assert await worker.count_passes() == 0
    assert await worker.told() == []


async def test_cancelling_ends_a_campaign_at_once(worker: CampaignWorker) -> None:
    """What was done stays, what was not is skipped, the jobs left over do nothing, and the campaign
    takes no further order."""
    campaign = await worker.loaded(30, streams=3)
    await worker.start(campaign)
    await worker.serve_due(at_most=1)
    cancelled = await worker.cancel(campaign)
    assert cancelled.state == Campaign.STATE_CANCELLED
    assert (cancelled.progress.succeeded, cancelled.progress.skipped) == (10, 20)
    assert (cancelled.progress.shards, cancelled.progress.shards_done) == (3, 3)
    await worker.serve_due()
    assert await worker.count_passes() == 10
    states = [each.state for each in await worker.campaigns.results(campaign)]
    assert states.count(RecipientResult.STATE_SUCCEEDED) == 10
    assert states.count(RecipientResult.STATE_SKIPPED) == 20
    for order in (worker.pause, worker.resume, worker.cancel, worker.start):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await order(campaign)
        assert refusal_of(caught.value).reason == "CAMPAIGN_STATE"


async def test_cancelling_may_void_what_was_issued(worker: CampaignWorker) -> None:
    """Every pass that the campaign issued is voided, whoever served it, and none is issued more."""
    campaign = await worker.loaded(30, streams=3)
    await worker.start(campaign)
    await worker.serve_due(at_most=2)
    cancelling = await worker.cancel(campaign, void_issued=True)
    assert cancelling.state == Campaign.STATE_CANCELLING
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert ended.state == Campaign.STATE_CANCELLED
    assert (ended.progress.succeeded, ended.progress.voided, ended.progress.skipped) == (20, 20, 10)
    rows = await worker.club.tenant.fetch("SELECT state FROM passes")
    assert [row["state"] for row in rows] == [2] * 20


async def test_what_could_not_be_voided_counts_as_failed(worker: CampaignWorker) -> None:
    """A pass that cannot be voided counts as failed, once, and no longer as succeeded, also when a
    duplicate of its recipient was loaded: the sums are those of the recipients' states."""
    names = [f"m{at}" for at in range(30)]
    names[15] = "m0"
    campaign = await worker.loaded([recipient(name) for name in names], streams=3)
    await worker.start(campaign)
    await worker.serve_due(at_most=2)
    broken = (await worker.campaigns.results(campaign))[0].pass_id
    await worker.club.tenant.fetch(
        "UPDATE passes SET slot_values = '{' WHERE pass_id = $1::uuid", broken
    )
    await worker.cancel(campaign, void_issued=True)
    await worker.serve_due()
    ended = await worker.get(campaign)
    progress = ended.progress
    assert (ended.state, progress.total) == (Campaign.STATE_CANCELLED, 30)
    assert (progress.succeeded, progress.failed, progress.duplicate) == (18, 1, 1)
    assert (progress.voided, progress.skipped) == (18, 10)
    states = [each.state for each in await worker.campaigns.results(campaign)]
    assert (states[0], states[15]) == (
        RecipientResult.STATE_FAILED,
        RecipientResult.STATE_DUPLICATE,
    )
    assert states.count(RecipientResult.STATE_SUCCEEDED) == 18
    [failed] = await worker.campaigns.results(campaign, failed_only=True)
    assert failed.pass_id == broken


async def test_a_draft_can_be_cancelled(worker: CampaignWorker) -> None:
    """A campaign that never began ends without anything having been done."""
    campaign = await worker.loaded(3)
    assert (await worker.cancel(campaign, void_issued=True)).state == Campaign.STATE_CANCELLED


async def test_waves_wait_for_their_time(timed: CampaignWorker, clock: SetClock) -> None:
    """A watched canary, then so many a minute: a wave begins when its time has come and the one
    before it is done, however often somebody looks before, and a pause changes none of that."""
    plan = RolloutPlan(canary_ppm=100_000, canary_seconds=30, recipients_per_minute=10)
    campaign = await timed.loaded(30, rollout=plan)
    await timed.start(campaign)
    for issued, seconds in ((3, 30), (13, 60), (23, 60)):
        await timed.serve_due()
        assert await timed.count_passes() == issued
        [timer] = [each for each in await timed.jobs() if each.kind is JobKind.SETTLE]
        assert not timer.is_due
        clock.advance(timedelta(seconds=seconds - 1))
        await timed.serve(timer)
        await timed.serve_due()
        assert await timed.count_passes() == issued
        await timed.pause(campaign)
        for job in await timed.jobs():
            await timed.serve(job)
        await timed.club.tenant.fetch(
            "UPDATE campaigns SET state = 3, state_reason = '' WHERE campaign_id = $1::uuid",
            campaign.campaign_id,
        )
        clock.advance(timedelta(seconds=1))
        await timed.services.settle_campaign(timed.tenant_id, timed.campaign_id(campaign))
    await timed.serve_due()
    ended = await timed.get(campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 30)


async def test_too_many_failures_pause_a_campaign(worker: CampaignWorker) -> None:
    """More failures than the plan allows, of a hundred tried, pause it with that reason; resumed,
    what failed before is not held against it."""
    rows = [recipient(f"m{at}") for at in range(300)]
    campaign = await worker.loaded(
        rows[:100], rollout=RolloutPlan(canary_ppm=0, halt_above_failed_ppm=100_000)
    )
    await replace_values(worker, dict.fromkeys(range(11), "{}"))
    for start in (100, 200):
        await worker.campaigns.load(campaign, rows[start : start + 100])
    await worker.start(campaign)
    assert await worker.serve_due() == 3
    held = await worker.get(campaign)
    assert (held.state, held.state_reason) == (Campaign.STATE_PAUSED, "error_threshold")
    assert (held.progress.succeeded, held.progress.failed) == (89, 11)
    await worker.resume(campaign)
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_PARTIALLY_FAILED, 289)


async def test_a_scheduled_campaign_begins_at_its_time(
    timed: CampaignWorker, clock: SetClock
) -> None:
    """It waits until then, may be paused, resumed and given another time, and nobody begins it
    before that."""
    campaign = await timed.loaded(5)
    at = clock.now() + timedelta(hours=2)
    scheduled = await timed.start(campaign, start_time=timestamp(at))
    assert scheduled.state == Campaign.STATE_SCHEDULED
    assert scheduled.start_time.ToDatetime(UTC) == at
    assert (await timed.pause(campaign)).state == Campaign.STATE_PAUSED
    assert (await timed.resume(campaign)).state == Campaign.STATE_SCHEDULED
    later = at + timedelta(hours=1)
    assert (await timed.start(campaign, start_time=timestamp(later))).progress.total == 5
    assert await timed.serve_due() == 0
    clock.moment = later - timedelta(seconds=1)
    for job in await timed.jobs():
        await timed.serve(job)
    assert (await timed.get(campaign)).state == Campaign.STATE_SCHEDULED
    clock.moment = later
    for job in await timed.jobs():
        await timed.serve(job)
    assert (await timed.get(campaign)).state == Campaign.STATE_RUNNING
    await timed.serve_due()
    assert (await timed.get(campaign)).state == Campaign.STATE_SUCCEEDED
    assert await timed.count_passes() == 5


async def test_who_cannot_sign_is_paused_not_failed(timed: CampaignWorker, clock: SetClock) -> None:
    """A certificate that has expired stops the campaign, with that reason and no recipient failed;
    when somebody can sign again it goes on."""
    campaign = await timed.loaded(5)
    await timed.start(campaign)
    today = clock.moment
    clock.moment = today + timedelta(days=4000)
    await timed.serve_due()
    held = await timed.get(campaign)
    assert held.state == Campaign.STATE_PAUSED
    assert held.state_reason == "signing_identity_expired"
    assert (held.progress.failed, await timed.count_passes()) == (0, 0)
    clock.moment = today
    await timed.resume(campaign)
    await timed.serve_due()
    assert (await timed.get(campaign)).state == Campaign.STATE_SUCCEEDED


async def test_a_suspended_tenants_campaign_is_paused(worker: CampaignWorker) -> None:
    """Nothing is issued for a tenant that is suspended; when it is active again its campaign can be
    resumed."""
    campaign = await worker.loaded(5)
    await worker.start(campaign)
    tenant = worker.club.tenant
    for state in (Tenant.STATE_SUSPENDED, Tenant.STATE_ACTIVE):
        await tenant.service.operator.SetTenantState(
            SetTenantStateRequest(tenant_id=tenant.tenant_id, state=state, meta=meta())
        )
        await worker.serve_due()
        assert await worker.count_passes() == 0
    held = await worker.get(campaign)
    assert (held.state, held.state_reason) == (Campaign.STATE_PAUSED, "tenant_suspended")
    await worker.resume(campaign)
    await worker.serve_due()
    assert await worker.count_passes() == 5


async def test_too_many_steps_are_refused(worker: CampaignWorker) -> None:
    """A plan that would cut a campaign into more steps than anybody would wait for is refused, and
    one that would not is not."""
    campaign_id = worker.campaign_id(await worker.campaigns.create())
    stream = domain.RecipientStream(
        stream_id=StreamId(new_uuid()),
        campaign_id=campaign_id,
        next_offset=MAX_SHARDS,
        writer_epoch=1,
        state=domain.StreamState.FINALIZED,
        invalid_count=0,
    )
    with pytest.raises(AppError, match="INVALID_CAMPAIGN"):
        require_plan([stream], domain.RolloutPlan(recipients_per_minute=1))
    require_plan([stream], domain.RolloutPlan(recipients_per_minute=2))
    require_plan([stream], domain.RolloutPlan())


async def test_shards_are_cut_by_what_recipients_carry(
    worker: CampaignWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few they are, recipients whose data is more than a worker may hold at once are served
    in several shards, cut between chunks; when these are more than a campaign may have it is
    refused, now and for later."""
    campaign = await worker.campaigns.create()
    stream = await worker.campaigns.open_stream(campaign)
    for start in range(0, 50, 10):
        rows = [recipient(f"m{at}") for at in range(start, start + 10)]
        await worker.campaigns.append(chunk(stream, rows, offset=start))
    await worker.campaigns.finalize(stream)
    await worker.club.tenant.fetch(
        "WITH taken AS (DELETE FROM recipient_chunks WHERE stream_id = $1::uuid RETURNING *)"
        " INSERT INTO recipient_chunks SELECT tenant_id, stream_id, first_offset, row_count,"
        " content || repeat(' ', $2) FROM taken",
        stream.stream_id,
        domain.SHARD_BYTES * 3 // 8,
    )
    with monkeypatch.context() as patched:
        patched.setattr(campaign_steps, "MAX_SHARDS", 2)
        for start_time in (None, timestamp(datetime.now(UTC) + timedelta(hours=1))):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await worker.start(campaign, start_time=start_time)
            refusal = refusal_of(caught.value)
            assert refusal.reason == "INVALID_CAMPAIGN"
            assert "The data that the recipients carry" in refusal.message
    await worker.start(campaign)
    cut = await worker.club.tenant.fetch(
        "SELECT first_offset, end_offset FROM campaign_shards ORDER BY shard_number"
    )
    assert [tuple(row) for row in cut] == [(0, 20), (20, 40), (40, 50)]
    await worker.serve_due()
    assert (await worker.get(campaign)).progress.succeeded == 50
    assert await worker.count_passes() == 50


async def test_a_campaign_of_nobody_ends(worker: CampaignWorker) -> None:
    """No recipients at all: it ends, and has succeeded."""
    campaign = await worker.campaigns.create()
    await worker.campaigns.load(campaign, [])
    await worker.start(campaign)
    await worker.serve_due()
    assert (await worker.get(campaign)).state == Campaign.STATE_SUCCEEDED


def timestamp(moment: datetime) -> Timestamp:
    """For the wire."""
    made = Timestamp()
    made.FromDatetime(moment)
    return made


async def until_blocked(worker: CampaignWorker, count: int) -> None:
    """Waits until so many sessions of this database wait for a lock."""
    while True:
        rows = await worker.club.tenant.fetch(
            "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database OR l.database IS NULL"
            " WHERE NOT l.granted AND d.datname = current_database()"
        )
        if len(rows) >= count:
            return
        await asyncio.sleep(0.02)
