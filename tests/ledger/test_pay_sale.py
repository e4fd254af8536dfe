"""Holds and PaySale: what is set aside, spent, freed, and how much of a sale it pays."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from passmill.v1 import balance_service_pb2 as pb
from passmill.v1.balance_pb2 import BalanceUnit, Hold
from passmill.v1.template_pb2 import Money
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.balances import BURN, Till, euros, keyed, open_till, refusal
from tests.support.postgres import Database
from tests.support.refusals import refused
from tests.support.service import SetClock, by_id, meta, open_service
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def hold(till: Till, wallet_pass: Pass, amount: int, seconds: int = 0) -> Hold:
    """Holds points."""
    answer = await till.stub.HoldBalance(hold_request(wallet_pass, amount, seconds))
    assert refusal(answer) == ""
    return answer.hold


def hold_request(wallet_pass: Pass, amount: int, seconds: int = 0) -> pb.HoldBalanceRequest:
    """A request to hold points."""
    return pb.HoldBalanceRequest(
        ref=by_id(wallet_pass),
        unit="points",
        amount=amount,
        duration=Duration(seconds=seconds) if seconds else None,
        meta=meta(),
    )


async def capture(till: Till, held: Hold, amount: int = 0) -> pb.CaptureHoldResponse:
    """Spends a hold."""
    return await till.stub.CaptureHold(
        pb.CaptureHoldRequest(hold_id=held.hold_id, amount=amount, meta=meta())
    )


async def release(till: Till, held: Hold) -> pb.ReleaseHoldResponse:
    """Lets a hold go."""
    return await till.stub.ReleaseHold(pb.ReleaseHoldRequest(hold_id=held.hold_id, meta=meta()))


def sale(
    wallet_pass: Pass, total: Money, *, unit: str = "points", **fields: object
) -> pb.PaySaleRequest:
    """A request to pay a sale."""
    return pb.PaySaleRequest(
        ref=by_id(wallet_pass),
        unit=unit,
        sale_total=total,
        meta=meta(),
        **fields,  # type: ignore[arg-type]
    )


async def test_what_is_held_is_not_spent(till: Till) -> None:
    """A hold leaves the balance and the pass as they are, but less of it to spend or hold; freed,
    it can be spent again."""
    issued = await till.issue()
    await till.post(issued, 100)
    held = await hold(till, issued, 70)
    points = await till.points(issued)
    assert (points.balance, points.held, points.available) == (100, 70, 30)
    assert await till.shown(issued) == 100
    assert refusal(await till.post(issued, 31, BURN)) == "INSUFFICIENT_BALANCE"
    too_much = await till.stub.HoldBalance(hold_request(issued, 31))
    assert (refusal(too_much), too_much.HasField("hold")) == ("INSUFFICIENT_BALANCE", False)
    freed = await release(till, held)
    assert (freed.hold.state, freed.balance.available) == (Hold.STATE_RELEASED, 100)
    assert refusal(await till.post(issued, 100, BURN)) == ""


async def test_a_hold_is_captured_once(till: Till) -> None:
    """Of ten who capture and ten who release a hold at the same time one succeeds; what is not
    captured is free again."""
    issued = await till.issue()
    await till.post(issued, 100)
    held = await hold(till, issued, 70)
    captured, released = await asyncio.gather(
        asyncio.gather(*(capture(till, held, 50) for _ in range(10))),
        asyncio.gather(*(release(till, held) for _ in range(10))),
    )
    refusals = [refusal(each) for each in captured] + [refusal(each) for each in released]
    assert sorted(refusals) == ["", *["HOLD_ENDED"] * 19]
    points = await till.points(issued)
    assert points.held == 0
    assert points.balance in (50, 100)
    assert await till.shown(issued) == points.balance


async def test_a_capture_is_an_entry(till: Till) -> None:
    """Captured is at most what is held, as an entry that names the hold, even if the pass was
    voided since; the same request is answered alike."""
    issued = await till.issue()
    await till.post(issued, 100)
    held = await hold(till, issued, 70)
    assert refusal(await capture(till, held, 71)) == "ABOVE_HOLD"
    await void(till.club, issued, reason="lost")
    request = pb.CaptureHoldRequest(hold_id=held.hold_id, reference="R-1", meta=meta())
    first, again = await till.stub.CaptureHold(request), await till.stub.CaptureHold(request)
    assert first == again
    assert (first.entry.amount, first.entry.hold_id) == (-70, held.hold_id)
    assert (first.entry.reference, first.hold.state) == ("R-1", Hold.STATE_CAPTURED)
    unknown = pb.CaptureHoldRequest(hold_id=str(uuid.uuid4()), meta=meta())
    assert (await refused(till.stub.CaptureHold(unknown))).reason == "NOT_FOUND"


async def test_a_used_key_leaves_the_hold(till: Till) -> None:
    """A capture under a key that posted something else before is refused whole: the hold stays."""
    issued = await till.issue()
    await till.post(issued, 100)
    held = await hold(till, issued, 70)
    request = pb.CaptureHoldRequest(hold_id=held.hold_id, meta=meta())
    entry = keyed(issued, 1, key=request.meta.request_id)
    await till.stub.BatchPostEntries(pb.BatchPostEntriesRequest(entries=[entry]))
    assert (await refused(till.stub.CaptureHold(request))).reason == "REQUEST_ID_REUSED"
    assert (await till.points(issued)).held == 70
    assert refusal(await release(till, held)) == ""


async def test_a_hold_ends_by_itself(database: Database) -> None:
    """When its time is over what was held is free, without anybody's doing, and can be spent; the
    hold can be neither captured nor released."""
    clock = SetClock()
    async with open_service(database.url, clock=clock) as service:
        till = await open_till(await service.add_club())
        issued = await till.issue()
        await till.post(issued, 100)
        held = await hold(till, issued, 70, seconds=60)
        clock.advance(timedelta(seconds=59))
        assert (await till.points(issued)).held == 70
        clock.advance(timedelta(seconds=1))
        assert (await till.points(issued)).held == 0
        assert refusal(await till.post(issued, 80, BURN)) == ""
        for answer in (await capture(till, held), await release(till, held)):
            assert refusal(answer) == "HOLD_EXPIRED"
            assert answer.hold.state == Hold.STATE_EXPIRED
        assert (await till.points(issued)).available == 20
        for end in (capture, release):  # the first to come after its time
            held = await hold(till, issued, 20, seconds=60)
            clock.advance(timedelta(seconds=60))
            assert refusal(await end(till, held)) == "HOLD_EXPIRED"
            assert (await till.points(issued)).available == 20
        await hold(till, issued, 20, seconds=60)
        assert refusal(await till.stub.PaySale(sale(issued, euros(10_000)))) == "NOTHING_TO_PAY"
        clock.advance(timedelta(seconds=60))
        assert (await till.stub.PaySale(sale(issued, euros(10_000)))).amount == 20


@pytest.mark.parametrize(
    ("points", "total", "wanted", "amount"),
    [
        (10_000, 1000, 0, 300),  # 30 % of it
        (10_000, 999, 0, 299),  # never more than 30 %
        (120, 1000, 0, 120),  # all there is
        (10_000, 1000, 50, 50),  # as much as the holder wants
    ],
)
async def test_a_share_of_a_sale(
    till: Till, points: int, total: int, wanted: int, amount: int
) -> None:
    """Points pay as much of a sale as the program, the balance and the holder allow; the rest is
    due."""
    issued = await till.issue()
    await till.post(issued, points)
    answer = await till.stub.PaySale(sale(issued, euros(total), max_amount=wanted, reference="7"))
    assert refusal(answer) == ""
    assert (answer.amount, answer.paid, answer.due) == (
        amount,
        euros(amount),
        euros(total - amount),
    )
    assert (answer.entry.amount, answer.entry.reference) == (-amount, "7")
    assert await till.shown(issued) == points - amount


async def test_a_sale_that_points_do_not_pay(till: Till) -> None:
    """Nothing to spend, another currency, a unit that pays no sales: refused as answers, with all
    of the sale due."""
    issued = await till.issue()
    await till.set_unit("stamps", BalanceUnit.KIND_STAMPS)
    await till.post(issued, 10, unit="stamps")
    francs = Money(minor_units=1000, currency_code="CHF")
    for request, reason in (
        (sale(issued, euros(1000)), "NOTHING_TO_PAY"),
        (sale(issued, euros(3)), "NOTHING_TO_PAY"),
        (sale(issued, francs), "NOT_PAYABLE"),
        (sale(issued, euros(1000), unit="stamps"), "NOT_PAYABLE"),
    ):
        answer = await till.stub.PaySale(request)
        assert refusal(answer) == reason
        assert (answer.amount, answer.due) == (0, request.sale_total)
    for total in (0, -5):
        refusal_of = await refused(till.stub.PaySale(sale(issued, euros(total))))
        assert set(refusal_of.fields) == {"sale_total.minor_units"}


async def test_a_sale_is_paid_once(till: Till) -> None:
    """The same request twice pays once and is answered alike."""
    issued = await till.issue()
    await till.post(issued, 500)
    request = sale(issued, euros(1000))
    first, again = await till.stub.PaySale(request), await till.stub.PaySale(request)
    assert first == again
    assert (await till.points(issued)).balance == 200


async def test_a_sale_is_held_until_it_is_done(till: Till) -> None:
    """With only_hold the points are set aside, and spent or freed when the sale is done."""
    issued = await till.issue()
    await till.post(issued, 500)
    answer = await till.stub.PaySale(sale(issued, euros(1000), only_hold=True))
    assert (answer.amount, answer.HasField("entry")) == (300, False)
    assert (await till.points(issued)).available == 200
    view = await till.stub.GetBalance(pb.GetBalanceRequest(ref=by_id(issued)))
    assert list(view.holds) == [answer.hold]
    assert (await capture(till, answer.hold)).balance.balance == 200


async def test_stored_money_pays_all(till: Till) -> None:
    """A stored-value card may pay a whole sale, if its program says so."""
    payment = BalanceUnit.SalePayment(max_share_percent=100, amount=1, value=euros(1))
    await till.set_unit("EUR", BalanceUnit.KIND_MONEY, slot="balance", payment=payment)
    issued = await till.issue()
    await till.post(issued, 5000, unit="EUR")
    answer = await till.stub.PaySale(sale(issued, euros(1999), unit="EUR"))
    assert (answer.paid, answer.due) == (euros(1999), euros(0))
    assert (await till.club.get(issued)).values["balance"].money == euros(3001)
