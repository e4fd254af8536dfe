"""ListOfflineScans: what was done offline, what became of it, and who is told of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passmill.v1 import scan_pb2 as scans
from passmill.v1 import scan_service_pb2 as pb
from passmill.v1.scan_service_pb2 import KeptOfflineScan, OfflineScanResult
from tests.counter.test_offline_scans import ACCEPTED, CONFLICT, REFUSED, scan, sync
from tests.counter.test_redeem_pass import at
from tests.support.counters import Counter, Till
from tests.support.refusals import refused

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def listed(till: Till, **wanted: Any) -> list[KeptOfflineScan]:
    """The scans, page after page of two."""
    found: list[KeptOfflineScan] = []
    token: str | None = ""
    while token is not None:
        request = pb.ListOfflineScansRequest(
            filter=pb.ListOfflineScansRequest.Filter(**wanted), page_size=2, page_token=token
        )
        answer = await till.scans.ListOfflineScans(request)
        found += answer.scans
        token = answer.next_page_token or None
    return found


def numbers(found: list[KeptOfflineScan]) -> list[int]:
    """By which the test tells them."""
    return [each.local_sequence for each in found]


async def test_all_of_a_scan_is_listed(counter: Counter) -> None:
    """Scanner, venue, number, who, both times, what was done, and what became of it."""
    till = await counter.scanner()
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    redeem = {"offer_id": offer.offer_id}
    before = datetime.now(UTC)
    told = scan(1, issued, redeem=redeem, staff="Bo")
    [result] = await sync(till, told)
    await sync(till, scan(2, issued, check_in={}), scan(3, issued, check_out={}))
    refusal = {"reason": scans.REFUSAL_REASON_BAD_SIGNATURE}
    await sync(till, scan(4, issued, refuse=refusal), scan(5, issued, redeem={"offer_id": "none"}))
    wrong, refusing, going, coming, redeemed = await listed(counter.till)
    config = await till.scans.GetScannerConfig(pb.GetScannerConfigRequest())
    assert before <= redeemed.create_time.ToDatetime(UTC) <= datetime.now(UTC)
    assert redeemed == KeptOfflineScan(
        scanner_id=config.scanner.scanner_id,
        venue_id=counter.venue.venue_id,
        local_sequence=1,
        action=KeptOfflineScan.ACTION_REDEEM,
        pass_id=issued.pass_id,
        offer_id=offer.offer_id,
        staff="Bo",
        scan_time=told.scan_time,
        create_time=redeemed.create_time,
        outcome=ACCEPTED,
        redemption=result.redemption,
    )
    assert [(each.action, each.outcome, each.reason) for each in (coming, going, refusing)] == [
        (KeptOfflineScan.ACTION_CHECK_IN, ACCEPTED, 0),
        (KeptOfflineScan.ACTION_CHECK_OUT, ACCEPTED, 0),
        (KeptOfflineScan.ACTION_REFUSE, ACCEPTED, scans.REFUSAL_REASON_BAD_SIGNATURE),
    ]
    assert (wrong.outcome, wrong.reason) == (REFUSED, scans.REFUSAL_REASON_INVALID_SCAN)
    [own] = await sync(counter.till, scan(6, issued, redeem=redeem))
    last = (await listed(counter.till))[0]
    assert (last.scanner_id, bool(last.key_id), last.outcome) == ("", True, own.outcome)


async def test_lists_are_narrowed(counter: Counter) -> None:
    """Those told last first, page after page, by conflict, venue, scanner and time; a scanner is
    told of its venue alone."""
    offer = await counter.add_offer()
    here = await counter.scanner()
    away = await counter.scanner(venue=await counter.add_venue())
    redeem = {"redeem": {"offer_id": offer.offer_id}}
    first, second = [await counter.club.issue() for _ in range(2)]
    await sync(here, scan(1, first, **redeem), scan(2, second, **redeem))
    middle = datetime.now(UTC)
    await sync(away, scan(3, first, **redeem), scan(4, second, check_in={}))
    await sync(counter.till, scan(5, second, **redeem))
    everything = await listed(counter.till)
    assert numbers(everything) == [5, 4, 3, 2, 1]
    of_away = everything[1]
    for wanted, those in (
        ({"only_conflicts": True}, [5, 3]),
        ({"venue_id": counter.venue.venue_id}, [5, 2, 1]),
        ({"venue_id": of_away.venue_id, "only_conflicts": True}, [3]),
        ({"scanner_id": of_away.scanner_id}, [4, 3]),
        ({"create_time_from": at(middle)}, [5, 4, 3]),
        ({"create_time_before": at(middle)}, [2, 1]),
        ({"create_time_from": at(middle + timedelta(hours=1))}, []),
    ):
        assert numbers(await listed(counter.till, **wanted)) == those, wanted
    assert numbers(await listed(here)) == [5, 2, 1]
    assert numbers(await listed(away, only_conflicts=True)) == [3]
    assert await listed(here, scanner_id=of_away.scanner_id) == []
    for nowhere in (
        pb.ListOfflineScansRequest.Filter(venue_id=of_away.venue_id),
        pb.ListOfflineScansRequest.Filter(scanner_id="none"),
    ):
        call = here.scans.ListOfflineScans(pb.ListOfflineScansRequest(filter=nowhere))
        assert (await refused(call)).reason == "NOT_FOUND"
    call = here.scans.ListOfflineScans(pb.ListOfflineScansRequest(page_token="x"))
    assert (await refused(call)).reason == "INVALID_PAGE_TOKEN"


async def test_a_conflict_tells_its_use(counter: Counter) -> None:
    """The use that a conflict was with is told as it is now, taken back too; beside it the first
    that stands now."""
    till = await counter.scanner()
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    online = (await counter.till.redeem(issued, offer)).redemption
    await sync(till, scan(1, issued, redeem={"offer_id": offer.offer_id}))
    [conflict] = await listed(counter.till, only_conflicts=True)
    assert (conflict.outcome, conflict.conflicting_use, conflict.first_use) == (
        CONFLICT,
        online,
        online,
    )
    taken_back = (await counter.till.reverse(online.redemption_id)).redemption
    [conflict] = await listed(counter.till)
    assert conflict.conflicting_use == taken_back
    assert not conflict.HasField("first_use")
    assert not conflict.HasField("redemption")
    again = (await counter.till.redeem(issued, offer)).redemption
    [conflict] = await listed(counter.till)
    assert (conflict.conflicting_use, conflict.first_use) == (taken_back, again)


async def test_a_redemption_taken_back_later(counter: Counter) -> None:
    """A redemption made of a scan is told as it is now, with the reason of its reversal, which
    the answer to that does not keep."""
    till = await counter.scanner()
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    [result] = await sync(till, scan(1, issued, redeem={"offer_id": offer.offer_id}))
    taken_back = (await till.reverse(result.redemption.redemption_id, "no milk")).redemption
    [kept] = await listed(till)
    assert kept.redemption.reverse_reason == "no milk"
    kept.redemption.ClearField("reverse_reason")
    assert kept.redemption == taken_back


async def test_partners_see_nothing_of_others(counter: Counter) -> None:
    """A partner's scanner is told of its own venue's conflicts, but not of the use at another
    partner's or the tenant's; another venue of the same partner, and the tenant's own staff,
    are."""
    places = [await counter.add_venue(name, name[:5]) for name in ("hotel", "hotel bar", "taxis")]
    hotel, bar, taxi = [await counter.scanner(venue=each) for each in places]
    offer = await counter.add_offer()
    redeem = {"redeem": {"offer_id": offer.offer_id}}
    used: list[OfflineScanResult] = []
    for number, elsewhere in enumerate((bar, taxi, counter.till), start=1):
        issued = await counter.club.issue()
        used += await sync(elsewhere, scan(number, issued, **redeem))
        [result] = await sync(hotel, scan(number, issued, **redeem))
        assert result.outcome == CONFLICT
    told = await listed(hotel)
    assert numbers(told) == [3, 2, 1]
    for kept in told[:2]:
        assert not kept.HasField("conflicting_use")
        assert not kept.HasField("first_use")
    assert told[2].conflicting_use == told[2].first_use == used[0].redemption
    assert numbers(await listed(taxi)) == [2]
    by_own_staff = await listed(counter.till, only_conflicts=True)
    uses = [each.redemption for each in reversed(used)]
    assert [each.conflicting_use for each in by_own_staff] == uses
    assert [each.first_use for each in by_own_staff] == uses


async def test_another_partners_step_is_not_told(counter: Counter) -> None:
    """A step of a chain that is told offline and was not this partner's turn is a conflict without
    any use, for its scanner; another tenant is told of nothing."""
    places = [await counter.add_venue(name, name) for name in ("taxi", "hotel")]
    taxi, hotel = [await counter.scanner(venue=each) for each in places]
    steps = [await counter.step(name) for name in ("taxi", "hotel")]
    await counter.set_chain(*steps)
    issued = await counter.club.issue()
    await sync(taxi, scan(1, issued, redeem={"offer_id": steps[0].offer_id}))
    await sync(hotel, scan(1, issued, redeem={"offer_id": steps[0].offer_id}))
    [kept] = await listed(hotel)
    assert kept.reason == scans.REFUSAL_REASON_NOT_YOUR_STEP
    assert not kept.HasField("conflicting_use")
    assert not kept.HasField("first_use")
    [of_taxi] = await listed(taxi)
    [conflict] = await listed(counter.till, only_conflicts=True)
    assert conflict.first_use == of_taxi.redemption
