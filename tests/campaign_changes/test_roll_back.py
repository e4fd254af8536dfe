"""RollBackCampaign: what a roll-out changed returns to what it was."""

import uuid
from datetime import UTC, datetime

import pytest

from passmill.domain.campaigns import (
    Campaign,
    CampaignState,
    IssueAction,
    RolloutPlan,
    Segment,
    ShardState,
    StreamState,
    VoidAction,
)
from passmill.domain.ids import PassId, RevisionId
from passmill.domain.pass_undo import PassUndo
from passmill.domain.templates import Slot, SlotType
from passmill.errors import AppError
from passmill.store import campaigns, chosen_streams, recipient_streams
from passmill.usecases.shard_work import ShardDone
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.bundles import pass_json, verify
from tests.support.service import Club, Service, authority
from tests.support.shards import Row, ShardRunner, issue_many, open_runner, rows_of
from tests.support.small_card import draft, small_card, value
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_roll_out_is_taken_back(runner: ShardRunner) -> None:
    """Every pass that a roll-out moved shows again what it showed before, in its old revision, with
    its holder and expiry as they were; who was not moved is not touched."""
    club = runner.club
    issued = [
        await club.issue(draft("Ada", phone="+12065550123", crm="1", note="kept")),
        await club.issue(draft("Grace", points=9)),
    ]
    refused = await club.issue()
    await void(club, refused)
    before = [await club.get(each) for each in issued]
    shown = [pass_json(await club.bundle(each)) for each in issued]
    seat = Slot(name="seat", type=SlotType.TEXT, required=True)
    number = await club.tenant.publish(club.template_id, small_card(seat))
    later = datetime(2031, 1, 1, tzinfo=UTC)
    rows = [
        Row(
            pass_id=issued[0].pass_id,
            external_id="a",
            name="Augusta",
            phone="+4930901820",
            expire_time=later,
            holder_ids={"erp": "9"},
        ),
        *rows_of([issued[1], refused]),
    ]
    campaign = await runner.begin(
        await runner.draft(await runner.update_action(number, seat="1A", tier="Gold"), rows)
    )
    assert (await runner.serve(campaign)).succeeded == 2
    assert (await club.get(issued[0])).holder.name == "Augusta"
    back = await runner.take_back(campaign)
    assert (back.total, back.rolls_back) == (2, campaign.campaign_id)
    served = await runner.serve(back)
    assert (served.succeeded, served.failed) == (2, 0)
    for was, then in zip(before, shown, strict=True):
        now = await club.get(was)
        assert now.version == 3
        now.version, now.etag = was.version, was.etag
        now.update_time.CopyFrom(was.update_time)
        assert now == was
        assert verify(await club.bundle(was), authority()) == then


async def test_what_others_changed_since_is_left_alone(runner: ShardRunner) -> None:
    """A pass that somebody changed after the roll-out keeps that change and is told as failed; a
    roll-back can be taken back like any other, which brings the roll-out again."""
    club = runner.club
    issued = await issue_many(club, 3)
    campaign = await runner.begin(
        await runner.draft(await runner.update_action(tier="Gold"), rows_of(issued))
    )
    await runner.serve(campaign)
    await club.update(issued[1], "values.note", wanted=Pass(values={"note": value("mine")}))
    back = await runner.take_back(campaign)
    served = await runner.serve(back)
    assert (served.succeeded, served.reasons) == (2, {1: "ETAG_MISMATCH"})
    assert served.failures[0].external_id == "r1"
    tiers = ["tier" in (await club.get(each)).values for each in issued]
    assert tiers == [False, True, False]
    again = await runner.take_back(back)
    assert (await runner.serve(again)).succeeded == 2
    assert all(["tier" in (await club.get(each)).values for each in issued])


@pytest.mark.parametrize("state", [CampaignState.RUNNING, CampaignState.PAUSED])
async def test_one_still_at_work_is_stopped(runner: ShardRunner, state: CampaignState) -> None:
    """Taken back while it runs or is paused, a campaign changes nothing more from that commit on:
    its open shards are skipped, and what it had changed returns."""
    club = runner.club
    first, second = await issue_many(club, 2)
    campaign = await runner.begin(
        await runner.draft(
            await runner.update_action(tier="Gold"),
            rows_of([first, second]),
            rollout=RolloutPlan(canary_ppm=500_000),
        )
    )
    await runner.serve(campaign, at_most=1)
    await club.tenant.fetch(
        "UPDATE campaigns SET state = $2 WHERE campaign_id = $1", campaign.campaign_id, state
    )
    back = await runner.take_back(campaign)
    async with runner.database.transaction(club.tenant.caller) as tx:
        stopped = await campaigns.get_campaign(tx, campaign.campaign_id)
    assert (stopped.state, stopped.state_reason) == (CampaignState.CANCELLING, "rolled back")
    states = [each.state for each in await runner.shards(campaign)]
    assert states == [ShardState.DONE, ShardState.SKIPPED]
    assert (await runner.serve(back)).succeeded == 1
    assert [(await club.get(each)).version for each in (first, second)] == [3, 1]


