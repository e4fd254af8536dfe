"""Choosing passes by a segment: exactly those that meet it, once, however often interrupted."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passmill.domain.campaigns import (
    Campaign,
    CampaignAction,
    CampaignState,
    IssueAction,
    RolloutPlan,
    Segment,
    ValueCondition,
    VoidAction,
)
from passmill.domain.ids import CampaignId, ProgramId, TemplateId, campaign_pass_id
from passmill.domain.money import Money
from passmill.domain.templates import Slot, SlotType, TemplateContent
from passmill.domain.values import Value, value_to_json
from passmill.rpc.convert_template import ProtoTemplateCodec
from passmill.store import campaigns, chosen_streams
from passmill.store.database import Transaction
from passmill.usecases.campaign_steps import MAX_SHARDS
from passmill.usecases.segment_pages import open_segment
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.service import Club, Service
from tests.support.shards import Row, ShardRunner, issue_many, open_runner
from tests.support.small_card import draft, small_card
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL = VoidAction(reason="")
# The largest offset a pass may have, more than PostgreSQL reads.
FAR_EAST = timezone(timedelta(hours=18))
FAR_WEST = timezone(-timedelta(hours=17, minutes=30))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

# What the members of a club have, slot by slot; None for no own value.
TIERS = (None, "Gold", "Silver", 'a"b', "12.50")
BALANCES = (
    None,
    Money(minor_units=1250, currency="EUR"),
    Money(minor_units=-5, currency="EUR"),
    Money(minor_units=1250, currency="JPY"),
)
DISCOUNTS = (None, Decimal("1.5"), Decimal("1.50"), Decimal("-0.001"), Decimal("1E+2"))
SINCES = (
    None,
    NOON,
    NOON.astimezone(FAR_EAST),
    NOON.astimezone(FAR_WEST) + timedelta(seconds=1),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
)
FOUNDERS = (None, True, False)
OFFERS = (None, "https://example.com/a")
POOLS: dict[str, Sequence[Value | None]] = {
    "points": (0, 1, 7, -(1 << 62), (1 << 62) + 1),
    "tier": TIERS,
    "balance": BALANCES,
    "discount": DISCOUNTS,
    "since": SINCES,
    "is_founder": FOUNDERS,
    "offers": OFFERS,
}
DEFAULTS: dict[str, Value] = {"tier": "Silver"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """A club whose passes have all sorts of values; read once, chosen from often."""

    runner: ShardRunner
    values: dict[str, dict[str, Value]]  # by pass id


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def members(service: Service) -> AsyncIterator[Members]:
    """Forty passes."""
    club = await service.add_club()
    drafts: list[dict[str, Value]] = []
    for at in range(40):
        drawn = {name: pool[at * 7 % 41 % len(pool)] for name, pool in POOLS.items()}
        drafts.append({name: value for name, value in drawn.items() if value is not None})
    issued = await asyncio.gather(
        *(club.issue(draft(f"m{at}", **values)) for at, values in enumerate(drafts))  # type: ignore[arg-type]
    )
    async with open_runner(service, club) as runner:
        yield Members(
            runner=runner,
            values={each.pass_id: values for each, values in zip(issued, drafts, strict=True)},
        )


async def choose(runner: ShardRunner, segment: Segment, action: CampaignAction = ALL) -> set[str]:
    """The ids of the passes that a campaign with this segment chooses."""
    campaign = await runner.begin(await runner.draft(action, segment=segment))
    await runner.choose_all(campaign)
    return set(await chosen(runner, campaign))


async def test_too_many_steps_pause_with_that_reason(runner: ShardRunner) -> None:
    """A campaign whose chosen passes are more steps than anybody would wait for is paused, which
    names the cause, as often as it is tried; no shard is made."""
    slowly = RolloutPlan(recipients_per_minute=1)
    campaign = await runner.begin(await runner.draft(ALL, segment=Segment(), rollout=slowly))
    async with runner.database.transaction(runner.club.tenant.caller) as tx:
        await chosen_streams.take_chosen_stream(tx, campaign.campaign_id, now=NOON)
    await runner.club.tenant.fetch(
        "UPDATE recipient_streams SET state = 2, next_offset = $2 WHERE campaign_id = $1",
        campaign.campaign_id,
        MAX_SHARDS + 1,
    )
    for _ in range(2):
        paused = await runner.choose_all(campaign)
        assert (paused.state, paused.state_reason) == (CampaignState.PAUSED, "too_many_steps")
        assert (paused.total, await runner.shards(campaign)) == (0, [])
        await runner.begin(paused)


async def chosen(runner: ShardRunner, campaign: Campaign) -> list[str]:
    """The passes of a campaign's stream, in order."""
    rows = await runner.club.tenant.fetch(
        "SELECT json_array_elements_text((c.content::json)->'pass_ids') AS pass_id"
        " FROM recipient_chunks c JOIN recipient_streams s USING (tenant_id, stream_id)"
        " WHERE s.campaign_id = $1 ORDER BY c.first_offset",
        campaign.campaign_id,
    )
    return [str(uuid.UUID(row["pass_id"])) for row in rows]


