"""Chains: one partner after the other, each once, and none sees another's."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passmill.v1 import scan_pb2 as scans
from passmill.v1 import scan_service_pb2 as scan_pb
from passmill.v1.chain_pb2 import Chain, ChainStep, StepCondition
from passmill.v1.counter_pb2 import Offer, OfferMark
from passmill.v1.wallet_pass_pb2 import Pass
from tests.counter.test_offline_scans import ACCEPTED as OFFLINE_ACCEPTED
from tests.counter.test_offline_scans import CONFLICT, scan, sync
from tests.counter.test_redeem_pass import at as at_time
from tests.support.bundles import pass_json
from tests.support.counters import Counter, Till
from tests.support.small_card import draft, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTED, REFUSED = scans.SCAN_OUTCOME_ACCEPTED, scans.SCAN_OUTCOME_REFUSED
PARTNERS = ("taxi", "hotel", "cafe", "museum")
LOOKS = ("Take the taxi", "Ask at the desk", "A cake for you", "To the museum", "Come again")


def text_of(bundle: bytes) -> str:
    """What the back of the pass says."""
    fields = pass_json(bundle)["generic"]["backFields"]
    return str({each["key"]: each["value"] for each in fields}.get("note"))


async def tour(counter: Counter, *partners: str, **fields: Any) -> Chain:
    """A chain with a step for each partner, each with a look of its own."""
    steps = [
        await counter.step(partner, **{"next_values": {"note": value(LOOKS[at + 1])}, **fields})
        for at, partner in enumerate(partners)
    ]
    return await counter.set_chain(*steps)


async def scanners(counter: Counter, *partners: str) -> dict[str, Till]:
    """A scanner at a venue of each partner."""
    return {
        each: await counter.scanner(venue=await counter.add_venue(each, partner=each))
        for each in partners
    }


def offers_of(chain: Chain) -> list[Offer]:
    """The offers of its steps, as far as tills need them."""
    return [Offer(offer_id=step.offer_id) for step in chain.steps]


async def test_four_partners(counter: Counter) -> None:
    """Each partner in its turn takes its step, out of turn it is refused, and the pass shows the
    look of each step in a new version."""
    chain = await tour(counter, *PARTNERS)
    at = await scanners(counter, *PARTNERS)
    issued = await counter.club.issue(draft(note=LOOKS[0]))
    seen = [text_of(await counter.club.bundle(issued))]
    offers = dict(zip(PARTNERS, offers_of(chain), strict=True))
    for number, partner in enumerate(PARTNERS):
        for other in PARTNERS[number + 1 :]:
            early = await at[other].redeem(issued, offers[other])
            assert (early.outcome, early.reason) == (REFUSED, scans.REFUSAL_REASON_NOT_YOUR_STEP)
            assert early.state == scans.SCAN_STATE_NOT_YOUR_STEP
        assert (await at[partner].look(issued)).state == scans.SCAN_STATE_VALID
        answer = await at[partner].redeem(issued, offers[partner])
        assert (answer.outcome, answer.state) == (ACCEPTED, scans.SCAN_STATE_USED_UP)
        again = await at[partner].redeem(issued, offers[partner])
        assert again.reason == scans.REFUSAL_REASON_ALREADY_REDEEMED
        assert again.first_use == answer.redemption
        seen.append(text_of(await counter.club.bundle(issued)))
    assert tuple(seen) == LOOKS
    assert (await counter.club.get(issued)).version == 5
    assert (await counter.till.look(issued)).state == scans.SCAN_STATE_USED_UP


async def test_partners_see_only_their_step(counter: Counter) -> None:
    """VerifyPass and GetScannerConfig tell a partner of its own step alone, before and after it;
    whoever has no step is told that it is not its turn; own staff see all."""
    chain = await tour(counter, "taxi", "hotel")
    taxi, hotel = offers_of(chain)
    at = await scanners(counter, "taxi", "hotel", "bar")
    issued = await counter.club.issue()
    used = await at["taxi"].redeem(issued, taxi, staff="Bo")
    looks = {name: await till.look(issued) for name, till in at.items()}
    shown = {name: [each.offer_id for each in look.offers] for name, look in looks.items()}
    assert shown == {"taxi": [taxi.offer_id], "hotel": [hotel.offer_id], "bar": []}
    assert {name: look.state for name, look in looks.items()} == {
        "taxi": scans.SCAN_STATE_USED_UP,
        "hotel": scans.SCAN_STATE_VALID,
        "bar": scans.SCAN_STATE_NOT_YOUR_STEP,
    }
    assert list(looks["taxi"].last_uses) == [used.redemption]
    assert not looks["hotel"].last_uses
    assert not looks["bar"].last_uses
    own = await counter.till.look(issued)
    assert {each.offer_id for each in own.offers} == {taxi.offer_id, hotel.offer_id}
    assert own.state == scans.SCAN_STATE_NOT_YOUR_STEP
    for name, till in at.items():
        config = await till.scans.GetScannerConfig(scan_pb.GetScannerConfigRequest())
        assert [each.offer_id for each in config.offers] == shown[name]
    # Another's step is refused without a word about its use.
    foreign = await at["hotel"].redeem(issued, taxi)
    assert (foreign.reason, foreign.uses) == (scans.REFUSAL_REASON_NOT_YOUR_STEP, 0)
    assert not foreign.HasField("first_use")
    away = await counter.till.redeem(issued, hotel)
    assert away.reason == scans.REFUSAL_REASON_NOT_YOUR_STEP


@pytest.mark.parametrize("max_uses", [0, 1])
async def test_two_at_once(counter: Counter, max_uses: int) -> None:
    """Twenty scanners of two partners at once: the step of the first partner is taken once, and the
    second's at most once and only after it, whatever the offers allow."""
    steps = []
    for partner in ("taxi", "hotel"):
        offer = await counter.add_offer(max_uses=max_uses)
        steps.append(
            await counter.step(
                partner, offer_id=offer.offer_id, next_values={"note": value(partner)}
            )
        )
    chain = await counter.set_chain(*steps)
    at = await scanners(counter, "taxi", "hotel")
    issued = await counter.club.issue()
    calls = [
        till.redeem(issued, offer)
        for _ in range(10)
        for till, offer in zip(at.values(), offers_of(chain), strict=True)
    ]
    answers = await asyncio.gather(*calls)
    won = [each.redemption.offer_id for each in answers if each.outcome == ACCEPTED]
    order = [step.offer_id for step in chain.steps]
    assert sorted(won, key=order.index) == order[: len(won)]
    assert len(won) >= 1
    lost = {each.reason for each in answers if each.outcome == REFUSED}
    assert lost <= {scans.REFUSAL_REASON_ALREADY_REDEEMED, scans.REFUSAL_REASON_NOT_YOUR_STEP}
    [row] = await counter.club.tenant.fetch("SELECT step FROM pass_chains")
    assert row["step"] == len(won)
    assert await counter.club.tenant.count("redemptions") == len(won)
    shown = await counter.club.get(issued)
    assert shown.values["note"].text == ("taxi", "hotel")[len(won) - 1]


