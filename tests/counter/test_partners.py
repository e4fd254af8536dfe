"""What a partner's scanner learns of what was done at other partners' venues: nothing of where, by
what and by whom."""

from datetime import UTC, datetime

import pytest

from passmill.v1 import scan_pb2 as scans
from tests.counter.test_offline_scans import scan, sync
from tests.support.counters import Counter, Till, shown

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def partners(counter: Counter) -> tuple[Till, Till, Till]:
    """Scanners of a hotel, of the hotel's bar, and of a taxi, of another partner."""
    places = [await counter.add_venue(name, name[:5]) for name in ("hotel", "hotel bar", "taxis")]
    hotel, bar, taxi = [await counter.scanner(venue=each) for each in places]
    return hotel, bar, taxi


async def test_uses_and_stays_are_told_to_their_partner(counter: Counter) -> None:
    """VerifyPass tells a partner's scanner of last uses and open check-ins at the partner's own
    venues, all of them, and of no others; that the offer was used, and when, it tells everybody.
    The tenant's own staff see all."""
    hotel, bar, taxi = await partners(counter)
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    used = (await taxi.redeem(issued, offer, staff="Bo")).redemption
    own = (await bar.redeem(issued, await counter.add_offer(max_uses=0))).redemption
    for each in (taxi, bar):
        assert (await each.check_in(issued)).outcome == scans.SCAN_OUTCOME_ACCEPTED
    by_hotel, by_taxi, by_tenant = [await each.look(issued) for each in (hotel, taxi, counter.till)]
    for seen, uses in ((by_hotel, [own]), (by_taxi, [used]), (by_tenant, [own, used])):
        assert list(seen.last_uses) == uses
        stays = {each.venue_id for each in seen.open_check_ins}
        assert stays == {each.venue_id for each in uses}
        standing = next(each for each in seen.offers if each.offer_id == offer.offer_id)
        assert standing.reason == scans.REFUSAL_REASON_ALREADY_REDEEMED
        assert standing.first_use_time == used.scan_time
        assert standing.first_use_venue_id == (used.venue_id if used in uses else "")


async def test_a_refusal_does_not_tell_of_anothers_use(counter: Counter) -> None:
    """RedeemPass of what was used at another partner's is refused for that, without the use, also
    when the same request is sent again; the same partner's other venue is told of it."""
    hotel, bar, taxi = await partners(counter)
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    used = (await bar.redeem(issued, offer)).redemption
    request = taxi.redeem_request(issued, offer)
    for _ in range(2):
        refused = await taxi.scans.RedeemPass(request)
        assert refused.reason == scans.REFUSAL_REASON_ALREADY_REDEEMED
        assert not refused.HasField("first_use")
    assert (await hotel.redeem(issued, offer)).first_use == used


async def test_a_scan_told_twice_tells_no_more(counter: Counter) -> None:
    """A scan that could not be taken in, of an offer that was used at another partner's, tells
    nothing of that use however often it is sent."""
    hotel, bar, taxi = await partners(counter)
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    used = (await taxi.redeem(issued, offer, staff="Bo")).redemption
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    for scanner, told in ((hotel, None), (bar, None), (taxi, used)):
        wrong = scan(1, issued, redeem={"offer_id": offer.offer_id})
        wrong.scan_time.FromDatetime(long_ago)
        [first] = await sync(scanner, wrong)
        assert first.reason == scans.REFUSAL_REASON_INVALID_SCAN
        assert not first.HasField("first_use")
        [again] = await sync(scanner, wrong)
        assert (again.first_use if again.HasField("first_use") else None) == told
        conflict = scan(2, issued, redeem={"offer_id": offer.offer_id})
        for _ in range(2):
            [result] = await sync(scanner, conflict)
            assert (result.first_use if result.HasField("first_use") else None) == told


async def test_a_redemption_elsewhere_is_not_told(counter: Counter) -> None:
    """A scanner that may not take a redemption back is told of it only if it was made at its own
    venue."""
    hotel, _, taxi = await partners(counter)
    offer = await counter.add_offer(max_uses=0)
    issued = await counter.club.issue()
    used = (await taxi.redeem(issued, offer, staff="Bo")).redemption
    refused = await hotel.reverse(used.redemption_id)
    assert refused.reason == scans.REFUSAL_REASON_RIGHT_MISSING
    assert not refused.HasField("redemption")
    assert refused.uses == 0
    venue = counter.venue
    bare = await counter.scanner([], venue)
    there = (await counter.till.redeem(issued, offer)).redemption
    own = await bare.reverse(there.redemption_id)
    assert own.reason == scans.REFUSAL_REASON_RIGHT_MISSING
    assert own.redemption == there
    assert (await bare.verify(shown(issued))).passes