def stored(value: Value) -> str:
    """As a condition keeps it."""
    return json.dumps(value_to_json(value), ensure_ascii=False)


def ordered(value: Value) -> tuple[str, Decimal] | None:
    """What decides which of two values is more; None when nothing does. Money of one currency."""
    match value:
        case bool() | str():
            return None
        case Money():
            return value.currency, Decimal(value.minor_units)
        case datetime():
            return "instant", Decimal((value - NOON) // timedelta(seconds=1))
        case int() | Decimal():
            return "number", Decimal(value)


def meets(
    own: dict[str, Value], slot: str, any_of: list[Value], low: Value | None, high: Value | None
) -> bool:
    """What a condition says, in plain words."""
    value = own.get(slot, DEFAULTS.get(slot))
    if not any_of and low is None and high is None:
        return True
    if value is None or (any_of and value not in any_of):
        return False
    here = ordered(value)
    for border, is_low in ((low, True), (high, False)):
        if border is None:
            continue
        there = ordered(border)
        if here is None or there is None or here[0] != there[0]:
            return False
        if (here[1] < there[1]) if is_low else (here[1] >= there[1]):
            return False
    return True


Condition = tuple[str, list[Value], Value | None, Value | None]


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """A condition that fits its slot, near the values there are."""
    slot = draw(st.sampled_from(sorted(POOLS)))
    pool = [value for value in POOLS[slot] if value is not None]
    any_of = draw(st.lists(st.sampled_from(pool), max_size=3))
    if ordered(pool[0]) is None:
        return slot, any_of, None, None
    low = draw(st.none() | st.sampled_from(pool))
    high = draw(st.none() | st.sampled_from(pool))
    if isinstance(low, Money) and isinstance(high, Money) and low.currency != high.currency:
        high = None
    return slot, any_of, low, high


def typed(condition: Condition) -> ValueCondition:
    """As a campaign keeps it."""
    slot, any_of, low, high = condition
    return ValueCondition(
        slot=slot,
        any_of=f"[{','.join(map(stored, any_of))}]" if any_of else "",
        at_least="" if low is None else stored(low),
        less_than="" if high is None else stored(high),
    )


async def read_all(tx: Transaction, runner: ShardRunner, segment: Segment) -> set[str]:
    """The passes of all pages."""
    campaign = await runner.draft(ALL, segment=segment)
    pages = await open_segment(tx, campaign.definition, codec=ProtoTemplateCodec(), now=NOON)
    found: set[str] = set()
    resume_after: str | None = None
    while True:
        page = await pages.read(tx, resume_after)
        found |= {str(each) for each in page.pass_ids}
        resume_after = page.resume_after
        if resume_after is None:
            return found


@pytest.mark.timeout(300)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(conditions(), min_size=1, max_size=3), has_template=st.booleans())
async def test_conditions_choose_what_they_say(
    members: Members, wanted: list[Condition], has_template: bool
) -> None:
    """For any conditions, the database chooses the same passes as the conditions read in plain
    words: every type compared as what it is, defaults counted, nothing where there is no value."""
    runner = members.runner
    segment = Segment(
        template_id=TemplateId(uuid.UUID(runner.club.template_id)) if has_template else None,
        values=tuple(map(typed, wanted)),
    )
    async with runner.database.transaction(runner.club.tenant.caller) as tx:
        found = await read_all(tx, runner, segment)
    assert found == {
        pass_id for pass_id, own in members.values.items() if all(meets(own, *c) for c in wanted)
    }


