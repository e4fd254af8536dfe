"""RedeemPass: once in all copies, whoever tries, and whoever tries again."""

import asyncio
from collections import Counter as Tally
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.v1 import pass_service_pb2 as passes_pb2
from passmill.v1 import scan_pb2 as scans
from passmill.v1.counter_pb2 import OfferMark
from passmill.v1.scan_pb2 import ScanRef
from passmill.v1.wallet_pass_pb2 import Pass, PassDraft
from tests.support.bundles import verify as verify_bundle
from tests.support.counters import Counter, shown
from tests.support.refusals import refused
from tests.support.service import authority, by_id, meta
from tests.support.small_card import draft, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTED, REFUSED = scans.SCAN_OUTCOME_ACCEPTED, scans.SCAN_OUTCOME_REFUSED


def at(moment: datetime) -> Timestamp:
    """A moment for the wire."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


async def test_a_coupon_is_used_once(counter: Counter) -> None:
    """The first scan has it; the next is told when and where that was, and what the pass is now."""
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    first = await counter.till.redeem(issued, offer, staff="Bo")
    assert (first.outcome, first.state) == (ACCEPTED, scans.SCAN_STATE_USED_UP)
    assert (first.uses, first.max_uses, first.redemption.use_number) == (1, 1, 1)
    assert first.redemption.venue_id == counter.venue.venue_id
    assert first.redemption.staff == "Bo"
    second = await counter.till.redeem(issued, offer)
    assert (second.outcome, second.reason) == (REFUSED, scans.REFUSAL_REASON_ALREADY_REDEEMED)
    assert second.first_use == first.redemption
    assert second.state == scans.SCAN_STATE_USED_UP
    assert await counter.club.tenant.count("redemptions") == 1


async def test_a_retry_gets_its_own_answer(counter: Counter) -> None:
    """The winner's request, sent again, is accepted again with the same redemption; the loser's is
    refused again, even when the use was taken back meanwhile."""
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    winning = counter.till.redeem_request(issued, offer)
    losing = counter.till.redeem_request(issued, offer)
    won = await counter.till.scans.RedeemPass(winning)
    lost = await counter.till.scans.RedeemPass(losing)
    await counter.till.reverse(won.redemption.redemption_id)
    assert await counter.till.scans.RedeemPass(winning) == won
    assert await counter.till.scans.RedeemPass(losing) == lost
    losing.staff = "somebody else"
    assert (await refused(counter.till.scans.RedeemPass(losing))).reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize("max_uses", [1, 3])
async def test_of_many_at_once_as_many_win_as_there_are_uses(
    counter: Counter, max_uses: int
) -> None:
    """Forty scanners at once: each use is had once, under numbers of its own, and everybody else is
    told the first use. The mark and the count on the pass are those of the last one."""
    offer = await counter.add_offer(
        max_uses=max_uses,
        mark=OfferMark(uses_slot="points", used_up_values={"note": value("used")}),
    )
    issued = await counter.club.issue()
    answers = await asyncio.gather(*(counter.till.redeem(issued, offer) for _ in range(40)))
    won = [each for each in answers if each.outcome == ACCEPTED]
    assert sorted(each.redemption.use_number for each in won) == list(range(1, max_uses + 1))
    lost = Tally(each.reason for each in answers if each.outcome != ACCEPTED)
    assert lost == {scans.REFUSAL_REASON_ALREADY_REDEEMED: 40 - max_uses}
    first_uses = {each.first_use.redemption_id for each in answers if each.outcome != ACCEPTED}
    assert first_uses <= {each.redemption.redemption_id for each in won}
    now = await counter.club.get(issued)
    assert (now.values["points"].integer, now.values["note"].text) == (max_uses, "used")


async def test_many_coupons_at_once(counter: Counter) -> None:
    """Two scanners race for each of thirty passes with a mark: each pass is redeemed once, and
    nobody waits for another in a circle."""
    offer = await counter.add_offer(mark=OfferMark(void_when_used_up=True))
    issued = [await counter.club.issue() for _ in range(30)]
    races = [counter.till.redeem(each, offer) for each in issued for _ in range(2)]
    answers = await asyncio.gather(*races)
    won = Tally(each.pass_id for each in answers if each.outcome == ACCEPTED)
    assert won == {each.pass_id: 1 for each in issued}


async def test_every_device_hears_of_it(counter: Counter) -> None:
    """A used-up coupon is voided in its bundle and says so, in a new signed version, and a push to
    its devices is queued; the state at the counter is that it was used, not that it was voided."""
    offer = await counter.add_offer(
        mark=OfferMark(used_up_values={"tier": value("Used")}, void_when_used_up=True)
    )
    issued = await counter.club.issue()
    [before] = await counter.club.tenant.fetch(
        "SELECT count(*) FROM outbox WHERE kind = 'pass.redeemed'"
    )
    answer = await counter.till.redeem(issued, offer)
    assert answer.outcome == ACCEPTED
    pass_json = verify_bundle(await counter.club.bundle(issued), authority())
    assert pass_json["voided"] is True
    assert '"Used"' in str(pass_json).replace("'", '"')
    now = await counter.club.get(issued)
    assert (now.state, now.version) == (Pass.STATE_VOIDED, 2)
    events = await counter.club.tenant.fetch(
        "SELECT detail FROM outbox WHERE kind = 'pass.redeemed'"
    )
    assert len(events) == before["count"] + 1
    assert answer.redemption.redemption_id in events[-1]["detail"]
    assert (await counter.till.look(issued)).state == scans.SCAN_STATE_USED_UP
    again = await counter.till.redeem(issued, offer)
    assert again.reason == scans.REFUSAL_REASON_ALREADY_REDEEMED


async def test_a_use_that_no_pass_shows_changes_none(counter: Counter) -> None:
    """An offer without a mark leaves the pass as it was: the same version, the same bytes."""
    offer = await counter.add_offer(max_uses=0, is_of_template=False)
    issued = await counter.club.issue()
    bundle = await counter.club.bundle(issued)
    answers = [await counter.till.redeem(issued, offer) for _ in range(3)]
    assert [each.redemption.use_number for each in answers] == [1, 2, 3]
    assert {each.state for each in answers} == {scans.SCAN_STATE_VALID}
    assert await counter.club.bundle(issued) == bundle


async def test_why_there_is_none(counter: Counter) -> None:
    """Each reason by its name: another program's or template's pass, too early, over, archived,
    another venue, another tier, voided, expired, unknown."""
    club, till = counter.club, counter.till
    now = datetime.now(UTC)
    issued = await club.issue()
    elsewhere = await counter.add_venue()
    later = await counter.add_offer(valid_from=at(now + timedelta(hours=1)))
    over = await counter.add_offer(valid_until=at(now - timedelta(hours=1)))
    there = await counter.add_offer(venue_ids=[elsewhere.venue_id])
    await counter.set_policy(tier_slot="tier")
    gold = await counter.add_offer(tiers=["Gold"])
    for offer, reason in (
        (later, scans.REFUSAL_REASON_NOT_YET_VALID),
        (over, scans.REFUSAL_REASON_OFFER_ENDED),
        (there, scans.REFUSAL_REASON_WRONG_VENUE),
        (gold, scans.REFUSAL_REASON_NOT_ELIGIBLE),
    ):
        answer = await till.redeem(issued, offer)
        assert (answer.outcome, answer.reason) == (REFUSED, reason)
        assert (answer.pass_id, answer.uses) == (issued.pass_id, 0)
    stranger = await till.redeem(issued, gold, ref=ScanRef(barcode="https://example.com/x"))
    assert stranger.reason == scans.REFUSAL_REASON_UNKNOWN_CODE
    assert (stranger.state, stranger.pass_id) == (scans.SCAN_STATE_UNKNOWN, "")
    expired = await club.issue(passes_draft(expire_time=at(now - timedelta(minutes=1))))
    plain = await counter.add_offer()
    assert (await till.redeem(expired, plain)).reason == scans.REFUSAL_REASON_EXPIRED
    await club.passes.VoidPass(passes_pb2.VoidPassRequest(ref=by_id(issued), meta=meta()))
    assert (await till.redeem(issued, plain)).reason == scans.REFUSAL_REASON_VOIDED
    assert await club.tenant.count("redemptions") == 0


def passes_draft(expire_time: Timestamp) -> PassDraft:
    """A draft with an expiry of its own."""
    made = draft()
    made.expire_time.CopyFrom(expire_time)
    return made


async def test_a_dry_run_redeems_nothing(counter: Counter) -> None:
    """validate_only gives the answer that there would be, and leaves the use free."""
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    tried = await counter.till.redeem(issued, offer, meta=meta(validate_only=True))
    assert tried.outcome == ACCEPTED
    assert await counter.club.tenant.count("redemptions") == 0
    assert (await counter.till.redeem(issued, offer)).outcome == ACCEPTED


async def test_kept_answers_hold_nothing_of_a_person(counter: Counter) -> None:
    """What is kept for retries of a redemption names no holder."""
    offer = await counter.add_offer()
    issued = await counter.club.issue(draft("Ada Lovelace", phone="+12065550123"))
    await counter.till.redeem(issued, offer)
    rows = await counter.club.tenant.fetch(
        "SELECT answer FROM request_answers WHERE method = 'ScanService/RedeemPass'"
    )
    assert len(rows) == 1
    assert b"Ada" not in rows[0]["answer"]
    assert b"206555" not in rows[0]["answer"]


async def test_times_of_scans(counter: Counter) -> None:
    """The time at which the pass was shown decides, and a use told hours later counts as made
    offline; a time that has not come is refused, and so is one that anybody could make up."""
    now = datetime.now(UTC)
    offer = await counter.add_offer(valid_until=at(now - timedelta(hours=1)))
    issued = await counter.club.issue()
    then = now - timedelta(hours=2)
    ahead = counter.till.redeem(issued, offer, scan_time=at(now + timedelta(hours=1)))
    assert set((await refused(ahead)).fields) == {"scan_time"}
    long_ago = counter.till.redeem(issued, offer, scan_time=at(now - timedelta(days=2)))
    assert set((await refused(long_ago)).fields) == {"scan_time"}
    answer = await counter.till.redeem(issued, offer, scan_time=at(then))
    assert (answer.outcome, answer.redemption.is_offline) == (ACCEPTED, True)
    assert answer.redemption.scan_time.ToDatetime(UTC) == then


async def test_a_copy_is_the_same_pass(counter: Counter) -> None:
    """However a pass is named, by barcode, serial number, reference id in another spelling or
    telephone, it is one pass and has one use."""
    offer = await counter.add_offer()
    issued = await counter.club.issue(draft(phone="+12065550199"))
    assert (await counter.till.redeem(issued, offer)).outcome == ACCEPTED
    names = (
        shown(issued),
        ScanRef(serial_number=issued.serial_number),
        ScanRef(reference_id=issued.reference_id.replace("-", "").lower()),
        ScanRef(phone="+1 (206) 555-0199"),
        ScanRef(pass_id=issued.pass_id),
        ScanRef(barcode=f"https://club.example.com/p?code={issued.serial_number}"),
    )
    for ref in names:
        answer = await counter.till.redeem(issued, offer, ref=ref)
        assert answer.reason == scans.REFUSAL_REASON_ALREADY_REDEEMED, ref
        assert answer.pass_id == issued.pass_id


async def test_voided_passes_of_a_number_do_not_matter(counter: Counter) -> None:
    """A telephone number names the one pass that is good, also beside others that are void."""
    offer = await counter.add_offer()
    gone, issued = [await counter.club.issue(draft(phone="+12065550188")) for _ in range(2)]
    await counter.club.passes.VoidPass(passes_pb2.VoidPassRequest(ref=by_id(gone), meta=meta()))
    answer = await counter.till.redeem(issued, offer, ref=ScanRef(phone="+12065550188"))
    assert (answer.outcome, answer.pass_id) == (ACCEPTED, issued.pass_id)
