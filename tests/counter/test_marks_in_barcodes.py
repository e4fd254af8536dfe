"""What a use writes on a pass must not break the barcode that it stands in."""

from __future__ import annotations

from dataclasses import replace

import pytest

from passmill.domain.templates import Barcode, BarcodeFormat
from passmill.v1 import scan_pb2 as scans
from passmill.v1.counter_pb2 import Offer, OfferMark
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.bundles import pass_json
from tests.support.counters import Counter, open_counter
from tests.support.refusals import refused
from tests.support.service import Service
from tests.support.small_card import draft, small_card, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTED = scans.SCAN_OUTCOME_ACCEPTED
LONG = "x" * 60


async def linear(service: Service) -> Counter:
    """A counter whose passes have note and tier in a Code 128: ASCII, and 80 characters of it."""
    barcode = Barcode(format=BarcodeFormat.CODE128, message="{tier}{note}", alt_text="")
    return await open_counter(await service.add_club(replace(small_card(), barcodes=(barcode,))))


async def test_what_no_barcode_holds_is_no_mark(service: Service) -> None:
    """Values that the barcode of no pass can hold are refused, of a mark and of a chain's step."""
    counter = await linear(service)
    mark = OfferMark(used_up_values={"note": value("benützt")})
    refusal = await refused(counter.add_offer(mark=mark))
    assert set(refusal.fields) == {'offer.mark.used_up_values["note"]'}
    step = await counter.step("", next_values={"note": value("benützt")})
    refusal = await refused(counter.set_chain(step))
    assert set(refusal.fields) == {'chain.steps[0].next_values["note"]'}


@pytest.mark.parametrize("is_step", [False, True])
async def test_what_breaks_a_barcode_is_left_out(service: Service, is_step: bool) -> None:
    """A value that makes the barcode of one pass too long is not shown on that, and is on others;
    the pass is used all the same, can be fetched and changed."""
    counter = await linear(service)
    marked = {"note": value(LONG), "is_founder": value(True)}
    if is_step:
        step = await counter.step("", next_values=marked)
        await counter.set_chain(step)
        offer = Offer(offer_id=step.offer_id)
    else:
        offer = await counter.add_offer(mark=OfferMark(used_up_values=marked))
    club = counter.club
    for tier, note in (("Gold", LONG), ("y" * 40, "new")):
        issued = await club.issue(draft(tier=tier, note="new"))
        request = counter.till.redeem_request(issued, offer)
        answer = await counter.till.scans.RedeemPass(request)
        assert answer.outcome == ACCEPTED
        shown = await club.get(issued)
        assert shown.values["note"].text == note
        assert shown.values["is_founder"].boolean
        [barcode] = pass_json(await club.bundle(issued))["barcodes"]
        assert barcode["message"] == tier + note
        wanted = Pass()
        wanted.holder.name = "New"
        await club.update(issued, "holder.name", wanted=wanted)
        back = await counter.till.reverse(answer.redemption.redemption_id)
        assert back.outcome == ACCEPTED
        assert (await club.get(issued)).values["note"].text == "new"
