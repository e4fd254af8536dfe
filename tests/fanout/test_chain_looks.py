"""A chain as its holder sees it: four partners, and a phone that is pushed four looks."""

from __future__ import annotations

import asyncio

import pytest

from passmill.dev.fake_apns import FakeApns
from passmill.dev.wallet_device.bundle import BundleVerifier
from passmill.dev.wallet_device.fleet import WalletFleet
from passmill.v1.counter_pb2 import Offer
from passmill.v1.scan_pb2 import SCAN_OUTCOME_ACCEPTED
from tests.edge.rig import open_edge_on, tls_context
from tests.support.counters import open_counter
from tests.support.fan_out import WAIT_SECONDS, FanOut
from tests.support.service import WEB_SERVICE_URL, Service, authority
from tests.support.small_card import draft, value

pytestmark = pytest.mark.asyncio

LOOKS = {
    "taxi": "Ask at the hotel's desk",
    "hotel": "A cake waits at the café",
    "cafe": "To the museum",
    "museum": "Come again",
}


async def test_a_phone_sees_four_looks(
    own_service: Service, fan_out: FanOut, apns: FakeApns
) -> None:
    """Each partner's scanner takes the pass one step on, and the phone that holds it, told by a
    push, fetches and verifies the look of that step."""
    counter = await open_counter(fan_out.club)
    steps = [
        await counter.step(partner, next_values={"note": value(look)})
        for partner, look in LOOKS.items()
    ]
    chain = await counter.set_chain(*steps)
    issued = await counter.club.issue(draft(note="Take a taxi"))
    async with (
        open_edge_on(own_service.settings) as edge,
        WalletFleet(
            post=apns.post,
            tls=tls_context(),
            verifier=BundleVerifier(authority().root_pem),
            origins={WEB_SERVICE_URL: edge.url},
        ) as fleet,
    ):
        phone = fleet.add_device()
        key = await fleet.install(phone, await counter.club.bundle(issued))

        def look() -> object:
            fields = phone.passes[key].content.document["generic"]["backFields"]
            return {each["key"]: each["value"] for each in fields}["note"]

        seen = [look()]
        for step in chain.steps:
            venue = await counter.add_venue(step.partner, partner=step.partner)
            scanner = await counter.scanner(venue=venue)
            answer = await scanner.redeem(issued, Offer(offer_id=step.offer_id))
            assert answer.outcome == SCAN_OUTCOME_ACCEPTED
            async with asyncio.timeout(WAIT_SECONDS):
                while look() == seen[-1]:  # noqa: ASYNC110 - the phone's own work
                    await asyncio.sleep(0.02)
            seen.append(look())
        await fleet.settle()
        fleet.raise_failures()
        assert seen == ["Take a taxi", *LOOKS.values()]
        assert phone.seen.updates == len(LOOKS)
        assert phone.seen.pushes >= len(LOOKS)
