"""ReverseRedemption: free again, the pass as before, once, and by whom it may be."""

import asyncio
import json
import uuid

import pytest

from passmill.v1 import counter_pb2
from passmill.v1 import pass_service_pb2 as passes_pb2
from passmill.v1 import scan_pb2 as scans
from passmill.v1.counter_pb2 import Offer, OfferMark
from passmill.v1.counter_service_pb2 import UpdateOfferRequest
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.bundles import pass_json
from tests.support.counters import Counter
from tests.support.refusals import refused
from tests.support.service import by_id, meta
from tests.support.small_card import draft, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTED, REFUSED = scans.SCAN_OUTCOME_ACCEPTED, scans.SCAN_OUTCOME_REFUSED
MARK = OfferMark(
    uses_slot="points",
    used_up_values={"note": value("used"), "tier": value("Used")},
    void_when_used_up=True,
)


async def test_the_pass_looks_as_before(counter: Counter) -> None:
    """Values, defaults and state are what they were; the use is free and can be had again."""
    offer = await counter.add_offer(mark=MARK)
    issued = await counter.club.issue(draft(points=0, note="hello"))
    before = pass_json(await counter.club.bundle(issued))
    redeemed = await counter.till.redeem(issued, offer)
    assert pass_json(await counter.club.bundle(issued)) != before
    taken_back = await counter.till.reverse(redeemed.redemption.redemption_id, "wrong button")
    assert (taken_back.outcome, taken_back.uses) == (ACCEPTED, 0)
    [use] = (await counter.till.look(issued)).last_uses
    assert (use.reverse_reason, taken_back.redemption.reverse_reason) == ("wrong button", "")
    assert taken_back.redemption.HasField("reverse_time")
    assert pass_json(await counter.club.bundle(issued)) == before
    assert (await counter.club.get(issued)).state == Pass.STATE_ACTIVE
    again = await counter.till.redeem(issued, offer)
    assert (again.outcome, again.redemption.use_number) == (ACCEPTED, 1)


async def test_events_name_the_use(counter: Counter) -> None:
    """That a pass was redeemed, and that this was taken back, is told with the use and the offer,
    the first with the venue too, and that the pass does not show it."""
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    redeemed = await counter.till.redeem(issued, offer)
    await counter.till.reverse(redeemed.redemption.redemption_id)
    venue = {"venue_id": counter.venue.venue_id}
    for kind, more in (("pass.redeemed", venue), ("pass.redemption_reversed", {})):
        [event] = await counter.club.tenant.fetch(
            "SELECT pass_ids, detail FROM outbox WHERE kind = $1", kind
        )
        assert [str(each) for each in event["pass_ids"]] == [issued.pass_id]
        assert json.loads(event["detail"]) == {
            "redemption_id": redeemed.redemption.redemption_id,
            "offer_id": offer.offer_id,
            "visible": False,
            **more,
        }


async def test_what_was_changed_since_stays(counter: Counter) -> None:
    """A value that somebody set after the use, and a pass that somebody voided, stay so."""
    offer = await counter.add_offer(mark=MARK)
    issued = await counter.club.issue(draft(points=0, note="hello"))
    redeemed = await counter.till.redeem(issued, offer)
    await counter.club.update(issued, "values.note", wanted=Pass(values={"note": value("mine")}))
    await counter.club.passes.ReinstatePass(
        passes_pb2.ReinstatePassRequest(ref=by_id(issued), meta=meta())
    )
    await counter.club.passes.VoidPass(
        passes_pb2.VoidPassRequest(ref=by_id(issued), reason="stolen", meta=meta())
    )
    assert (await counter.till.reverse(redeemed.redemption.redemption_id)).outcome == ACCEPTED
    now = await counter.club.get(issued)
    assert (now.state, now.void_reason) == (Pass.STATE_VOIDED, "stolen")
    assert (now.values["note"].text, "tier" in now.values) == ("mine", False)


