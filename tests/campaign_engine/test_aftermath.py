"""What is told of a campaign's life, what is left of one that ended long ago."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest
import pytest_asyncio

from passmill.usecases.forget_recipients import ForgetRecipients
from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import Campaign, CampaignAction, RolloutPlan, Segment
from passmill.v1.campaign_pb2 import UpdateAction as UpdateMessage
from passmill.v1.campaign_pb2 import VoidAction as VoidMessage
from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.campaigns import bad_recipient, named_recipient, recipient
from tests.support.refusals import refused
from tests.support.service import Club, Service, SetClock, meta
from tests.support.shards import issue_many

pytestmark = pytest.mark.asyncio(loop_scope="session")
KEPT = timedelta(days=30)


@pytest_asyncio.fixture(loop_scope="session")
async def later(
    service: Service, rowing_club: Club
) -> AsyncIterator[tuple[CampaignWorker, SetClock]]:
    """The club's worker, and a clock of its own."""
    clock = SetClock()
    async with open_campaign_worker(service, rowing_club, clock=clock) as opened:
        yield opened, clock


def forgetting(worker: CampaignWorker, clock: SetClock) -> ForgetRecipients:
    """The upkeep, as a worker runs it."""
    return ForgetRecipients(database=worker.services.database, clock=clock, kept=KEPT)


async def told(worker: CampaignWorker, campaign: Campaign) -> list[tuple[str, str, str]]:
    """Turn, state and reason of each event about the campaign, in order."""
    rows = await worker.club.tenant.fetch(
        "SELECT kind, detail FROM outbox WHERE kind LIKE 'campaign.%' ORDER BY event_id"
    )
    details = [(row["kind"], json.loads(row["detail"])) for row in rows]
    return [
        (kind.removeprefix("campaign."), detail.get("state", ""), detail.get("reason", ""))
        for kind, detail in details
        if detail["campaign_id"] == campaign.campaign_id and "shard" not in kind
    ]


async def test_a_life_is_told(worker: CampaignWorker) -> None:
    """Started, paused, resumed and ended are events, each with the state and its reason; the last
    one with the counts; a campaign cancelled before it began has ended too."""
    campaign = await worker.loaded(20, streams=2)
    await worker.start(campaign)
    await worker.pause(campaign)
    await worker.resume(campaign)
    await worker.serve_due()
    assert await told(worker, campaign) == [
        ("created", "", ""),
        ("started", "running", ""),
        ("paused", "paused", "paused by request"),
        ("resumed", "running", ""),
        ("ended", "succeeded", ""),
    ]
    [row] = await worker.club.tenant.fetch(
        "SELECT detail::json ->> 'succeeded' AS succeeded FROM outbox WHERE kind = 'campaign.ended'"
    )
    assert row["succeeded"] == "20"
    draft = await worker.loaded(3)
    await worker.cancel(draft)
    assert [each[:2] for each in await told(worker, draft)] == [
        ("created", ""),
        ("ended", "cancelled"),
    ]