async def test_a_roll_back_waits_for_the_shard_at_work(service: Service, rowing_club: Club) -> None:
    """A shard that is about to write when its campaign is taken back either is part of what is
    taken back, or writes nothing: no pass is left changed."""
    issued = await issue_many(rowing_club, 2)
    backs: list[Campaign] = []
    begun: list[Campaign] = []

    async def take_back() -> None:
        if not backs:
            backs.append(await runner.take_back(begun[0]))

    async with open_runner(service, rowing_club, before_writing=take_back) as runner:
        action = await runner.update_action(tier="Gold")
        begun.append(await runner.begin(await runner.draft(action, rows_of(issued))))
        with pytest.raises(ShardDone):
            await runner.serve(begun[0])
    assert backs[0].total == 0
    assert [(await rowing_club.get(each)).version for each in issued] == [1, 1]


async def test_a_campaign_is_taken_back_once(runner: ShardRunner) -> None:
    """Another call to take a campaign back is refused and names the roll-back there is, running or
    ended; when that was cancelled half way, another one takes the rest back."""
    club = runner.club
    issued = await issue_many(club, 3)
    campaign = await runner.begin(
        await runner.draft(await runner.update_action(tier="Gold"), rows_of(issued))
    )
    await runner.serve(campaign)
    first = await runner.take_back(campaign)
    for is_served in (False, True):
        if is_served:
            await runner.serve(first)
        with pytest.raises(AppError, match="CAMPAIGN_STATE") as caught:
            await runner.take_back(campaign)
        assert caught.value.metadata["roll_back_campaign_id"] == str(first.campaign_id)
        assert str(first.campaign_id) in caught.value.message
    assert (await runner.take_back(first)).rolls_back == first.campaign_id
    await club.tenant.fetch(
        "UPDATE campaigns SET state = $2 WHERE campaign_id = $1",
        first.campaign_id,
        CampaignState.CANCELLED,
    )
    assert (await runner.take_back(campaign)).rolls_back == campaign.campaign_id


async def test_what_cannot_be_taken_back_is_refused(runner: ShardRunner) -> None:
    """Campaigns that issue or void, and those that have not begun, are refused and stay as they
    are."""
    [issued] = await issue_many(runner.club, 1)
    actions = (IssueAction(revision=await runner.pinned()), VoidAction(reason=""))
    for action in actions:
        campaign = await runner.begin(await runner.draft(action, rows_of([issued])))
        with pytest.raises(AppError, match="INVALID_CAMPAIGN"):
            await runner.take_back(campaign)
    campaign = await runner.draft(await runner.update_action(), rows_of([issued]))
    with pytest.raises(AppError, match="CAMPAIGN_STATE"):
        await runner.take_back(campaign)
    assert await runner.club.tenant.count("campaigns") == 3


async def test_what_was_is_kept_in_chunks(runner: ShardRunner) -> None:
    """However many passes a shard changed, they become recipients in chunks of a thousand, and any
    range of them is read back as it was written, also as plain recipients."""
    undo = [
        PassUndo(
            external_id=f"r{at}",
            pass_id=PassId(uuid.uuid4()),
            version=at,
            revision_id=RevisionId(at % 3),
            values=f'{{"points":{at}}}',
            name="Ada" if at % 2 else None,
            holder_ids={"crm": '"ä"'} if at % 5 == 0 else None,
            sets_expire_time=at % 7 == 0,
            expire_time=datetime(2030, 1, 1, tzinfo=UTC) if at % 14 == 0 else None,
        )
        for at in range(2_345)
    ]
    campaign = await runner.draft(VoidAction(reason=""), segment=Segment())
    async with runner.database.transaction(runner.club.tenant.caller) as tx:
        stream = await chosen_streams.take_chosen_stream(
            tx, campaign.campaign_id, now=campaign.create_time
        )
        await chosen_streams.append_undo(tx, stream, undo, resume_after=None)
        for start, end in ((0, 2_345), (999, 1_001), (1_500, 2_500), (2_345, 9_999)):
            part = await chosen_streams.read_undo(
                tx, stream.stream_id, first_offset=start, end_offset=end
            )
            assert part == undo[start:end]
        plain = await recipient_streams.read_chunks(
            tx, stream.stream_id, first_offset=0, end_offset=2_345
        )
        found = await recipient_streams.get_stream(tx, stream.stream_id)
    assert [len(chunk.recipients) for chunk in plain] == [1000, 1000, 345]
    assert plain[2].recipients.pass_ids[-1] == undo[-1].pass_id.hex
    assert (found.next_offset, found.state) == (2_345, StreamState.FINALIZED)
