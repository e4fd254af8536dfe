"""What a pass has used and where it stands is its successor's, when it is issued anew."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from passmill.compose_worker import WorkerServices, open_worker
from passmill.domain.ids import PassId
from passmill.domain.templates import SharingExcess
from passmill.usecases.complete_erasures import SETTLED_AFTER
from passmill.usecases.mutation import Answer
from passmill.v1 import scan_pb2 as scans
from passmill.v1 import scan_service_pb2 as scan_pb
from passmill.v1.counter_pb2 import Offer, OfferMark, UnitAmount
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.balances import open_till
from tests.support.counters import Counter, open_counter
from tests.support.holders import Desk
from tests.support.registry import Device, Registry
from tests.support.service import Service, SetClock
from tests.support.sharing import add_sharing_club, policy
from tests.support.small_card import draft, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTED, REFUSED = scans.SCAN_OUTCOME_ACCEPTED, scans.SCAN_OUTCOME_REFUSED
USED = scans.REFUSAL_REASON_ALREADY_REDEEMED
Reissue = Callable[[Pass], Awaitable[Pass]]


@pytest_asyncio.fixture(loop_scope="session")
async def worker(service: Service) -> AsyncIterator[WorkerServices]:
    """A worker's use cases; none of its queues is served."""
    async with open_worker(service.settings, registry=CollectorRegistry()) as services:
        yield services


@pytest_asyncio.fixture(loop_scope="session")
async def counter(service: Service) -> Counter:
    """The counter of a club whose passes are issued anew when a third device registers."""
    sharing = policy(2, SharingExcess.VOID_AND_REISSUE)
    return await open_counter(await add_sharing_club(service, sharing))


@pytest.fixture
def reissue(registry: Registry, worker: WorkerServices, counter: Counter) -> Reissue:
    """Has a pass be on three phones, and be issued anew."""

    async def share_and_reissue(wallet_pass: Pass) -> Pass:
        club = counter.club
        for _ in range(3):
            await registry.register(Device(), club, wallet_pass)
        pass_id = PassId(uuid.UUID(wallet_pass.pass_id))
        new_id = await worker.sharing.reissue_pass(club.tenant.caller.tenant_id, pass_id)
        assert new_id is not None
        return await club.get(Pass(pass_id=str(new_id)))

    return share_and_reissue


async def test_what_is_used_stays_used(counter: Counter, reissue: Reissue) -> None:
    """A coupon that the pass had used is used up on its successor and on the successor's, which are
    told of the first use; one with a use left has that once. It is listed with each of them, under
    the pass that was shown."""
    once, twice = await counter.add_offer(), await counter.add_offer(max_uses=2)
    issued = await counter.club.issue()
    had = await counter.till.redeem(issued, once)
    await counter.till.redeem(issued, twice)
    second = await reissue(issued)
    assert (await counter.till.look(issued)).state == scans.SCAN_STATE_VOIDED
    refused = await counter.till.redeem(second, once)
    assert (refused.outcome, refused.reason) == (REFUSED, USED)
    assert refused.first_use == had.redemption
    more = await counter.till.redeem(second, twice)
    assert (more.outcome, more.redemption.use_number) == (ACCEPTED, 2)
    assert more.redemption.pass_id == second.pass_id
    third = await reissue(second)
    for offer in (once, twice):
        assert (await counter.till.redeem(third, offer)).reason == USED
    seen = await counter.till.look(third)
    assert seen.state == scans.SCAN_STATE_USED_UP
    shown = [second.pass_id, issued.pass_id, issued.pass_id]
    assert [each.pass_id for each in seen.last_uses] == shown
    for wallet_pass in (issued, second, third):
        wanted = scan_pb.ListRedemptionsRequest.Filter(pass_id=wallet_pass.pass_id)
        request = scan_pb.ListRedemptionsRequest(filter=wanted)
        listed = await counter.till.scans.ListRedemptions(request)
        assert [each.pass_id for each in listed.redemptions] == shown


def while_issued(worker: WorkerServices, then: Callable[[], Awaitable[None]]) -> None:
    """Has something happen when the successor is issued, and the pass not voided yet."""
    use_case = worker.sharing.reissue_pass
    issue: Any = use_case._issue_passes

    async def issue_and_then(*arguments: Any, **more: Any) -> Answer:
        answer: Answer = await issue(*arguments, **more)
        await then()
        return answer

    replaced: Any = use_case
    replaced._issue_passes = issue_and_then


async def test_of_both_one_has_it(
    counter: Counter, worker: WorkerServices, reissue: Reissue
) -> None:
    """As long as both are good, twenty scans of either at once get one use between them."""
    offer = await counter.add_offer()
    issued = await counter.club.issue()
    outcomes: list[scans.ScanOutcome.ValueType] = []

    async def scan_both() -> None:
        rows = await counter.club.tenant.fetch("SELECT pass_id FROM passes")
        both = [await counter.club.get(Pass(pass_id=str(row["pass_id"]))) for row in rows]
        answers = await asyncio.gather(
            *(counter.till.redeem(each, offer) for each in both for _ in range(10))
        )
        outcomes.extend(each.outcome for each in answers)

    while_issued(worker, scan_both)
    new = await reissue(issued)
    assert (outcomes.count(ACCEPTED), len(outcomes)) == (1, 20)
    assert (await counter.till.redeem(new, offer)).reason == USED