async def test_another_use_than_the_last_is_taken_back(counter: Counter) -> None:
    """Of three uses the first is taken back: the pass is not used up any more and counts two, and
    the free number is had next."""
    offer = await counter.add_offer(max_uses=3, mark=MARK)
    issued = await counter.club.issue(draft(points=0, note="hello"))
    answers = [await counter.till.redeem(issued, offer) for _ in range(3)]
    assert (await counter.club.get(issued)).state == Pass.STATE_VOIDED
    await counter.till.reverse(answers[0].redemption.redemption_id)
    now = await counter.club.get(issued)
    assert (now.state, now.values["points"].integer) == (Pass.STATE_ACTIVE, 2)
    assert now.values["note"].text == "hello"
    again = await counter.till.redeem(issued, offer)
    assert again.redemption.use_number == 1
    assert (await counter.club.get(issued)).state == Pass.STATE_VOIDED


async def test_once(counter: Counter) -> None:
    """Of twenty at once one takes it back; the others, and whoever comes later, are told that it
    was; a retry gets its own answer."""
    offer = await counter.add_offer(mark=MARK)
    issued = await counter.club.issue()
    redemption_id = (await counter.till.redeem(issued, offer)).redemption.redemption_id
    answers = await asyncio.gather(*(counter.till.reverse(redemption_id) for _ in range(20)))
    assert [each.outcome for each in answers].count(ACCEPTED) == 1
    reasons = {each.reason for each in answers if each.outcome == REFUSED}
    assert reasons == {scans.REFUSAL_REASON_ALREADY_REVERSED}
    for unknown in (str(uuid.uuid4()), "x"):
        assert (await refused(counter.till.reverse(unknown))).reason == "NOT_FOUND"


async def test_who_may(counter: Counter) -> None:
    """A scanner takes back its own of a moment ago; another scanner needs the right, and none
    reaches another venue."""
    redeem_only = [counter_pb2.SCANNER_RIGHT_REDEEM]
    offer = await counter.add_offer(max_uses=0)
    issued = await counter.club.issue()
    mine = await counter.scanner(redeem_only)
    other = await counter.scanner(redeem_only)
    chief = await counter.scanner([counter_pb2.SCANNER_RIGHT_REVERSE])
    away = await counter.scanner(venue=await counter.add_venue())
    first, second = [(await mine.redeem(issued, offer)).redemption for _ in range(2)]
    assert first.scanner_id
    for till in (other, away):
        answer = await till.reverse(first.redemption_id)
        assert answer.reason == scans.REFUSAL_REASON_RIGHT_MISSING
    assert (await mine.reverse(first.redemption_id)).outcome == ACCEPTED
    await counter.club.tenant.fetch("SELECT 1")
    assert (await chief.reverse(second.redemption_id)).outcome == ACCEPTED


async def test_what_staff_stopped_stays_stopped(counter: Counter) -> None:
    """A pass that its use made void is voided by staff as well, and stays so when the use is taken
    back."""
    offer = await counter.add_offer(mark=MARK)
    issued = await counter.club.issue()
    used = await counter.till.redeem(issued, offer)
    stop = passes_pb2.VoidPassRequest(ref=by_id(issued), reason="fraud", meta=meta())
    await counter.club.passes.VoidPass(stop)
    await counter.till.reverse(used.redemption.redemption_id)
    now = await counter.club.get(issued)
    assert (now.state, now.void_reason) == (Pass.STATE_VOIDED, "fraud")


async def test_fewer_uses_than_there_were(counter: Counter) -> None:
    """An offer that is lowered to two uses gives no third, though the first was taken back."""
    offer = await counter.add_offer(max_uses=3)
    issued = await counter.club.issue()
    answers = [await counter.till.redeem(issued, offer) for _ in range(3)]
    await counter.till.reverse(answers[0].redemption.redemption_id)
    lowered = UpdateOfferRequest(offer_id=offer.offer_id, offer=Offer(max_uses=2), meta=meta())
    lowered.update_mask.paths.append("max_uses")
    await counter.manage.UpdateOffer(lowered)
    third = await counter.till.redeem(issued, offer)
    assert (third.reason, third.uses) == (scans.REFUSAL_REASON_ALREADY_REDEEMED, 2)
