"""SyncOfflineScans: each scan once, with its own time, and what it cannot be true beside."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passmill.domain.ids import TenantId
from passmill.domain.offline_scans import scan_request_id
from passmill.v1 import scan_pb2 as scans
from passmill.v1 import scan_service_pb2 as pb
from passmill.v1.counter_service_pb2 import ListScannersRequest
from passmill.v1.request_meta_pb2 import RequestMeta
from passmill.v1.scan_pb2 import ScanRef
from passmill.v1.scan_service_pb2 import OfflineScan, OfflineScanResult
from passmill.v1.wallet_pass_pb2 import Pass
from tests.counter.test_redeem_pass import at
from tests.support.counters import Counter, Till, shown
from tests.support.refusals import refused

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTED, DUPLICATE = OfflineScanResult.OUTCOME_ACCEPTED, OfflineScanResult.OUTCOME_DUPLICATE
CONFLICT, REFUSED = OfflineScanResult.OUTCOME_CONFLICT, OfflineScanResult.OUTCOME_REFUSED
BEFORE = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)


def scan(sequence: int, wallet_pass: Pass, **fields: Any) -> OfflineScan:
    """A scan of three hours ago."""
    return OfflineScan(
        **{
            "local_sequence": sequence,
            "ref": shown(wallet_pass),
            "scan_time": at(BEFORE + timedelta(seconds=sequence)),
            **fields,
        }
    )


async def sync(till: Till, *told: OfflineScan) -> list[OfflineScanResult]:
    """Tells scans."""
    request = pb.SyncOfflineScansRequest(scans=told, venue_id=till.venue_id)
    return list((await till.scans.SyncOfflineScans(request)).results)


async def test_original_times(counter: Counter) -> None:
    """A redemption made offline has the time at which it was made, and one sent again does nothing
    more and says what became of it."""
    till = await counter.scanner()
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    told = scan(1, issued, redeem={"offer_id": offer.offer_id}, staff="Bo")
    [result] = await sync(till, told)
    assert (result.outcome, result.pass_id) == (ACCEPTED, issued.pass_id)
    assert result.redemption.scan_time == told.scan_time
    assert (result.redemption.is_offline, result.redemption.staff) == (True, "Bo")
    [again] = await sync(till, told)
    assert (again.outcome, again.first_outcome) == (DUPLICATE, ACCEPTED)
    assert again.redemption == result.redemption
    assert await counter.club.tenant.count("redemptions") == 1


async def test_conflicts_are_kept_and_told(counter: Counter) -> None:
    """A coupon that was used elsewhere before the scanner came back is a conflict: the use that was
    known first stands, the scan is kept, and the operator hears of it."""
    till = await counter.scanner()
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    online = await counter.till.redeem(issued, offer)
    [result] = await sync(till, scan(1, issued, redeem={"offer_id": offer.offer_id}))
    assert (result.outcome, result.reason) == (CONFLICT, scans.REFUSAL_REASON_ALREADY_REDEEMED)
    assert result.first_use == online.redemption
    assert not result.HasField("redemption")
    [kept] = await counter.club.tenant.fetch("SELECT outcome, scan_time FROM offline_scans")
    assert (kept["outcome"], kept["scan_time"]) == ("CONFLICT", BEFORE + timedelta(seconds=1))
    [event] = await counter.club.tenant.fetch(
        "SELECT detail, pass_ids FROM outbox WHERE kind = 'scan.conflict'"
    )
    [scanner] = await counter.club.tenant.fetch("SELECT scanner_id FROM scanners")
    assert json.loads(event["detail"]) == {
        "reason": "ALREADY_REDEEMED",
        "offer_id": offer.offer_id,
        "venue_id": counter.venue.venue_id,
        "scanner_id": str(scanner["scanner_id"]),
    }
    assert [str(each) for each in event["pass_ids"]] == [issued.pass_id]
    [again] = await sync(till, scan(1, issued, redeem={"offer_id": offer.offer_id}))
    assert (again.outcome, again.first_outcome) == (DUPLICATE, CONFLICT)
    assert again.first_use == online.redemption
    assert len(await counter.club.tenant.fetch("SELECT FROM offline_scans")) == 1


async def test_nobody_takes_a_scans_place(counter: Counter) -> None:
    """The request id under which an offline scan will be done can be worked out, and still not be
    used by another caller: the scan is taken in. One of long ago is not."""
    till, other = await counter.scanner(), await counter.scanner([])
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    enrolled = await counter.manage.ListScanners(ListScannersRequest())
    tenant_id = TenantId(int(counter.club.tenant.tenant_id))
    for scanner in enrolled.scanners:
        taken = RequestMeta(request_id=str(scan_request_id(tenant_id, scanner.scanner_id, 1)))
        refusal = await refused(other.redeem(issued, offer, meta=taken))
        assert set(refusal.fields) == {"meta.request_id"}
    old = scan(2, issued, redeem={"offer_id": offer.offer_id})
    old.scan_time.FromDatetime(BEFORE - timedelta(days=31))
    told = await sync(till, old, scan(1, issued, redeem={"offer_id": offer.offer_id}))
    assert [each.outcome for each in told] == [REFUSED, ACCEPTED]


async def test_a_mixed_batch(counter: Counter) -> None:
    """Each scan is judged by itself, in its order: in, out, a refused one, one of no pass, one of
    no offer, one whose clock was ahead, and a number that is used twice."""
    till = await counter.scanner()
    offer = await counter.add_offer()
    issued, other = await counter.club.issue(), await counter.club.issue()
    told_by_the_scanner = scans.REFUSAL_REASON_EXPIRED_CODE
    told = [
        scan(1, issued, check_in={}),
        scan(2, issued, redeem={"offer_id": offer.offer_id}),
        scan(3, issued, check_out={}),
        scan(4, issued, check_out={}),
        scan(5, issued, refuse={"reason": told_by_the_scanner}),
        scan(6, issued, ref=ScanRef(barcode="nothing"), redeem={"offer_id": offer.offer_id}),
        scan(7, issued, redeem={"offer_id": "none"}),
        scan(8, other, check_in={}, scan_time=at(datetime.now(UTC) + timedelta(days=1))),
        scan(2, issued, check_in={}),
        scan(1, issued, check_in={}),
        scan(9, issued, ref=ScanRef(barcode="x"), refuse={"reason": told_by_the_scanner}),
    ]
    results = await sync(till, *told)
    assert [(each.local_sequence, each.outcome, each.reason) for each in results] == [
        (1, ACCEPTED, 0),
        (2, ACCEPTED, 0),
        (3, ACCEPTED, 0),
        (4, CONFLICT, scans.REFUSAL_REASON_NOT_CHECKED_IN),
        (5, ACCEPTED, 0),
        (6, REFUSED, scans.REFUSAL_REASON_UNKNOWN_CODE),
        (7, REFUSED, scans.REFUSAL_REASON_INVALID_SCAN),
        (8, ACCEPTED, 0),
        (2, REFUSED, scans.REFUSAL_REASON_SEQUENCE_REUSED),
        (1, DUPLICATE, 0),
        (9, ACCEPTED, 0),
    ]
    assert [each.local_sequence for each in results if not each.pass_id] == [6, 2, 9]
    assert {each.pass_id for each in results} == {issued.pass_id, other.pass_id, ""}
    assert await counter.club.tenant.count("offline_scans") == 9
    [stay, _] = await counter.club.tenant.fetch(
        "SELECT in_time, out_time, is_offline FROM check_ins ORDER BY in_time"
    )
    assert (stay["in_time"], stay["out_time"]) == (
        BEFORE + timedelta(seconds=1),
        BEFORE + timedelta(seconds=3),
    )
    assert stay["is_offline"]


async def test_scanners_have_numbers_of_their_own(counter: Counter) -> None:
    """The same local_sequence of two scanners, and of a till, is three scans."""
    offer = await counter.add_offer(max_uses=0)
    issued = await counter.club.issue()
    tills = [await counter.scanner(), await counter.scanner(), counter.till]
    for till in tills:
        [result] = await sync(till, scan(1, issued, redeem={"offer_id": offer.offer_id}))
        assert result.outcome == ACCEPTED
    assert await counter.club.tenant.count("redemptions") == 3


async def test_the_same_batch_at_once(counter: Counter) -> None:
    """A batch sent five times at once is done once: each scan is accepted in one answer and a
    duplicate in the others, with the same redemption."""
    till = await counter.scanner()
    offer = await counter.add_offer(max_uses=0)
    issued = await counter.club.issue()
    told = [scan(at, issued, redeem={"offer_id": offer.offer_id}) for at in range(1, 11)]
    answers = await asyncio.gather(*(sync(till, *told) for _ in range(5)))
    for results in zip(*answers, strict=True):
        outcomes = sorted(each.outcome for each in results)
        assert outcomes == [ACCEPTED] + [DUPLICATE] * 4
        assert len({each.redemption.redemption_id for each in results}) == 1
    assert await counter.club.tenant.count("redemptions") == 10


async def test_duplicates_outlast_kept_answers(counter: Counter) -> None:
    """When the answers kept for retries are long gone, a scan sent again is a duplicate still."""
    till = await counter.scanner()
    offer = await counter.add_offer(max_uses=0)
    issued = await counter.club.issue()
    told = scan(1, issued, redeem={"offer_id": offer.offer_id})
    await sync(till, told)
    await counter.club.tenant.fetch("DELETE FROM request_answers")
    [again] = await sync(till, told)
    assert (again.outcome, again.first_outcome) == (DUPLICATE, ACCEPTED)
    assert await counter.club.tenant.count("redemptions") == 1


async def test_bundle(counter: Counter) -> None:
    """A scanner gets the tenant's bundle, and only word of it when it has it already."""
    till = await counter.scanner()
    bundle = await till.scans.GetOfflineBundle(pb.GetOfflineBundleRequest())
    assert bundle.tenant_id == counter.club.tenant.tenant_id
    assert bundle.valid_until.ToDatetime(UTC) > datetime.now(UTC)
    same = await till.scans.GetOfflineBundle(pb.GetOfflineBundleRequest(digest=bundle.digest))
    assert (bundle.is_unchanged, same.is_unchanged, same.digest) == (False, True, bundle.digest)


async def test_an_offer_that_ended_meanwhile_is_told(counter: Counter) -> None:
    """What was given away offline for an offer that had ended is a conflict, of which the operator
    hears."""
    till = await counter.scanner()
    offer = await counter.add_offer(valid_until=at(BEFORE))
    issued = await counter.club.issue()
    [told] = await sync(till, scan(1, issued, redeem={"offer_id": offer.offer_id}))
    assert (told.outcome, told.reason) == (CONFLICT, scans.REFUSAL_REASON_OFFER_ENDED)
    assert await counter.club.tenant.fetch("SELECT FROM outbox WHERE kind = 'scan.conflict'")