async def test_the_latest_step_is_taken_back(counter: Counter) -> None:
    """Only the latest step goes back: the pass looks as before it, and the step can be taken anew;
    then the one before can go back too."""
    chain = await tour(counter, "taxi", "hotel")
    taxi, hotel = offers_of(chain)
    at = await scanners(counter, "taxi", "hotel")
    issued = await counter.club.issue(draft(note=LOOKS[0]))
    looks = [pass_json(await counter.club.bundle(issued))]
    first = await at["taxi"].redeem(issued, taxi)
    looks.append(pass_json(await counter.club.bundle(issued)))
    second = await at["hotel"].redeem(issued, hotel)
    passed = await at["taxi"].reverse(first.redemption.redemption_id)
    assert (passed.outcome, passed.reason) == (REFUSED, scans.REFUSAL_REASON_NOT_LATEST_STEP)
    assert not passed.redemption.HasField("reverse_time")
    back = await at["hotel"].reverse(second.redemption.redemption_id)
    assert (back.outcome, back.uses) == (ACCEPTED, 0)
    assert pass_json(await counter.club.bundle(issued)) == looks[1]
    assert (await at["hotel"].redeem(issued, hotel)).outcome == ACCEPTED
    for till, offer in ((counter.till, hotel), (at["taxi"], taxi)):
        [use] = [
            each
            for each in (await counter.till.look(issued)).last_uses
            if each.offer_id == offer.offer_id and not each.HasField("reverse_time")
        ]
        assert (await till.reverse(use.redemption_id)).outcome == ACCEPTED
    assert pass_json(await counter.club.bundle(issued)) == looks[0]
    assert (await at["hotel"].redeem(issued, hotel)).outcome == REFUSED
    assert (await at["taxi"].redeem(issued, taxi)).outcome == ACCEPTED