async def test_a_slot_may_have_another_type_in_another_revision(runner: ShardRunner) -> None:
    """Where a slot was text and is a number now, each pass is compared as its own revision reads
    it; a text that looks like a number is none, and nothing fails."""
    club = runner.club
    rank = Slot(name="rank", type=SlotType.TEXT)
    await club.tenant.publish(club.template_id, small_card(rank))
    texts = [await club.issue(draft(rank=text)) for text in ("5", "not a number")]
    number_card = _with_slot(
        small_card(rank), replace(rank, type=SlotType.INTEGER, default_value=9)
    )
    await club.tenant.publish(club.template_id, number_card)
    numbers = [await club.issue(draft(rank=5)), await club.issue(draft())]
    ids = [each.pass_id for each in (*texts, *numbers)]
    for condition, wanted in (
        (ValueCondition(slot="rank", at_least="1"), {ids[2], ids[3]}),
        (ValueCondition(slot="rank", at_least="6"), {ids[3]}),
        (ValueCondition(slot="rank", any_of='["5"]'), {ids[0]}),
        (ValueCondition(slot="rank", any_of="[5]"), {ids[2]}),
        (ValueCondition(slot="unknown", any_of="[5]"), set()),
        (ValueCondition(slot="rank"), set(ids)),
    ):
        assert await choose(runner, Segment(values=(condition,))) == wanted, condition


def _with_slot(content: TemplateContent, slot: Slot) -> TemplateContent:
    slots = tuple(slot if each.name == slot.name else each for each in content.slots)
    return replace(content, slots=slots)


async def test_other_parts_of_a_segment(runner: ShardRunner) -> None:
    """Program, template, revision, time of issue and external system narrow the choice, each by
    itself and together; voided passes are never chosen."""
    club = runner.club
    first = await club.issue(draft(crm="1"))
    await club.tenant.publish(club.template_id, small_card())
    second = await club.issue()
    await void(club, await club.issue())
    program_id = await club.tenant.add_program()
    template_id = await club.tenant.add_template(program_id, small_card())
    await club.tenant.publish(template_id)
    other = Club(tenant=club.tenant, program_id=program_id, template_id=template_id)
    third = await other.issue()
    a, b, c = (each.pass_id for each in (first, second, third))
    born = (await club.get(second)).create_time.ToDatetime(UTC)
    mine = TemplateId(uuid.UUID(club.template_id))
    for segment, wanted in (
        (Segment(), {a, b, c}),
        (Segment(program_id=ProgramId(uuid.UUID(program_id))), {c}),
        (Segment(template_id=mine), {a, b}),
        (Segment(template_id=mine, revision=2), {b}),
        (Segment(template_id=mine, revision=99), set()),
        (Segment(revision=1), {a, c}),
        (Segment(created_from=born), {b, c}),
        (Segment(created_before=born), {a}),
        (Segment(created_before=born, revision=2), set()),
        (Segment(external_id_system="crm"), {a}),
        (Segment(external_id_system="erp"), set()),
    ):
        assert await choose(runner, segment) == wanted, segment
    # An update is about its template's passes alone.
    update = await runner.update_action()
    assert await choose(runner, Segment(), update) == {a, b}
    theirs = Segment(template_id=TemplateId(uuid.UUID(template_id)))
    assert await choose(runner, theirs, update) == set()


