"""Segments by tier: by what was earned on the account of a pass, whatever is left of it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.domain.campaigns import CampaignAction, Segment, VoidAction
from passmill.domain.ids import ProgramId
from passmill.v1 import balance_service_pb2 as balances_pb
from passmill.v1 import campaign_pb2, campaign_service_pb2
from passmill.v1.balance_pb2 import Tier
from tests.support.balances import BURN, Till, open_till
from tests.support.refusals import refused
from tests.support.service import Club, by_id, meta
from tests.support.shards import ShardRunner
from tests.support.small_card import draft, small_card

pytestmark = pytest.mark.asyncio(loop_scope="session")

VOID = VoidAction(reason="")
LADDER = (
    Tier(tier="silver", unit="points", at_least=10),
    Tier(tier="gold", unit="points", at_least=100),
    Tier(tier="platinum", unit="points", at_least=150, within_days=30),
)


@pytest_asyncio.fixture(loop_scope="session")
async def till(runner: ShardRunner) -> Till:
    """The runner's club, which counts points and has three tiers."""
    till = await open_till(runner.club)
    await till.set_tiers(*LADDER)
    return till


async def choose(runner: ShardRunner, segment: Segment, action: CampaignAction = VOID) -> set[str]:
    """The ids of the passes that a campaign with this segment chooses."""
    campaign = await runner.begin(await runner.draft(action, segment=segment))
    await runner.choose_all(campaign)
    rows = await runner.club.tenant.fetch(
        "SELECT json_array_elements_text((c.content::json)->'pass_ids') AS pass_id"
        " FROM recipient_chunks c JOIN recipient_streams s USING (tenant_id, stream_id)"
        " WHERE s.campaign_id = $1",
        campaign.campaign_id,
    )
    return {str(uuid.UUID(row["pass_id"])) for row in rows}


def days_ago(days: int) -> Timestamp:
    """As a till says when something was earned."""
    moment = Timestamp()
    moment.FromDatetime(datetime.now(UTC) - timedelta(days=days))
    return moment


async def issue_members(till: Till) -> dict[str, str]:
    """Members who have earned in all sorts of ways: the tier that the service tells of each, by
    pass id."""
    new, low, high, spent, old, back, joined = [await till.issue() for _ in range(7)]
    await till.post(low, 10)
    await till.post(high, 150)
    await till.post(spent, 120)
    await till.post(spent, 120, BURN)
    await till.post(old, 200, occur_time=days_ago(31))
    taken = await till.post(back, 100)
    await till.post(back, 9)
    request = balances_pb.ReverseEntryRequest(entry_id=taken.entry.entry_id, meta=meta())
    await till.stub.ReverseEntry(request)
    join = balances_pb.JoinAccountRequest(ref=by_id(joined), account_of=by_id(high), meta=meta())
    await till.stub.JoinAccount(join)
    tiers = {}
    for each in (new, low, high, spent, old, back, joined):
        view = await till.stub.GetBalance(balances_pb.GetBalanceRequest(ref=by_id(each)))
        tiers[each.pass_id] = view.tier
    wanted = ["", "silver", "platinum", "gold", "gold", "", "platinum"]
    assert list(tiers.values()) == wanted
    return tiers


async def test_a_segment_chooses_by_tier(runner: ShardRunner, till: Till) -> None:
    """With any tiers exactly those passes are chosen of which the service tells one of these: what
    was spent counts, what was taken back, or earned too long ago, does not, and a pass that joined
    an account has the account's."""
    tiers = await issue_members(till)
    names = [each.tier for each in LADDER]
    for wanted in (chosen for size in range(1, 4) for chosen in combinations(names, size)):
        expected = {pass_id for pass_id, tier in tiers.items() if tier in wanted}
        assert await choose(runner, Segment(tiers=wanted)) == expected, wanted
    assert await choose(runner, Segment(tiers=("bronze",))) == set()
    assert await choose(runner, Segment()) == set(tiers)


async def test_a_tier_is_its_programs(runner: ShardRunner, till: Till) -> None:
    """A pass is judged by the tiers of its own program, also where another counts a unit of the
    same name and has a tier of the same name; other parts narrow the choice further."""
    tenant = till.club.tenant
    program_id = await tenant.add_program()
    template_id = await tenant.add_template(program_id, small_card())
    await tenant.publish(template_id)
    theirs = Till(club=Club(tenant=tenant, program_id=program_id, template_id=template_id))
    await theirs.set_unit("points")
    await theirs.set_tiers(Tier(tier="gold", unit="points", at_least=0))
    third = await tenant.add_program()
    third_template = await tenant.add_template(third, small_card())
    await tenant.publish(third_template)
    other = Club(tenant=tenant, program_id=third, template_id=third_template)
    mine, foreign, _ = await till.issue(), await theirs.issue(), await other.issue()
    tagged = draft(points=1)
    tagged.tags.append("vip")
    mine_tagged = await till.club.issue(tagged)
    for each in (mine, mine_tagged):
        await till.post(each, 100)
    both = {mine.pass_id, mine_tagged.pass_id}
    here = ProgramId(uuid.UUID(till.club.program_id))
    for segment, wanted in (
        (Segment(tiers=("gold",)), both | {foreign.pass_id}),
        (Segment(tiers=("gold",), program_id=here), both),
        (Segment(tiers=("gold",), tags=("vip",)), {mine_tagged.pass_id}),
        (Segment(tiers=("silver",)), set()),
    ):
        assert await choose(runner, segment) == wanted, segment
    update = await runner.update_action()
    assert await choose(runner, Segment(tiers=("gold",)), update) == both


async def test_a_tier_that_nobody_has_is_refused(till: Till) -> None:
    """A campaign for a tier that its program does not have is refused, by the tier's place; one of
    its program is taken, told back as it was given, and counted by the dry run."""
    member = await till.issue()
    await till.post(member, 10)
    await till.issue()

    def request(*tiers: str) -> campaign_service_pb2.CreateCampaignRequest:
        return campaign_service_pb2.CreateCampaignRequest(
            display_name="x",
            action=campaign_pb2.CampaignAction(
                update=campaign_pb2.UpdateAction(template_id=till.club.template_id)
            ),
            segment=campaign_pb2.Segment(tiers=tiers),
            meta=meta(),
        )

    refusal = await refused(till.club.campaigns.CreateCampaign(request("silver", "bronze")))
    assert refusal.reason == "INVALID_CAMPAIGN"
    assert "segment.tiers[1]" in refusal.message
    made = (await till.club.campaigns.CreateCampaign(request("silver"))).campaign
    assert list(made.segment.tiers) == ["silver"]
    told = await till.club.campaigns.PreviewCampaign(
        campaign_service_pb2.PreviewCampaignRequest(campaign_id=made.campaign_id)
    )
    assert told.recipients == 1