async def test_a_pass_keeps_its_version(counter: Counter) -> None:
    """A pass that has begun goes on in the steps it began with; one that has not takes the new
    ones."""
    chain = await tour(counter, "taxi", "hotel")
    taxi, hotel = offers_of(chain)
    at = await scanners(counter, "taxi", "hotel", "cafe")
    begun, fresh = await counter.club.issue(), await counter.club.issue()
    assert (await at["taxi"].redeem(begun, taxi)).outcome == ACCEPTED
    cafe_step = await counter.step("cafe")
    cafe = Offer(offer_id=cafe_step.offer_id)
    changed = await counter.set_chain(cafe_step, chain.steps[0], chain_id=chain.chain_id)
    assert (changed.version, chain.version) == (2, 1)
    assert (await at["cafe"].redeem(begun, cafe)).reason == scans.REFUSAL_REASON_NOT_YOUR_STEP
    assert (await at["hotel"].redeem(begun, hotel)).outcome == ACCEPTED
    assert (await at["hotel"].redeem(fresh, hotel)).reason == scans.REFUSAL_REASON_NOT_YOUR_STEP
    assert (await at["taxi"].redeem(fresh, taxi)).reason == scans.REFUSAL_REASON_NOT_YOUR_STEP
    assert (await at["cafe"].redeem(fresh, cafe)).outcome == ACCEPTED
    assert (await at["taxi"].redeem(fresh, taxi)).outcome == ACCEPTED


async def test_too_early_and_too_late(counter: Counter) -> None:
    """A step that may be taken only some time after the one before, or only before some time, is
    refused by when the pass was shown."""
    hour = 3600
    steps: list[ChainStep] = [
        await counter.step("taxi"),
        await counter.step(
            "hotel",
            condition=StepCondition(after_previous_seconds=hour, before_previous_seconds=2 * hour),
        ),
    ]
    taxi, hotel = offers_of(await counter.set_chain(*steps))
    at = await scanners(counter, "taxi", "hotel")

    async def arrive(hours: float) -> tuple[Any, Pass]:
        issued = await counter.club.issue()
        shown = at_time(datetime.now(UTC) - timedelta(hours=hours))
        first = await at["taxi"].redeem(issued, taxi, scan_time=shown)
        assert first.outcome == ACCEPTED
        return await at["hotel"].redeem(issued, hotel), issued

    early, issued = await arrive(0.9)
    assert early.reason == scans.REFUSAL_REASON_TOO_EARLY
    assert (await at["hotel"].look(issued)).state == scans.SCAN_STATE_NOT_YET_VALID
    assert (await arrive(1.1))[0].outcome == ACCEPTED
    late, issued = await arrive(2.1)
    assert late.reason == scans.REFUSAL_REASON_TOO_LATE
    assert (await at["hotel"].look(issued)).state == scans.SCAN_STATE_EXPIRED