async def test_passes_of_a_campaign(runner: ShardRunner) -> None:
    """By the campaign that issued them passes are chosen across its streams; recipients without a
    pass, and passes of others, are not."""
    club = runner.club
    issued = await issue_many(club, 5)
    rows = [Row(pass_id=each.pass_id, external_id=f"r{at}") for at, each in enumerate(issued)]
    source = await runner.draft(IssueAction(revision=await runner.pinned()), [*rows, *rows[:1]])
    empty = await runner.draft(IssueAction(revision=await runner.pinned()), [])
    mine = [campaign_pass_id(source.campaign_id, f"r{at}") for at in range(4)]
    for each, pass_id in zip(issued, mine, strict=False):
        await club.tenant.fetch(
            "UPDATE passes SET pass_id = $2 WHERE pass_id = $1", uuid.UUID(each.pass_id), pass_id
        )
    await void(club, Pass(pass_id=str(mine[0])))
    found = await choose(runner, Segment(campaign_id=source.campaign_id))
    assert found == {str(each) for each in mine[1:]}
    assert await choose(runner, Segment(campaign_id=empty.campaign_id)) == set()
    nobody = CampaignId(uuid.uuid4())
    assert await choose(runner, Segment(campaign_id=nobody)) == set()


async def test_later_passes_are_not_part_of_it(runner: ShardRunner) -> None:
    """Who is issued a pass after the campaign began is not chosen, so that the choice ends."""
    before = await issue_many(runner.club, 2)
    campaign = await runner.begin(await runner.draft(ALL, segment=Segment()))
    await issue_many(runner.club, 2)
    planned = await runner.choose_all(campaign)
    assert set(await chosen(runner, campaign)) == {each.pass_id for each in before}
    assert planned.total == 2


async def test_the_choice_goes_on_where_it_ended(runner: ShardRunner) -> None:
    """Stopped between two pages, by a pause or a crash, a choice goes on behind the last page that
    was kept; done by several at once, or once more when it is over, it still holds each pass
    once, and is planned once."""
    issued = await issue_many(runner.club, 10)
    campaign = await runner.begin(await runner.draft(ALL, segment=Segment()))
    tenant_id = runner.club.tenant.caller.tenant_id

    async def set_state(state: CampaignState) -> None:
        async with runner.database.transaction(runner.club.tenant.caller) as tx:
            locked = await campaigns.lock_campaign(tx, campaign.campaign_id)
            await campaigns.write_campaign(tx, replace(locked, state=state))

    choosing = asyncio.create_task(runner.choose(tenant_id, campaign.campaign_id))
    while not await chosen(runner, campaign):
        assert not choosing.done()
    choosing.cancel()
    await asyncio.gather(choosing, return_exceptions=True)
    await set_state(CampaignState.PAUSED)
    kept = await chosen(runner, campaign)
    await runner.choose(tenant_id, campaign.campaign_id)
    assert await chosen(runner, campaign) == kept
    await set_state(CampaignState.RUNNING)
    await asyncio.gather(*(runner.choose(tenant_id, campaign.campaign_id) for _ in range(3)))
    await runner.choose(tenant_id, campaign.campaign_id)
    found = await chosen(runner, campaign)
    assert found[: len(kept)] == kept
    assert found == sorted(each.pass_id for each in issued)
    shards = await runner.shards(campaign)
    assert [(each.first_offset, each.end_offset) for each in shards] == [(0, 10)]


async def test_a_chosen_pass_is_served_like_any_other(runner: ShardRunner) -> None:
    """Passes that a segment chose are changed by the campaign's shards."""
    issued = await issue_many(runner.club, 4)
    segment = Segment(values=(ValueCondition(slot="points", at_least="2"),))
    campaign = await runner.begin(
        await runner.draft(await runner.update_action(tier="Gold"), segment=segment)
    )
    served = await runner.serve(await runner.choose_all(campaign))
    assert (served.succeeded, served.failed, served.duplicate) == (2, 0, 0)
    tiers = ["tier" in (await runner.club.get(each)).values for each in issued]
    assert tiers == [False, False, True, True]
