"""VerifyPass: what a pass is worth, here and now, to whom it may be told, and to whom not."""

import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from passmill.v1 import counter_pb2, scan_pb2, scan_service_pb2
from passmill.v1 import pass_service_pb2 as passes_pb2
from passmill.v1.counter_pb2 import CounterPolicy, OfferMark, UnitAmount
from passmill.v1.scan_pb2 import ScanRef
from tests.counter.test_redeem_pass import at, passes_draft
from tests.support.counters import Counter, open_counter, shown
from tests.support.service import Service, by_id, meta
from tests.support.small_card import draft

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_true_state(counter: Counter) -> None:
    """Valid, not yet valid, wrong venue, used up, expired and voided are told apart by what the
    pass stands for, and the offers say each why it cannot be had."""
    club, till = counter.club, counter.till
    now = datetime.now(UTC)
    issued = await club.issue()
    assert (await till.verify(shown(issued))).state == scan_pb2.SCAN_STATE_VALID
    later = await counter.add_offer(valid_from=at(now + timedelta(days=1)))
    assert (await till.look(issued)).state == scan_pb2.SCAN_STATE_NOT_YET_VALID
    elsewhere = await counter.add_venue()
    there = await counter.add_offer(venue_ids=[elsewhere.venue_id])
    assert (await till.look(issued)).state == scan_pb2.SCAN_STATE_WRONG_VENUE
    for_all = await counter.add_offer(is_of_template=False, display_name="For all")
    assert (await till.look(issued)).state == scan_pb2.SCAN_STATE_WRONG_VENUE
    coupon = await counter.add_offer(display_name="Coupon", mark=OfferMark(uses_slot="points"))
    found = await till.look(issued)
    assert found.state == scan_pb2.SCAN_STATE_VALID
    assert {each.offer_id: each.reason for each in found.offers} == {
        for_all.offer_id: 0,
        coupon.offer_id: 0,
        later.offer_id: scan_pb2.REFUSAL_REASON_NOT_YET_VALID,
        there.offer_id: scan_pb2.REFUSAL_REASON_WRONG_VENUE,
    }
    assert [each.is_redeemable for each in found.offers] == [True, True, False, False]
    answer = await till.redeem(issued, coupon)
    used = await till.look(issued)
    [standing] = [each for each in used.offers if each.offer_id == coupon.offer_id]
    assert (standing.uses, standing.reason) == (1, scan_pb2.REFUSAL_REASON_ALREADY_REDEEMED)
    assert standing.first_use_time == answer.redemption.scan_time
    assert standing.first_use_venue_id == counter.venue.venue_id
    assert list(used.last_uses) == [answer.redemption]
    expired = await club.issue(passes_draft(expire_time=at(now - timedelta(seconds=5))))
    assert (await till.look(expired)).state == scan_pb2.SCAN_STATE_EXPIRED
    await club.passes.VoidPass(passes_pb2.VoidPassRequest(ref=by_id(issued), meta=meta()))
    assert (await till.look(issued)).state == scan_pb2.SCAN_STATE_VOIDED


async def test_used_up_when_all_are_used(counter: Counter) -> None:
    """A pass is used up when the last of what it stands for was had, not before."""
    offers = [await counter.add_offer(), await counter.add_offer()]
    issued = await counter.club.issue()
    states = []
    for offer in offers:
        await counter.till.redeem(issued, offer)
        states.append((await counter.till.look(issued)).state)
    assert states == [scan_pb2.SCAN_STATE_VALID, scan_pb2.SCAN_STATE_USED_UP]


async def test_what_staff_see(counter: Counter) -> None:
    """Name, tier, picture and texts come from the pass by the program's policy; demands by what is
    at stake; a scanner without the right sees neither name nor picture."""
    await counter.set_policy(
        demands=[
            CounterPolicy.DemandRule(
                demand=counter_pb2.STAFF_DEMAND_ASK_FOR_ID,
                at_least=UnitAmount(unit="EUR", amount=5000),
            ),
            CounterPolicy.DemandRule(demand=counter_pb2.STAFF_DEMAND_LOOK_AT_PHOTO),
        ],
        photo_slot="offers",
        tier_slot="tier",
        attention_slots=["note", "points"],
    )
    cheap = await counter.add_offer(worth=UnitAmount(unit="EUR", amount=4999))
    dear = await counter.add_offer(worth=UnitAmount(unit="EUR", amount=5000), attention="One each")
    issued = await counter.club.issue(
        draft("Ada", note="Nut allergy", offers="https://example.com/ada.jpg")
    )
    found = await counter.till.look(issued)
    assert (found.holder_name, found.tier) == ("Ada", "Silver")
    assert found.thumbnail_url == "https://example.com/ada.jpg"
    assert list(found.attention_texts) == ["Nut allergy"]
    look, ask = counter_pb2.STAFF_DEMAND_LOOK_AT_PHOTO, counter_pb2.STAFF_DEMAND_ASK_FOR_ID
    assert list(found.demands) == [look]
    demands = {each.offer_id: list(each.demands) for each in found.offers}
    assert demands == {cheap.offer_id: [look], dear.offer_id: [look, ask]}
    assert found.offers[1].attention == "One each"
    scanner = await counter.scanner([counter_pb2.SCANNER_RIGHT_REDEEM])
    hidden = await scanner.look(issued)
    assert (hidden.holder_name, hidden.thumbnail_url) == ("", "")
    assert hidden.reference_id == issued.reference_id