async def test_the_mark_and_the_look(counter: Counter) -> None:
    """A step's offer may mark the pass too: both show, and both are taken back."""
    offer = await counter.add_offer(mark=OfferMark(uses_slot="points"))
    step = await counter.step(
        "taxi", offer_id=offer.offer_id, next_values={"note": value("driven")}
    )
    await counter.set_chain(step)
    at = await scanners(counter, "taxi")
    issued = await counter.club.issue(draft(points=0))
    before = pass_json(await counter.club.bundle(issued))
    used = await at["taxi"].redeem(issued, offer)
    now = await counter.club.get(issued)
    assert (now.values["points"].integer, now.values["note"].text) == (1, "driven")
    await at["taxi"].reverse(used.redemption.redemption_id)
    assert pass_json(await counter.club.bundle(issued)) == before


async def test_a_step_taken_offline_too_soon(counter: Counter) -> None:
    """A hotel that was offline tells its step before the taxi's is known: a conflict that tells
    nothing of the taxi, now and when it is told again after the taxi's; told anew it is taken."""
    taxi, hotel = offers_of(await tour(counter, "taxi", "hotel"))
    at = await scanners(counter, "taxi", "hotel")
    issued = await counter.club.issue()
    told = [scan(number, issued, redeem={"offer_id": hotel.offer_id}) for number in (1, 2)]
    [soon] = await sync(at["hotel"], told[0])
    assert (soon.outcome, soon.reason) == (CONFLICT, scans.REFUSAL_REASON_NOT_YOUR_STEP)
    before = scan(1, issued, redeem={"offer_id": taxi.offer_id})
    [driven] = await sync(at["taxi"], before)
    assert driven.outcome == OFFLINE_ACCEPTED
    [again, taken] = await sync(at["hotel"], told[0], told[1])
    assert again.reason == scans.REFUSAL_REASON_NOT_YOUR_STEP
    assert not again.HasField("first_use")
    assert taken.outcome == OFFLINE_ACCEPTED
    [foreign] = await sync(at["hotel"], scan(3, issued, redeem={"offer_id": taxi.offer_id}))
    [retold] = await sync(at["hotel"], scan(3, issued, redeem={"offer_id": taxi.offer_id}))
    for result in (foreign, retold):
        assert result.reason == scans.REFUSAL_REASON_NOT_YOUR_STEP
        assert not result.HasField("first_use")


async def test_a_step_back_and_the_next_step_at_once(counter: Counter) -> None:
    """Of the reversal of a step and the redemption of the next one comes whichever is first, never
    both: the place and the uses that stand agree for every pass."""
    taxi, hotel = offers_of(await tour(counter, "taxi", "hotel"))
    at = await scanners(counter, "taxi", "hotel")
    passes = [await counter.club.issue(draft(note=LOOKS[0])) for _ in range(8)]
    first = [await at["taxi"].redeem(each, taxi) for each in passes]
    races = [
        asyncio.gather(
            at["taxi"].reverse(used.redemption.redemption_id), at["hotel"].redeem(each, hotel)
        )
        for each, used in zip(passes, first, strict=True)
    ]
    for issued, (back, onward) in zip(passes, await asyncio.gather(*races), strict=True):
        assert {back.outcome, onward.outcome} == {ACCEPTED, REFUSED}
        is_back = back.outcome == ACCEPTED
        assert (is_back and onward.reason == scans.REFUSAL_REASON_NOT_YOUR_STEP) or (
            not is_back and back.reason == scans.REFUSAL_REASON_NOT_LATEST_STEP
        )
        shown = (await counter.club.get(issued)).values["note"].text
        assert shown == LOOKS[0 if is_back else 2]
    rows = await counter.club.tenant.fetch(
        "SELECT c.step, (SELECT count(*) FROM redemptions r WHERE r.pass_id = c.pass_id"
        " AND r.reverse_time IS NULL) AS uses FROM pass_chains c"
    )
    assert len(rows) == len(passes)
    assert all(row["step"] == row["uses"] for row in rows)
