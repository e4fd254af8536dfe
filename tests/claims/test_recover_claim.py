"""Having a claimed pass sent again: to whom, how often, and what nobody learns by asking."""

import asyncio
import json
import re
from datetime import timedelta

import pytest

from passmill.v1.pass_service_pb2 import GetPassRequest
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.claims.test_claim_pages import post
from tests.edge.rig import Edge, open_edge_on
from tests.support.claims import PHONE, ClubLinks, new_key, open_claim_worker
from tests.support.postgres import Database
from tests.support.service import Service, SetClock, open_service
from tests.support.small_card import draft

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("worker"),
]
MAIN = re.compile(r"<main>.*</main>", re.DOTALL)


async def test_recovery_is_an_event_and_no_flood(links: ClubLinks) -> None:
    """Asking for a pass again makes one event that names the pass and no number, however often it
    is asked within ten minutes; ten minutes later it makes another."""
    created = await links.create(known=draft("Ada", phone="+41446681842"))
    claimed = await links.claim(created.token)
    answers = await asyncio.gather(*(links.recover(created.token) for _ in range(10)))
    assert {answer.recovery.hint for answer in answers} == {"42"}
    [event] = await links.events("claim.recovery_requested")
    assert "44668" not in event["detail"]
    [claim] = await links.club.tenant.fetch("SELECT claim_id FROM claims")
    assert json.loads(event["detail"]) == {
        "link_id": created.link.link_id,
        "claim_id": str(claim["claim_id"]),
        "channel": "PHONE",
    }
    request = GetPassRequest(ref=PassRef(reference_id=claimed.reference_id))
    wallet_pass = (await links.club.passes.GetPass(request)).wallet_pass
    assert [str(each) for each in event["pass_ids"]] == [wallet_pass.pass_id]
    await links.club.tenant.fetch(
        "UPDATE claims SET recovery_time = recovery_time - interval '10 minutes'"
    )
    await links.recover(created.token)
    assert len(await links.events("claim.recovery_requested")) == 2


async def test_who_left_no_way_cannot_be_reached(links: ClubLinks) -> None:
    """A pass whose holder gave neither number nor address is not sent again, and nobody is told."""
    created = await links.create(known=draft("Ada"))
    assert not (await links.recover(created.token)).HasField("recovery")
    await links.claim(created.token)
    assert not (await links.recover(created.token)).HasField("recovery")
    assert not await links.events("claim.recovery_requested")


async def test_a_link_for_many_tells_nobody_who_has_claimed(links: ClubLinks, edge: Edge) -> None:
    """Of a link for many the number given then is asked to be sent to, and another number, or none,
    is not; the answer is the same, as a call and as a page. A claim by a number that is known shows
    nothing of its holder, and a way to have it sent."""
    created = await links.create(fields=[PHONE], is_unlimited=True, once_per_person=True)
    await links.claim(created.token, phone="+41446681842")
    numbers = ("", "+41446681843", "+41 44 668 18 42")
    pages, answers = [], []
    for asked, phone in enumerate(numbers, start=1):
        answers.append(await links.recover(created.token, phone=phone))
        page = await post(edge.client, created.token, action="recover", phone=phone)
        pages.append((page.status_code, MAIN.findall(page.text)))
        assert len(await links.events("claim.recovery_requested")) == (asked == len(numbers))
    assert pages == [pages[0]] * 3
    assert answers == [answers[0]] * 3
    assert not answers[0].HasField("recovery")
    again = await post(edge.client, created.token, claim_key=new_key(), phone="+41446681842")
    assert again.status_code == 409
    assert 'value="+41446681842"' in again.text
    assert "Send it to me again" in again.text
    assert "ending in" not in again.text


async def test_what_nobody_has_claimed_is_not_called_claimed(links: ClubLinks, edge: Edge) -> None:
    """Asked to send the pass of a link again that nobody has claimed by, the page leads to what the
    link gives, and so does a link whose claimers nothing is known of."""
    for created in (
        await links.create(known=draft("Ada", phone="+41446681842")),
        await links.create(is_unlimited=True),
    ):
        led = await post(edge.client, created.token, action="recover")
        assert (led.status_code, led.headers["location"]) == (303, created.token)
        assert "Get your pass" in (await edge.client.get(f"/p/{created.token}")).text


@pytest.mark.asyncio(loop_scope="function")
async def test_three_times_a_day(database: Database) -> None:
    """A pass is sent three times on one day, then the page says so; the next day, and years after,
    it is sent again."""
    clock = SetClock()
    clock.moment = clock.moment.replace(hour=9) + timedelta(days=1)
    async with (
        open_service(database.url, clock=clock) as service,
        open_edge_on(service.settings, clock=clock) as edge,
    ):
        links = ClubLinks(club=await service.add_club())
        created = await links.create(known=draft("Ada", phone="+41446681842"))
        async with open_claim_worker(service):
            await links.claim(created.token)
        asked = 0
        for day in (1, 2, 1000):
            pages = []
            for _ in range(5):
                clock.advance(timedelta(minutes=10))
                pages.append(await post(edge.client, created.token, action="recover"))
            told = ["three times today" in page.text for page in pages]
            assert told == [False] * 3 + [True] * 2, day
            asked += 3
            assert len(await links.events("claim.recovery_requested")) == asked
            assert (await links.recover(created.token)).recovery.hint == "42"
            clock.advance(timedelta(days=day, minutes=-50))


async def test_guesses_are_few(service: Service, links: ClubLinks) -> None:
    """By the usual settings one address asks five times by one link, and then is told to wait."""
    created = await links.create(fields=[PHONE], is_unlimited=True, once_per_person=True)
    async with open_edge_on(service.settings, claims_per_hour=6, claims_burst=5) as guesser:
        answers = [
            await post(
                guesser.client, created.token, action="recover", phone=f"+414466818{number:02d}"
            )
            for number in range(20)
        ]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 15