async def test_a_telephone_number_may_name_several(counter: Counter) -> None:
    """All passes of a number are given, the newest first, and redeeming by it asks to choose."""
    offer = await counter.add_offer()
    phone = "+12065550147"
    passes = [await counter.club.issue(draft(phone=phone)) for _ in range(3)]
    verified = await counter.till.verify(ScanRef(phone="+1 206 555-01 47"))
    assert verified.state == scan_pb2.SCAN_STATE_SEVERAL
    assert [each.pass_id for each in verified.passes] == [each.pass_id for each in passes[::-1]]
    answer = await counter.till.redeem(passes[0], offer, ref=ScanRef(phone=phone))
    assert answer.reason == scan_pb2.REFUSAL_REASON_SEVERAL_PASSES


async def test_what_is_none(counter: Counter, service: Service) -> None:
    """Codes that are none, another tenant's passes and numbers of nobody are unknown alike, and
    tell nothing."""
    stranger = await open_counter(await service.add_club())
    theirs = await stranger.club.issue(draft(phone="+12065550111"))
    nothing = scan_service_pb2.VerifyPassResponse(
        state=scan_pb2.SCAN_STATE_UNKNOWN, reason=scan_pb2.REFUSAL_REASON_UNKNOWN_CODE
    )
    for ref in (
        ScanRef(barcode="4006381333931"),
        ScanRef(barcode=theirs.serial_number),
        ScanRef(serial_number=theirs.serial_number),
        ScanRef(reference_id=theirs.reference_id),
        ScanRef(reference_id="K7M3-Q8TY"),
        ScanRef(phone="+12065550111"),
        ScanRef(phone="nobody\x00"),
        ScanRef(pass_id=theirs.pass_id),
        ScanRef(pass_id="x"),
    ):
        answer = await counter.till.verify(ref)
        answer.ClearField("server_time")
        assert answer == nothing, ref


async def test_verifying_changes_nothing(counter: Counter) -> None:
    """After verifying, no row of the tenant is new but those that were."""
    await counter.add_offer()
    issued = await counter.club.issue()
    tables = ("redemptions", "check_ins", "offline_scans", "outbox", "request_answers")
    before = [await counter.club.tenant.count(each) for each in tables]
    for _ in range(3):
        await counter.till.look(issued)
    assert [await counter.club.tenant.count(each) for each in tables] == before


async def test_a_scanner_without_the_right_looks_nobody_up(counter: Counter) -> None:
    """Reference ids and telephone numbers are for scanners with the right alone; what is shown to
    them they all verify."""
    scanner = await counter.scanner([])
    issued = await counter.club.issue(draft(phone="+12065550122"))
    for ref in (ScanRef(reference_id=issued.reference_id), ScanRef(phone="+12065550122")):
        answer = await scanner.verify(ref)
        assert answer.reason == scan_pb2.REFUSAL_REASON_RIGHT_MISSING
        assert not answer.passes
    assert (await scanner.look(issued)).pass_id == issued.pass_id


async def test_telephone_numbers_are_limited_even_when_they_are_found(counter: Counter) -> None:
    """A key may ask for three hundred numbers at once and not for many more: they find somebody too
    often."""
    phone = "+12065550133"
    await counter.club.issue(draft(phone=phone))
    key = await counter.club.tenant.service.add_key(counter.club.tenant.tenant_id)
    till = counter.till_of(key)

    async def ask() -> str:
        try:
            await till.verify(ScanRef(phone=phone))
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "found"

    found = [each for _ in range(20) for each in await asyncio.gather(*(ask() for _ in range(20)))]
    assert set(found) == {"found", "RESOURCE_EXHAUSTED"}
    assert found.count("found") >= 300


async def test_the_newest_passes_of_a_number(counter: Counter) -> None:
    """Of many passes with one telephone number the twenty newest are told, the newest first."""
    phone = "+12065550134"
    club = counter.club
    many = [draft(phone=phone) for _ in range(210)]
    await club.passes.BatchIssuePasses(club.batch_request(many))
    newest = await club.issue(draft(phone=phone))
    found = (await counter.till.verify(ScanRef(phone=phone))).passes
    assert len(found) == 20
    assert found[0].pass_id == newest.pass_id
