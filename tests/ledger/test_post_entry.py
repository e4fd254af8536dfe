"""PostEntry and ReverseEntry: the ledger, the pass that shows it, and what its holder hears."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.v1 import balance_service_pb2 as pb
from passmill.v1.balance_pb2 import BalanceUnit, EntryKind, Tier
from passmill.v1.wallet_pass_pb2 import Pass, PassRef
from tests.support.balances import (
    ADJUST,
    BURN,
    EARN,
    EXPIRE,
    Till,
    euros,
    open_balance_worker,
    post_request,
    refusal,
)
from tests.support.bundles import verify
from tests.support.refusals import refused
from tests.support.service import Club, authority, by_id, meta
from tests.support.small_card import small_card
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")


def stamp(moment: datetime) -> Timestamp:
    """A time for the wire."""
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def reversal(posted: pb.PostEntryResponse) -> pb.ReverseEntryRequest:
    """A request to take an entry back."""
    return pb.ReverseEntryRequest(entry_id=posted.entry.entry_id, reference="mistyped", meta=meta())


async def test_points_are_on_the_pass(till: Till) -> None:
    """What is earned, burnt, adjusted and expires shows on the signed pass at once, with one event
    and one push each."""
    issued = await till.issue()
    steps = ((100, EARN, 100), (30, BURN, 70), (-5, ADJUST, 65), (10, EXPIRE, 55))
    entry_ids = []
    for amount, kind, after in steps:
        posted = await till.post(issued, amount, kind)
        assert refusal(posted) == ""
        entry_ids.append(posted.entry.entry_id)
        assert posted.entry.balance_after == posted.balance.balance == after
        assert await till.shown(issued) == after
    shown = verify(await till.club.bundle(issued), authority())
    assert "55" in json.dumps(shown["generic"]["headerFields"])
    assert [each.amount for each in await till.entries(issued)] == [-10, -5, -30, 100]
    assert (await till.club.get(issued)).version == 5
    rows = await till.club.tenant.fetch(
        "SELECT detail FROM outbox WHERE kind = 'balance.posted' ORDER BY create_time, event_id"
    )
    details = [json.loads(row["detail"]) for row in rows]
    assert [each["balance"] for each in details] == [100, 70, 65, 55]
    assert [each["amount"] for each in details] == [100, -30, -5, -10]
    assert [each["entry_id"] for each in details] == entry_ids
    assert all(each["visible"] and each["unit"] == "points" for each in details)


async def test_what_is_not_there_is_not_spent(till: Till) -> None:
    """Too much is refused as an answer, with the balance as it is; the pass stays as it was."""
    issued = await till.issue()
    await till.post(issued, 20)
    before = await till.club.get(issued)
    answer = await till.post(issued, 21, BURN)
    assert refusal(answer) == "INSUFFICIENT_BALANCE"
    assert not answer.HasField("entry")
    assert answer.balance.balance == 20
    assert await till.club.get(issued) == before


async def test_the_same_request_posts_once(till: Till) -> None:
    """Twenty who send one request at the same time get one answer, byte for byte; the balance moves
    once. Another entry under the key is refused."""
    issued = await till.issue()
    request = post_request(issued, 50)
    answers = await asyncio.gather(*(till.stub.PostEntry(request) for _ in range(20)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert (await till.points(issued)).balance == 50
    request.entry.amount = 51
    assert (await refused(till.stub.PostEntry(request))).reason == "REQUEST_ID_REUSED"


async def test_a_dry_run_posts_nothing(till: Till) -> None:
    """With validate_only the answer is that which would be given, and nothing has happened."""
    issued = await till.issue()
    request = post_request(issued, 50)
    request.meta.validate_only = True
    assert (await till.stub.PostEntry(request)).balance.balance == 50
    assert (await till.points(issued)).version == 0
    assert await till.shown(issued) == 0


async def test_expected_version(till: Till) -> None:
    """Of ten who post for the same version one succeeds."""
    issued = await till.issue()
    await till.post(issued, 10)
    answers = await asyncio.gather(*(till.post(issued, 1, expected_version=1) for _ in range(10)))
    refusals = sorted(map(refusal, answers))
    assert refusals == ["", *["VERSION_MISMATCH"] * 9]
    assert (await till.points(issued)).balance == 11


async def test_an_entry_is_taken_back_once(till: Till) -> None:
    """A reversal undoes an entry by another one, by its id or its key; a second one names the
    first, and a reversal is not taken back. What was spent meanwhile cannot be taken."""
    issued = await till.issue()
    key = str(uuid.uuid4())
    earned = await till.post(issued, 40, key=key)
    burnt = await till.post(issued, 15, BURN)
    assert refusal(await till.stub.ReverseEntry(reversal(earned))) == "INSUFFICIENT_BALANCE"
    back = await till.stub.ReverseEntry(reversal(burnt))
    assert (back.entry.amount, back.entry.kind) == (15, EntryKind.ENTRY_KIND_REVERSAL)
    assert back.entry.reversed_entry_id == burnt.entry.entry_id
    again = await till.stub.ReverseEntry(reversal(burnt))
    assert (refusal(again), again.entry) == ("ALREADY_REVERSED", back.entry)
    by_key = await till.stub.ReverseEntry(
        pb.ReverseEntryRequest(posted_request_id=key, meta=meta())
    )
    assert by_key.balance.balance == by_key.balance.earned == 0
    twice = await till.stub.ReverseEntry(
        pb.ReverseEntryRequest(entry_id=by_key.entry.entry_id, meta=meta())
    )
    assert refusal(twice) == "NOT_REVERSIBLE"
    assert await till.shown(issued) == 0


async def test_a_voided_or_expired_pass_earns_and_spends_nothing(till: Till) -> None:
    """At the counter such a pass is refused; an operator may still adjust."""
    voided = await till.issue()
    await till.post(voided, 10)
    await void(till.club, voided, reason="lost")
    assert refusal(await till.post(voided, 5, BURN)) == "PASS_VOIDED"
    assert refusal(await till.post(voided, 5)) == "PASS_VOIDED"
    assert refusal(await till.post(voided, -10, ADJUST)) == ""
    over = await till.issue()
    wanted = Pass(expire_time=stamp(datetime.now(UTC) - timedelta(hours=1)))
    await till.club.update(over, "expire_time", wanted=wanted)
    assert refusal(await till.post(over, 5)) == "PASS_EXPIRED"


async def test_what_does_not_exist(till: Till) -> None:
    """Unknown passes, units and entries are errors; so are malformed amounts."""
    issued = await till.issue()
    unknown = post_request(issued, 5)
    unknown.ref.CopyFrom(PassRef(pass_id=str(uuid.uuid4())))
    assert (await refused(till.stub.PostEntry(unknown))).reason == "NOT_FOUND"
    assert (await refused(till.post(issued, 5, unit="miles"))).reason == "NOT_FOUND"
    for amount, kind in ((-1, BURN), (0, ADJUST), (-5, EXPIRE)):
        assert (await refused(till.post(issued, amount, kind))).reason == "INVALID_FIELD"
    missing = pb.ReverseEntryRequest(posted_request_id=str(uuid.uuid4()), meta=meta())
    assert (await refused(till.stub.ReverseEntry(missing))).reason == "NOT_FOUND"


async def test_a_unit_without_a_slot(till: Till) -> None:
    """What no slot shows changes no pass: its version stays, and the event says so. Nor does what
    the template has no slot for, or one of another type."""
    issued = await till.issue()
    await till.set_unit("stamps", BalanceUnit.KIND_STAMPS)
    await till.set_unit("miles", slot="nowhere")
    await till.set_unit("nights", slot="note")
    for unit in ("stamps", "miles", "nights"):
        await till.post(issued, 3, unit=unit)
    await till.set_unit("points", slot="")
    await till.post(issued, 3)
    assert (await till.club.get(issued)).version == 1
    rows = await till.club.tenant.fetch("SELECT detail FROM outbox WHERE kind = 'balance.posted'")
    assert [json.loads(row["detail"])["visible"] for row in rows] == [False] * 4


async def test_stored_money_shows_as_money(till: Till) -> None:
    """A unit that is a currency fills a money slot."""
    await till.set_unit("EUR", BalanceUnit.KIND_MONEY, slot="balance")
    issued = await till.issue()
    await till.post(issued, 1250, unit="EUR")
    assert (await till.club.get(issued)).values["balance"].money == euros(1250)


async def test_tiers_move_by_rule(till: Till) -> None:
    """The tier follows what was earned, not what is left; a reversal takes it back; earnings of
    long ago do not count within days."""
    await till.set_tiers(
        Tier(tier="silver", unit="points", at_least=0, slot="tier", slot_value="Silver"),
        Tier(tier="gold", unit="points", at_least=100, slot="tier", slot_value="Gold"),
        Tier(
            tier="platinum",
            unit="points",
            at_least=150,
            within_days=30,
            slot="tier",
            slot_value="Platinum",
        ),
    )
    issued = await till.issue()
    await till.post(issued, 99)
    assert await till.shown(issued, "tier") == "Silver"
    hundred = await till.post(issued, 1)
    await till.post(issued, 100, BURN)
    assert await till.shown(issued, "tier") == "Gold"
    await till.stub.ReverseEntry(reversal(hundred))
    long_ago = stamp(datetime.now(UTC) - timedelta(days=31))
    assert refusal(await till.post(issued, 60, occur_time=long_ago)) == ""
    assert await till.shown(issued, "tier") == "Gold"
    await till.post(issued, 60)
    assert await till.shown(issued, "tier") == "Platinum"
    view = await till.stub.GetBalance(pb.GetBalanceRequest(ref=by_id(issued)))
    assert view.tier == "platinum"


async def test_a_shared_account(till: Till) -> None:
    """A pass that was issued anew joins the account of the one before: both show it, whoever of
    them earns; an account in use is not left behind."""
    first, second = await till.issue(), await till.issue()
    await till.post(first, 80)
    join = pb.JoinAccountRequest(ref=by_id(second), account_of=by_id(first), meta=meta())
    joined = await till.stub.JoinAccount(join)
    assert joined.account_id == first.pass_id
    async with open_balance_worker(till.club.tenant.service, till.club) as worker:
        assert await worker.run() == 1
        assert await till.shown(second) == 80
        await till.post(second, 5)
        assert await till.shown(second) == 85
        assert await till.shown(first) == 80
        assert await worker.run() == 1
        assert await till.shown(first) == 85
        await till.stub.ReverseEntry(
            pb.ReverseEntryRequest(entry_id=(await till.entries(second))[0].entry_id, meta=meta())
        )
        assert await worker.run() == 1
        assert await till.shown(first) == await till.shown(second) == 80
    third = await till.issue()
    for ref, other in ((first, third), (second, third)):
        wrong = pb.JoinAccountRequest(ref=by_id(ref), account_of=by_id(other), meta=meta())
        assert refusal(await till.stub.JoinAccount(wrong)) == "ACCOUNT_IN_USE"
    same = pb.JoinAccountRequest(ref=by_id(second), account_of=by_id(first), meta=meta())
    assert refusal(await till.stub.JoinAccount(same)) == ""


async def test_another_tenant_sees_nothing(till: Till, rowing_club: Club) -> None:
    """Entries, balances and passes of one tenant are unknown to another."""
    stranger = Till(club=await rowing_club.tenant.service.add_club())
    await stranger.set_unit("points")
    issued = await till.issue()
    posted = await till.post(issued, 10)
    for call in (
        stranger.post(issued, 1),
        stranger.stub.ReverseEntry(reversal(posted)),
        stranger.stub.GetBalance(pb.GetBalanceRequest(ref=by_id(issued))),
    ):
        assert (await refused(call)).reason == "NOT_FOUND"


async def test_pages_of_entries(till: Till) -> None:
    """Entries come in pages, the newest first, none twice and none missing."""
    issued = await till.issue()
    for amount in range(1, 8):
        await till.post(issued, amount)
    seen: list[int] = []
    request = pb.ListEntriesRequest(ref=by_id(issued), unit="points", page_size=3)
    while True:
        page = await till.stub.ListEntries(request)
        seen += [each.amount for each in page.entries]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [7, 6, 5, 4, 3, 2, 1]


async def test_programs_share_no_account(till: Till) -> None:
    """A pass joins no account of another program, whose units are others."""
    tenant = till.club.tenant
    program_id = await tenant.add_program()
    template_id = await tenant.add_template(program_id, small_card())
    await tenant.publish(template_id)
    other = Club(tenant=tenant, program_id=program_id, template_id=template_id)
    ours, theirs = await till.issue(), await other.issue()
    join = pb.JoinAccountRequest(ref=by_id(theirs), account_of=by_id(ours), meta=meta())
    assert set((await refused(till.stub.JoinAccount(join))).fields) == {"account_of"}


async def test_units_posted_at_once_are_both_shown(till: Till) -> None:
    """Points and money that are posted to a pass at the same time are both on it then."""
    await till.set_unit("EUR", BalanceUnit.KIND_MONEY, slot="balance")
    passes = [await till.issue() for _ in range(8)]
    for each in passes:
        await asyncio.gather(till.post(each, 7), till.post(each, 500, unit="EUR"))
    shown = [await till.club.get(each) for each in passes]
    assert {each.values["points"].integer for each in shown} == {7}
    assert {each.values["balance"].money.minor_units for each in shown} == {500}
