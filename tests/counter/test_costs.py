"""Offers that cost something: the balance pays with the use, and gets it back with its reversal."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passmill.domain.ledger import LARGEST_BALANCE, AccountId
from passmill.store.ledger import post_entry
from passmill.v1 import balance_service_pb2 as balances_pb2
from passmill.v1 import scan_pb2 as scans
from passmill.v1.balance_pb2 import BalanceUnit
from passmill.v1.counter_pb2 import Offer, OfferMark, UnitAmount
from passmill.v1.counter_service_pb2 import ListOffersRequest
from passmill.v1.scan_service_pb2 import (
    OfflineScan,
    OfflineScanResult,
    SyncOfflineScansRequest,
)
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.balances import BURN, open_till
from tests.support.balances import Till as BalanceTill
from tests.support.bundles import verify as verify_bundle
from tests.support.counters import Counter, shown
from tests.support.ledgers import draft as entry
from tests.support.service import authority, meta
from tests.support.small_card import draft, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTED, REFUSED = scans.SCAN_OUTCOME_ACCEPTED, scans.SCAN_OUTCOME_REFUSED


async def costly(counter: Counter, **fields: Any) -> tuple[BalanceTill, Offer]:
    """A program that counts points, shown in the slot `points`, and an offer for twenty of them."""
    till = await open_till(counter.club)
    unit = BalanceUnit(
        program_id=counter.club.program_id,
        unit="points",
        kind=BalanceUnit.KIND_POINTS,
        slot="points",
    )
    await till.stub.SetBalanceUnit(
        balances_pb2.SetBalanceUnitRequest(balance_unit=unit, meta=meta())
    )
    offer = await counter.add_offer(max_uses=0, cost=UnitAmount(unit="points", amount=20), **fields)
    return till, offer


async def issued_with(counter: Counter, till: BalanceTill, points: int) -> Pass:
    """A pass with points."""
    issued = await counter.club.issue(draft(points=0))
    await till.post(issued, points)
    return issued


async def test_a_use_is_paid(counter: Counter) -> None:
    """Points are burnt with the use, the pass shows what is left, and when they do not suffice
    there is no use either."""
    till, offer = await costly(counter)
    issued = await issued_with(counter, till, 50)
    answers = [await counter.till.redeem(issued, offer) for _ in range(3)]
    assert [each.outcome for each in answers] == [ACCEPTED, ACCEPTED, REFUSED]
    assert [each.balance.balance for each in answers[:2]] == [30, 10]
    assert answers[2].reason == scans.REFUSAL_REASON_INSUFFICIENT_BALANCE
    assert answers[2].uses == 2
    assert (await counter.club.get(issued)).values["points"].integer == 10
    shown = verify_bundle(await counter.club.bundle(issued), authority())
    assert "10" in str(shown["generic"])
    found = await counter.till.look(issued)
    assert [(each.unit, each.balance) for each in found.balances] == [("points", 10)]
    [standing] = found.offers
    assert standing.reason == scans.REFUSAL_REASON_INSUFFICIENT_BALANCE
    assert found.state == scans.SCAN_STATE_VALID
    assert await counter.club.tenant.count("redemptions") == 2


async def test_a_reversal_gives_it_back_once(counter: Counter) -> None:
    """What was burnt is given back with the redemption, however often that is tried."""
    till, offer = await costly(counter, mark=OfferMark(used_up_values={"note": value("used")}))
    issued = await issued_with(counter, till, 20)
    redeemed = await counter.till.redeem(issued, offer)
    assert redeemed.balance.balance == 0
    redemption_id = redeemed.redemption.redemption_id
    answers = await asyncio.gather(*(counter.till.reverse(redemption_id) for _ in range(8)))
    assert sum(each.outcome == ACCEPTED for each in answers) == 1
    assert {each.balance.balance for each in answers if each.outcome == ACCEPTED} == {20}
    assert (await counter.club.get(issued)).values["points"].integer == 20
    entries = await counter.club.tenant.fetch("SELECT amount FROM ledger_entries ORDER BY sequence")
    assert [each["amount"] for each in entries] == [20, -20, 20]


async def test_what_cannot_be_given_back_stays_used(counter: Counter) -> None:
    """Where the account has no room for what the use cost, its reversal is refused with a reason,
    and use and balance stand; once there is room it is taken back."""
    tenant = counter.club.tenant
    till, offer = await costly(counter)
    issued = await issued_with(counter, till, 20)
    redemption_id = (await counter.till.redeem(issued, offer)).redemption.redemption_id
    async with tenant.service.services.database.transaction(tenant.caller) as tx:
        filling = entry(AccountId(uuid.UUID(issued.pass_id)), LARGEST_BALANCE - 19)
        assert (await post_entry(tx, filling, now=datetime.now(UTC))).refusal is None
    refused = await counter.till.reverse(redemption_id)
    assert (refused.outcome, refused.uses) == (REFUSED, 1)
    assert refused.reason == scans.REFUSAL_REASON_BALANCE_TOO_LARGE
    assert not refused.redemption.HasField("reverse_time")
    assert (await till.points(issued)).balance == LARGEST_BALANCE - 19
    await till.post(issued, 1, BURN)
    back = await counter.till.reverse(redemption_id)
    assert (back.outcome, back.uses) == (ACCEPTED, 0)
    assert back.balance.balance == LARGEST_BALANCE


async def test_of_many_at_once_as_many_are_served_as_can_pay(counter: Counter) -> None:
    """Thirty scanners at once over points for seven: seven uses, seven entries, nothing below
    zero."""
    till, offer = await costly(counter)
    issued = await issued_with(counter, till, 150)
    answers = await asyncio.gather(*(counter.till.redeem(issued, offer) for _ in range(30)))
    assert sum(each.outcome == ACCEPTED for each in answers) == 7
    [balance] = await counter.club.tenant.fetch("SELECT balance, version FROM balances")
    assert (balance["balance"], balance["version"]) == (10, 8)
    assert await counter.club.tenant.count("redemptions") == 7
    assert (await counter.club.get(issued)).values["points"].integer == 10


async def test_a_step_of_a_chain_is_paid(counter: Counter) -> None:
    """A step that costs something is not taken when the balance does not suffice; paid, both the
    look and the rest of the balance show, and both come back with its reversal. A dry run takes no
    step, and the winner's retry gets its own answer."""
    till, offer = await costly(counter)
    step = await counter.step("", offer_id=offer.offer_id, next_values={"note": value("paid")})
    chain = await counter.set_chain(step)
    offers = (await counter.manage.ListOffers(ListOffersRequest())).offers
    chains = {each.offer_id: each.chain_id for each in offers}
    assert chains[offer.offer_id] == chain.chain_id
    issued = await issued_with(counter, till, 10)
    poor = await counter.till.redeem(issued, offer)
    assert poor.reason == scans.REFUSAL_REASON_INSUFFICIENT_BALANCE
    assert await counter.club.tenant.count("pass_chains") == 0
    await till.post(issued, 15)
    dry = await counter.till.redeem(issued, offer, meta=meta(validate_only=True))
    assert dry.outcome == ACCEPTED
    assert await counter.club.tenant.count("pass_chains") == 0
    request = counter.till.redeem_request(issued, offer)
    paid = await counter.till.scans.RedeemPass(request)
    assert (paid.outcome, paid.balance.balance) == (ACCEPTED, 5)
    assert await counter.till.scans.RedeemPass(request) == paid
    now = await counter.club.get(issued)
    assert (now.values["points"].integer, now.values["note"].text) == (5, "paid")
    back = await counter.till.reverse(paid.redemption.redemption_id)
    assert (back.outcome, back.balance.balance) == (ACCEPTED, 25)
    now = await counter.club.get(issued)
    assert (now.values["points"].integer, "note" in now.values) == (25, False)
    assert (await counter.till.redeem(issued, offer)).outcome == ACCEPTED


async def test_a_pass_that_has_expired_since_pays(counter: Counter) -> None:
    """What was used offline while the pass was good is paid, though it has expired meanwhile."""
    till, offer = await costly(counter)
    now = datetime.now(UTC)
    issued = await issued_with(counter, till, 50)
    await counter.club.tenant.fetch(
        "UPDATE passes SET expire_time = $1", now - timedelta(minutes=30)
    )
    scan = OfflineScan(local_sequence=1, ref=shown(issued))
    scan.scan_time.FromDatetime(now - timedelta(hours=1))
    scan.redeem.offer_id = offer.offer_id
    scanner = await counter.scanner()
    [told] = (await scanner.scans.SyncOfflineScans(SyncOfflineScansRequest(scans=[scan]))).results
    assert told.outcome == OfflineScanResult.OUTCOME_ACCEPTED
    assert (await till.points(issued)).balance == 30
