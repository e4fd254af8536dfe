"""Shards that update: what they change, what they leave, and that each is done once."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from passmill.domain.campaigns import VoidAction
from passmill.domain.templates import Slot, SlotType
from passmill.errors import AppError
from passmill.usecases.shard_work import ShardDone, ShardWork
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.bundles import pass_json, signing_time, verify
from tests.support.service import Club, Service, authority
from tests.support.shards import Row, ShardRunner, issue_many, open_runner, rows_of
from tests.support.small_card import draft, small_card, value
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATER = datetime(2031, 5, 1, tzinfo=UTC)


async def update_tags(club: Club) -> dict[str, int]:
    """The tag of each pass by its id."""
    rows = await club.tenant.fetch("SELECT pass_id::text, update_tag FROM passes")
    return {row["pass_id"]: row["update_tag"] for row in rows}


async def test_passes_are_changed_and_signed(runner: ShardRunner) -> None:
    """Each pass of a shard gets the campaign's values and its recipient's, the next version, a
    later signing time and update tag, and a bundle that verifies; nothing is left to be signed."""
    club = runner.club
    issued = await issue_many(club, 5)
    before = [await club.bundle(each) for each in issued]
    tags = await update_tags(club)
    rows = [
        Row(pass_id=each.pass_id, external_id=f"r{at}", values={"points": 100 + at})
        for at, each in enumerate(issued)
    ]
    served = await runner.change(await runner.update_action(tier="Gold", points=1), rows)
    assert (served.succeeded, served.failed, served.duplicate) == (5, 0, 0)
    now_tags = await update_tags(club)
    for at, each in enumerate(issued):
        now = await club.get(each)
        assert now.version == 2
        assert dict(now.values) == {"points": value(100 + at), "tier": value("Gold")}
        bundle = await club.bundle(each)
        verify(bundle, authority())
        assert signing_time(bundle) > signing_time(before[at])
        assert pass_json(bundle)["generic"]["headerFields"][0]["value"] == 100 + at
        assert now_tags[each.pass_id] > tags[each.pass_id]
    assert await club.tenant.count("signing_intents") == 0


async def test_the_events_name_every_changed_pass(runner: ShardRunner) -> None:
    """A shard writes one event for the passes that look different now, and one for those of which
    only the record changed; phones are to hear of the former alone."""
    club = runner.club
    issued = await issue_many(club, 4)
    rows = [
        Row(pass_id=issued[0].pass_id, external_id="a", values={"points": 9}),
        Row(pass_id=issued[1].pass_id, external_id="b", holder_ids={"crm": "77"}),
        Row(pass_id=issued[2].pass_id, external_id="c", values={"points": 2}),
    ]
    before, tags = await club.bundle(issued[1]), await update_tags(club)
    await runner.change(await runner.update_action(), rows)
    events = await club.tenant.fetch(
        "SELECT pass_ids::text[], detail->>'visible' AS visible, detail->>'action' AS action"
        " FROM outbox WHERE kind = 'campaign.shard_done'"
    )
    assert {(row["action"], row["visible"]): row["pass_ids"] for row in events} == {
        ("update", "true"): [issued[0].pass_id],
        ("update", "false"): [issued[1].pass_id],
    }
    told = await club.get(issued[1])
    assert (told.version, dict(told.holder.external_ids)) == (2, {"crm": "77"})
    assert await club.bundle(issued[1]) == before
    assert (await update_tags(club))[told.pass_id] == tags[told.pass_id]


async def test_what_is_so_already_is_not_written(runner: ShardRunner) -> None:
    """A pass that has all the values wanted counts as served and is left as it is, to its
    version."""
    club = runner.club
    issued = await club.issue(draft(points=5, tier="Gold"))
    before = await club.bundle(issued)
    served = await runner.change(await runner.update_action(tier="Gold"), rows_of([issued]))
    assert (served.succeeded, served.failed) == (1, 0)
    assert await club.bundle(issued) == before
    assert (await club.get(issued)).version == 1
    assert not await club.tenant.fetch("SELECT FROM campaign_shards WHERE undo IS NOT NULL")


async def test_equal_numbers_of_other_digits_are_a_change(runner: ShardRunner) -> None:
    """1.5 becomes 1.50, and a moment another offset: what stands on the pass counts, not whether
    two values compare as equal."""
    club = runner.club
    since = datetime.fromisoformat("2024-01-01T12:00:00+01:00")
    issued = await club.issue(draft(discount=Decimal("1.5"), since=since))
    action = await runner.update_action(discount=Decimal("1.50"), since=since.astimezone(UTC))
    await runner.change(action, rows_of([issued]))
    now = await club.get(issued)
    assert now.version == 2
    assert now.values["discount"] == value(Decimal("1.50"))
    assert now.values["since"] == value(since.astimezone(UTC))


async def test_a_template_change_keeps_what_holders_set(runner: ShardRunner) -> None:
    """Rolled out to holders, a revision's new default shows where a pass had none of its own; what
    was set stays; values of slots that are gone go; and a new required slot is filled by the
    campaign, or the pass is left as it is and its failure names the field."""
    club = runner.club
    mine = await club.issue(draft(points=3, tier="Gold", note="old"))
    theirs = await club.issue(draft(points=4))
    card = small_card(Slot(name="seat", type=SlotType.TEXT, required=True))
    slots = tuple(
        Slot(name="tier", type=SlotType.TEXT, default_value="Bronze") if s.name == "tier" else s
        for s in card.slots
        if s.name != "note"
    )
    fields = tuple(each for each in card.fields if each.key != "note")
    number = await club.tenant.publish(club.template_id, replace(card, slots=slots, fields=fields))
    rows = rows_of([mine, theirs])
    served = await runner.change(await runner.update_action(number), rows)
    assert (served.succeeded, served.failed) == (0, 2)
    assert served.reasons == {0: "INVALID_VALUES", 1: "INVALID_VALUES"}
    assert all('values["seat"]' in each.message for each in served.failures)
    assert (await club.get(mine)).version == 1
    served = await runner.change(await runner.update_action(number, seat="12A"), rows)
    assert (served.succeeded, served.failed) == (2, 0)
    kept, given = await club.get(mine), await club.get(theirs)
    assert kept.revision == given.revision == number
    assert set(kept.values) == {"points", "tier", "seat"}
    assert set(given.values) == {"points", "seat"}
    shown = [str(verify(await club.bundle(each), authority())) for each in (mine, theirs)]
    assert "'Gold'" in shown[0]
    assert "'Bronze'" in shown[1]


async def test_each_refusal_has_its_reason(runner: ShardRunner) -> None:
    """Voided passes, passes of another template, unknown ones and values that make no pass are
    left unchanged and counted as failed, each with its reason; a pass or id that comes twice is a
    duplicate; the rest is served."""
    club = runner.club
    good, twice, voided = await issue_many(club, 3)
    await void(club, voided)
    other_id = await club.tenant.add_template(club.program_id, small_card())
    await club.tenant.publish(other_id)
    other = Club(tenant=club.tenant, program_id=club.program_id, template_id=other_id)
    foreign = await other.issue()
    await club.tenant.fetch(
        "UPDATE passes SET version = 7 WHERE pass_id = $1", uuid.UUID(foreign.pass_id)
    )
    rows = [
        Row(pass_id=good.pass_id, external_id="good"),
        Row(pass_id=voided.pass_id, external_id="voided"),
        Row(pass_id=foreign.pass_id, external_id="foreign"),
        Row(pass_id=str(uuid.uuid4()), external_id="nobody"),
        Row(pass_id=twice.pass_id, external_id="twice"),
        Row(pass_id=twice.pass_id, external_id="again"),
        Row(pass_id=str(uuid.uuid4()), external_id="good"),
    ]
    served = await runner.change(await runner.update_action(tier="Gold"), rows)
    assert (served.succeeded, served.failed, served.duplicate) == (2, 3, 2)
    assert served.reasons == {
        1: "PASS_VOIDED",
        2: "NOT_FOUND",
        3: "NOT_FOUND",
        5: "DUPLICATE_RECIPIENT",
        6: "DUPLICATE_RECIPIENT",
    }
    assert {each.external_id for each in served.failures if each.row_offset in {1, 6}} == {
        "voided", "good",
    }  # fmt: skip
    versions = [(await club.get(each)).version for each in (good, voided, foreign, twice)]
    assert versions == [2, 2, 7, 2]


async def test_holder_and_expiry_are_set_where_given(runner: ShardRunner) -> None:
    """What a recipient says of the holder and the expiry replaces what was; what it leaves out
    stays."""
    club = runner.club
    issued = await club.issue(draft("Ada", phone="+12065550123", crm="1"))
    rows = [
        Row(
            pass_id=issued.pass_id,
            external_id="a",
            name="Grace",
            expire_time=LATER,
            holder_ids={"erp": "9"},
        )
    ]
    await runner.change(await runner.update_action(), rows)
    now = await club.get(issued)
    assert (now.holder.name, now.holder.phone) == ("Grace", "+12065550123")
    assert dict(now.holder.external_ids) == {"erp": "9"}
    assert now.expire_time.ToDatetime(UTC) == LATER
    shown = verify(await club.bundle(issued), authority())
    assert shown["generic"]["primaryFields"][0]["value"] == "Grace"


async def test_a_shard_is_served_once(runner: ShardRunner) -> None:
    """Served by two at once, and once more later, a shard changes each pass once; the late ones
    learn that it is done."""
    club = runner.club
    issued = await issue_many(club, 3)
    campaign = await runner.begin(
        await runner.draft(await runner.update_action(points=50), rows_of(issued))
    )
    [shard] = await runner.shards(campaign)
    work = ShardWork(caller=club.tenant.caller, campaign=campaign, shard=shard)
    results = await asyncio.gather(*(runner.update(work) for _ in range(3)), return_exceptions=True)
    assert sorted(map(repr, results)) == ["None", "ShardDone()", "ShardDone()"]
    with pytest.raises(ShardDone):
        await runner.update(work)
    assert [(await club.get(each)).version for each in issued] == [2, 2, 2]
    assert (await runner.served(campaign)).succeeded == 3
    assert (
        len(await club.tenant.fetch("SELECT FROM outbox WHERE kind = 'campaign.shard_done'")) == 1
    )


async def test_a_change_made_meanwhile_is_kept(service: Service, rowing_club: Club) -> None:
    """When somebody changes a pass after the shard has read it, the shard does that one again: both
    changes hold, and the others are written once."""
    issued = await issue_many(rowing_club, 3)
    times = iter([True])

    async def move_once() -> None:
        if next(times, False):
            wanted = Pass(values={"note": value("meanwhile")})
            await rowing_club.update(issued[1], "values.note", wanted=wanted)

    async with open_runner(service, rowing_club, before_writing=move_once) as runner:
        served = await runner.change(await runner.update_action(tier="Gold"), rows_of(issued))
    assert (served.succeeded, served.failed) == (3, 0)
    moved = await rowing_club.get(issued[1])
    assert set(moved.values) == {"points", "tier", "note"}
    assert [(await rowing_club.get(each)).version for each in issued] == [2, 3, 2]
    for each in issued:
        verify(await rowing_club.bundle(each), authority())


async def test_a_pass_that_never_rests_fails_alone(service: Service, rowing_club: Club) -> None:
    """A pass that is changed before every try of the shard is given up with UNAVAILABLE, so that
    it can be retried; the others are served."""
    issued = await issue_many(rowing_club, 3)
    points = iter(range(1000, 2000))

    async def move() -> None:
        wanted = Pass(values={"points": value(next(points))})
        await rowing_club.update(issued[1], "values.points", wanted=wanted)

    async with open_runner(service, rowing_club, before_writing=move) as runner:
        served = await runner.change(await runner.update_action(tier="Gold"), rows_of(issued))
    assert (served.succeeded, served.failed) == (2, 1)
    assert served.reasons == {1: "UNAVAILABLE"}
    assert set((await rowing_club.get(issued[1])).values) == {"points"}
    assert [(await rowing_club.get(each)).version for each in (issued[0], issued[2])] == [2, 2]


async def test_without_an_identity_nothing_is_written(runner: ShardRunner) -> None:
    """When nothing can sign, an update's shard is refused as a whole, so that its campaign stops;
    no pass changes and the shard is still to be served."""
    club = runner.club
    issued = await issue_many(club, 2)
    await club.tenant.fetch("UPDATE signing_identities SET is_active = false")
    campaign = await runner.begin(
        await runner.draft(await runner.update_action(tier="Gold"), rows_of(issued))
    )
    with pytest.raises(AppError, match="NO_SIGNING_IDENTITY"):
        await runner.serve(campaign)
    assert [(await club.get(each)).version for each in issued] == [1, 1]
    await club.tenant.fetch("UPDATE signing_identities SET is_active = true")
    assert (await runner.serve(campaign)).succeeded == 2


async def test_a_retry_serves_those_it_names(runner: ShardRunner) -> None:
    """A retry's shard changes the recipients that it names and no other of its range, and what it
    serves is no failure any more."""
    club = runner.club
    first, second = await issue_many(club, 2)
    await void(club, second)
    campaign = await runner.begin(
        await runner.draft(await runner.update_action(tier="Gold"), rows_of([first, second]))
    )
    assert (await runner.serve(campaign)).reasons == {1: "PASS_VOIDED"}
    await club.tenant.fetch("UPDATE passes SET state = 1 WHERE state = 2")
    await club.tenant.fetch(
        "UPDATE campaign_shards SET state = 2, kind = 2, row_offsets = '{1}'"
        " WHERE campaign_id = $1",
        campaign.campaign_id,
    )
    served = await runner.serve(campaign)
    assert (served.succeeded, served.reasons) == (1, {})
    assert (await club.get(first)).version == 2
    assert set((await club.get(second)).values) == {"points", "tier"}


async def test_a_damaged_pass_fails_alone(runner: ShardRunner) -> None:
    """A stored pass that cannot be read as its revision has it, which no call could make, fails
    with INTERNAL and a message without details; its neighbours are served."""
    club = runner.club
    issued = await issue_many(club, 4)
    damages = {0: '{"points":"x"}', 2: '{"unknown":1}'}
    for at, damage in damages.items():
        await club.tenant.fetch(
            "UPDATE passes SET slot_values = $2 WHERE pass_id = $1",
            uuid.UUID(issued[at].pass_id),
            damage,
        )
    served = await runner.change(await runner.update_action(tier="Gold"), rows_of(issued))
    assert (served.succeeded, served.reasons) == (2, {0: "INTERNAL", 2: "INTERNAL"})
    assert {each.message.partition(".")[0] for each in served.failures} == {
        "The pass could not be made"
    }
    for at in (1, 3):
        verify(await club.bundle(issued[at]), authority())


async def test_campaigns_over_the_same_passes(runner: ShardRunner) -> None:
    """Two campaigns that change the same passes at the same time, in opposite order, wait for each
    other and never in a circle: both changes are on every pass."""
    club = runner.club
    issued = await issue_many(club, 30)
    rows = rows_of(issued)
    begun = [
        await runner.begin(await runner.draft(await runner.update_action(tier="Gold"), rows)),
        await runner.begin(await runner.draft(await runner.update_action(note="Hi"), rows[::-1])),
    ]
    results = await asyncio.gather(*(runner.serve(each) for each in begun))
    assert [each.succeeded for each in results] == [30, 30]
    for each in issued:
        now = await club.get(each)
        assert (now.version, set(now.values)) == (3, {"points", "tier", "note"})


async def test_a_pass_the_signer_fails_on_is_found(service: Service, rowing_club: Club) -> None:
    """When the signer fails on one pass of a batch, that one alone fails with INTERNAL and stays as
    it is, and the others are signed; voided it is nevertheless, and left to be signed."""
    issued = await issue_many(rowing_club, 7)
    bad = issued[4]
    async with open_runner(service, rowing_club, unsignable=bad.serial_number) as runner:
        served = await runner.change(await runner.update_action(tier="Gold"), rows_of(issued))
        assert (served.succeeded, served.reasons) == (6, {4: "INTERNAL"})
        assert (await rowing_club.get(bad)).version == 1
        voiding = await runner.begin(await runner.draft(VoidAction(reason=""), rows_of(issued)))
        assert (await runner.serve(voiding, runner.void)).succeeded == 7
    assert await rowing_club.tenant.count("signing_intents") == 1
    for each in issued:
        assert verify(await rowing_club.bundle(each), authority())["voided"] is True
