"""CheckIn and CheckOut: in once, out once, and in again."""

import asyncio

import pytest

from passmill.v1 import pass_service_pb2 as passes_pb2
from passmill.v1 import scan_pb2 as scans
from tests.support.counters import Counter
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