async def test_recipients_are_forgotten_after_their_time(
    later: tuple[CampaignWorker, SetClock],
) -> None:
    """Thirty days after a campaign's end its recipients and its undo are deleted, not a moment
    before, and not those of one that has not ended; counts, passes and failures stay, and what
    needs the recipients is refused by name."""
    worker, clock = later
    issued = await worker.loaded([recipient("a"), recipient("b"), bad_recipient("c")])
    await worker.start(issued)
    await worker.serve_due()
    [one] = await issue_many(worker.club, 1)
    update = UpdateMessage(template_id=worker.club.template_id)
    changed = await worker.campaigns.create(CampaignAction(update=update))
    await worker.campaigns.load(changed, [named_recipient("x", one.pass_id)])
    await worker.start(changed)
    await worker.serve_due()
    open_one = await worker.loaded(5)
    before = await worker.get(issued)
    forget = forgetting(worker, clock)
    clock.moment = before.end_time.ToDatetime(clock.moment.tzinfo)
    clock.advance(KEPT - timedelta(seconds=1))
    while await forget():
        pass
    assert await worker.club.tenant.count("recipient_chunks") == 3
    clock.advance(timedelta(minutes=1))
    while await forget():
        pass
    assert await worker.club.tenant.count("recipient_chunks") == 1
    [left] = await worker.club.tenant.fetch("SELECT count(undo) AS undo FROM campaign_shards")
    assert left["undo"] == 0
    after = await worker.get(issued)
    assert after.recipients_deleted
    after.recipients_deleted = False
    assert after == before
    assert await worker.count_passes() == 3
    failed = await worker.campaigns.results(issued, failed_only=True)
    assert [each.external_id for each in failed] == ["c"]
    stub = worker.stub
    segment = Segment(campaign_id=issued.campaign_id)
    void = CampaignAction(void=VoidMessage())
    for call in (
        stub.ListRecipients(pb.ListRecipientsRequest(campaign_id=issued.campaign_id)),
        stub.RetryRecipients(
            pb.RetryRecipientsRequest(campaign_id=issued.campaign_id, meta=meta())
        ),
        stub.RollBackCampaign(
            pb.RollBackCampaignRequest(campaign_id=changed.campaign_id, meta=meta())
        ),
        stub.CreateCampaign(
            pb.CreateCampaignRequest(display_name="x", action=void, segment=segment, meta=meta())
        ),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "CAMPAIGN_STATE",
        )
        assert "deleted" in refusal.message
    await worker.start(open_one)
    await worker.serve_due()
    assert (await worker.get(open_one)).progress.succeeded == 5


async def test_many_campaigns_are_listed_as_each_alone(worker: CampaignWorker) -> None:
    """A page of campaigns in all sorts of states tells of each what GetCampaign tells."""
    done = await worker.loaded([recipient("a"), recipient("a"), bad_recipient("b")])
    running, cancelled = await worker.loaded(20, streams=3), await worker.loaded(4)
    draft = await worker.loaded(2)
    for each in (done, running, cancelled):
        await worker.start(each)
    await worker.serve_due(at_most=2)
    await worker.cancel(cancelled)
    listed = (await worker.stub.ListCampaigns(pb.ListCampaignsRequest())).campaigns
    alone = [await worker.get(each) for each in (draft, cancelled, running, done)]
    for each in (*listed, *alone):
        each.progress.rate = 0
        each.progress.ClearField("estimated_end_time")
    assert list(listed) == alone


async def test_a_threshold_counts_from_the_resume_on(worker: CampaignWorker) -> None:
    """After a pause, neither what succeeded nor what failed before counts: many early successes do
    not hide that eleven of the next hundred fail."""
    plan = RolloutPlan(halt_above_failed_ppm=100_000)
    campaign = await worker.loaded(400, streams=4, rollout=plan)
    [last] = await worker.club.tenant.fetch(
        "DELETE FROM recipient_chunks WHERE stream_id ="
        " (SELECT stream_id FROM recipient_streams ORDER BY stream_id OFFSET 2 LIMIT 1)"
        " RETURNING *"
    )
    content = json.loads(last["content"])
    content["values"][:11] = ["{}"] * 11  # as no call could write
    await worker.club.tenant.fetch(
        "INSERT INTO recipient_chunks VALUES ($1, $2, $3, $4, $5)",
        *[last[name] for name in ("tenant_id", "stream_id", "first_offset", "row_count")],
        json.dumps(content),
    )
    await worker.start(campaign)
    await worker.serve_due(at_most=2)
    assert (await worker.get(campaign)).progress.succeeded == 200
    await worker.pause(campaign)
    await worker.resume(campaign)
    await worker.serve_shard(campaign, 2)
    halted = await worker.get(campaign)
    assert (halted.progress.succeeded, halted.progress.failed) == (289, 11)
    assert (halted.state, halted.state_reason) == (Campaign.STATE_PAUSED, "error_threshold")
    assert (await told(worker, campaign))[-1] == ("paused", "paused", "error_threshold")
