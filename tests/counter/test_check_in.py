"""CheckIn and CheckOut: in once, out once, and in again."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from passmill.v1 import pass_service_pb2 as passes_pb2
from passmill.v1 import scan_pb2 as scans
from passmill.v1.scan_service_pb2 import (
    OfflineScan,
    OfflineScanResult,
    SyncOfflineScansRequest,
)
from tests.counter.test_redeem_pass import at
from tests.support.counters import Counter, shown
from tests.support.refusals import refused
from tests.support.service import by_id, meta

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTED = scans.SCAN_OUTCOME_ACCEPTED


async def test_in_and_out(counter: Counter) -> None:
    """A pass comes in once until it goes out; who is in already, or not at all, is told so."""
    issued = await counter.club.issue()
    nobody = await counter.till.check_out(issued)
    assert nobody.reason == scans.REFUSAL_REASON_NOT_CHECKED_IN
    came = await counter.till.check_in(issued)
    assert (came.outcome, came.check_in.pass_id) == (ACCEPTED, issued.pass_id)
    twice = await counter.till.check_in(issued)
    assert twice.reason == scans.REFUSAL_REASON_ALREADY_CHECKED_IN
    assert twice.check_in == came.check_in
    [stay] = (await counter.till.look(issued)).open_check_ins
    assert stay == came.check_in
    went = await counter.till.check_out(issued)
    assert (went.outcome, went.check_in.check_in_id) == (ACCEPTED, came.check_in.check_in_id)
    assert went.check_in.HasField("out_time")
    assert not (await counter.till.look(issued)).open_check_ins
    assert (await counter.till.check_in(issued)).outcome == ACCEPTED


async def test_of_many_at_once_one_comes_in(counter: Counter) -> None:
    """Twenty copies at twenty gates: one is let in. Another venue is another matter."""
    issued = await counter.club.issue()
    answers = await asyncio.gather(*(counter.till.check_in(issued) for _ in range(20)))
    assert [each.outcome for each in answers].count(ACCEPTED) == 1
    away = await counter.add_venue()
    assert (await counter.till.check_in(issued, venue_id=away.venue_id)).outcome == ACCEPTED


async def test_who_is_not_let_in(counter: Counter) -> None:
    """A voided pass does not come in, and leaves when it is in; a ticket that was used at the gate
    comes in again; a till must say where it is."""
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    await counter.till.redeem(issued, offer)
    assert (await counter.till.check_in(issued)).outcome == ACCEPTED
    await counter.club.passes.VoidPass(passes_pb2.VoidPassRequest(ref=by_id(issued), meta=meta()))
    assert (await counter.till.check_out(issued)).outcome == ACCEPTED
    kept_out = await counter.till.check_in(issued)
    assert (kept_out.reason, kept_out.state) == (
        scans.REFUSAL_REASON_VOIDED,
        scans.SCAN_STATE_VOIDED,
    )
    nowhere = counter.till.check_in(issued, venue_id="")
    assert set((await refused(nowhere)).fields) == {"venue_id"}


async def test_whose_turn_it_is_keeps_nobody_out(counter: Counter) -> None:
    """A pass in the middle of a chain comes in at the club's own venue, and is told at a partner's
    desk that it is not its turn."""
    await counter.set_chain(await counter.step("taxi"), await counter.step("hotel"))
    hotel = await counter.scanner(venue=await counter.add_venue("Hotel", partner="hotel"))
    issued = await counter.club.issue()
    assert (await counter.till.check_in(issued)).outcome == ACCEPTED
    early = await hotel.check_in(issued)
    assert early.reason == scans.REFUSAL_REASON_NOT_YOUR_STEP


async def test_a_late_going_ends_no_later_stay(counter: Counter) -> None:
    """A stay in the morning that is told in the evening conflicts with the one that lasts since
    noon, and its end does not end that one."""
    till = await counter.scanner()
    issued = await counter.club.issue()
    assert (await counter.till.check_in(issued)).outcome == ACCEPTED
    morning = datetime.now(UTC) - timedelta(hours=3)
    told = [
        OfflineScan(local_sequence=1, ref=shown(issued), scan_time=at(morning)),
        OfflineScan(local_sequence=2, ref=shown(issued), scan_time=at(morning)),
    ]
    told[0].check_in.SetInParent()
    told[1].check_out.SetInParent()
    answer = await till.scans.SyncOfflineScans(SyncOfflineScansRequest(scans=told))
    conflict = OfflineScanResult.OUTCOME_CONFLICT
    assert [each.outcome for each in answer.results] == [conflict, conflict]
    assert (await counter.till.check_in(issued)).reason == scans.REFUSAL_REASON_ALREADY_CHECKED_IN