async def test_what_changes_meanwhile_is_not_lost(
    counter: Counter, worker: WorkerServices, reissue: Reissue
) -> None:
    """A use, a name and another revision that the pass got when its successor was issued already
    are on that, too."""
    offer = await counter.add_offer(mark=OfferMark(used_up_values={"note": value("used")}))
    issued = await counter.club.issue(draft("Ada", note="hello"))
    number = await counter.club.tenant.publish(counter.club.template_id)
    assert number > issued.revision

    async def change() -> None:
        assert (await counter.till.redeem(issued, offer)).outcome == ACCEPTED
        wanted = Pass(holder=Holder(name="Grace"), revision=number)
        await counter.club.update(issued, "holder.name", "revision", wanted=wanted)

    while_issued(worker, change)
    new = await reissue(issued)
    assert (new.values["note"].text, new.holder.name, new.revision) == ("used", "Grace", number)
    assert (await counter.till.redeem(new, offer)).reason == USED


async def test_a_use_is_taken_back_on_the_successor(counter: Counter, reissue: Reissue) -> None:
    """Reversed after the pass was issued anew, the use is free for the successor, which looks as
    before it and has what it cost; the voided pass stays as it is."""
    till = await open_till(counter.club)
    offer = await counter.add_offer(
        cost=UnitAmount(unit="points", amount=10),
        mark=OfferMark(used_up_values={"note": value("used")}),
    )
    issued = await counter.club.issue(draft(note="hello"))
    await till.post(issued, 10)
    had = await counter.till.redeem(issued, offer)
    assert had.outcome == ACCEPTED
    new = await reissue(issued)
    assert new.values["note"].text == "used"
    back = await counter.till.reverse(had.redemption.redemption_id)
    assert (back.outcome, back.uses) == (ACCEPTED, 0)
    assert back.redemption.pass_id == issued.pass_id
    assert (await counter.club.get(new)).values["note"].text == "hello"
    assert (await counter.club.get(issued)).state == Pass.STATE_VOIDED
    assert (await counter.till.redeem(new, offer)).outcome == ACCEPTED
    assert (await counter.till.redeem(new, offer)).reason == USED


async def test_the_chain_goes_on(counter: Counter, reissue: Reissue) -> None:
    """The successor goes on at the step where the pass stood, with its look, and each step is taken
    back in its turn, whichever of them took it."""
    steps = [
        await counter.step(each, next_values={"note": value(each)})
        for each in ("taxi", "hotel", "cafe")
    ]
    await counter.set_chain(*steps)
    taxi, hotel, cafe = (Offer(offer_id=each.offer_id) for each in steps)
    at = {
        each: await counter.scanner(venue=await counter.add_venue(each, partner=each))
        for each in ("taxi", "hotel", "cafe")
    }
    issued = await counter.club.issue(draft(note="start"))
    first = await at["taxi"].redeem(issued, taxi)
    new = await reissue(issued)
    assert new.values["note"].text == "taxi"
    assert (await at["taxi"].redeem(new, taxi)).reason == USED
    early = await at["cafe"].redeem(new, cafe)
    assert early.reason == scans.REFUSAL_REASON_NOT_YOUR_STEP
    second = await at["hotel"].redeem(new, hotel)
    assert second.outcome == ACCEPTED
    passed = await at["taxi"].reverse(first.redemption.redemption_id)
    assert passed.reason == scans.REFUSAL_REASON_NOT_LATEST_STEP
    for till, made, look in (("hotel", second, "taxi"), ("taxi", first, "start")):
        back = await at[till].reverse(made.redemption.redemption_id)
        assert back.outcome == ACCEPTED
        assert (await counter.club.get(new)).values["note"].text == look
    assert (await at["taxi"].redeem(new, taxi)).outcome == ACCEPTED


async def test_who_is_in_is_in(counter: Counter, reissue: Reissue) -> None:
    """Whoever came in by the pass does not come in once more by its successor, and goes out by
    it."""
    issued = await counter.club.issue()
    came = await counter.till.check_in(issued)
    new = await reissue(issued)
    twice = await counter.till.check_in(new)
    assert twice.reason == scans.REFUSAL_REASON_ALREADY_CHECKED_IN
    assert twice.check_in.check_in_id == came.check_in.check_in_id
    [stay] = (await counter.till.look(new)).open_check_ins
    assert stay.check_in_id == came.check_in.check_in_id
    assert (await counter.till.check_out(new)).outcome == ACCEPTED
    assert (await counter.till.check_in(new)).outcome == ACCEPTED


async def test_it_is_found_and_erased_with_its_holder(
    service: Service, counter: Counter, reissue: Reissue
) -> None:
    """The successor is found by the pass's external id, and what it showed before a use, which is
    kept with the pass's own uses, goes when their holder is erased."""
    offer = await counter.add_offer(mark=OfferMark(used_up_values={"note": value("used")}))
    issued = await counter.club.issue(draft("Zoë", crm="4711", note="canary"))
    new = await reissue(issued)
    desk = Desk(club=counter.club)
    [found] = await counter.club.tenant.fetch(
        "SELECT array_agg(pass_id ORDER BY pass_id) AS both FROM pass_external_ids"
        " WHERE system = 'crm' AND external_id = '4711'"
    )
    assert [str(each) for each in found["both"]] == [issued.pass_id, new.pass_id]
    await counter.till.redeem(new, offer)
    kept = "SELECT undo FROM redemptions"
    assert "canary" in (await counter.club.tenant.fetch(kept))[0]["undo"]
    await desk.erase(new)
    clock = SetClock()
    clock.advance(2 * SETTLED_AFTER)
    registry = CollectorRegistry()
    async with open_worker(service.settings, registry=registry, clock=clock) as later:
        await later.complete_erasures()
    assert (await counter.club.tenant.fetch(kept))[0]["undo"] is None
