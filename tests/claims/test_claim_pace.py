"""How fast one visitor may go at one link: new claims, and requests to send a pass again."""

from collections import Counter

import pytest

from tests.claims.test_claim_pages import post
from tests.claims.test_connect import PREFIX
from tests.edge.rig import open_edge_on
from tests.support.claims import PHONE, ClubLinks, new_key
from tests.support.service import Service

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("worker"),
]
PROXY = "127.0.0.1/32"


async def test_one_visitor_cannot_empty_a_link(service: Service, links: ClubLinks) -> None:
    """By the usual settings thirty forms with made-up numbers from one address get five passes,
    and a page that says what to do; calls of scripts are counted with them. Another address, and
    another link, are as if nothing had been, and who has a pass gets it again."""
    created, other = [
        await links.create(fields=[PHONE], max_uses=120, once_per_person=True) for _ in range(2)
    ]
    async with open_edge_on(
        service.settings, claims_per_hour=6, claims_burst=5, trusted_proxies=[PROXY]
    ) as edge:
        client = edge.client
        client.headers["x-forwarded-for"] = "192.0.2.1"
        keys = [new_key() for _ in range(30)]
        answers = [
            await post(client, created.token, claim_key=key, phone=f"+414466800{number:02d}")
            for number, key in enumerate(keys)
        ]
        assert Counter(answer.status_code for answer in answers) == {303: 5, 429: 25}
        assert "mobile data" in answers[-1].text
        assert 0 < int(answers[-1].headers["retry-after"]) <= 600
        assert (await links.get(created)).uses == 5
        request = {"token": created.token, "claimKey": keys[-1]}
        called = await client.post(
            f"{PREFIX}ClaimPass", json={**request, "answers": {"phone": "+41446680099"}}
        )
        assert (called.status_code, called.json()["code"]) == (429, "resource_exhausted")
        assert (await post(client, created.token, claim_key=keys[0])).status_code == 303
        elsewhere = await post(client, other.token, claim_key=keys[-1], phone="+41446680099")
        assert elsewhere.status_code == 303
        client.headers["x-forwarded-for"] = "192.0.2.2"
        answer = await post(client, created.token, claim_key=keys[-1], phone="+41446680099")
        assert answer.status_code == 303


async def test_a_mistake_costs_nothing(service: Service, links: ClubLinks) -> None:
    """A form with a mistake in it is no claim, however often it is sent."""
    created = await links.create(fields=[PHONE])
    async with open_edge_on(service.settings, claims_per_hour=1, claims_burst=1) as edge:
        key = new_key()
        for _ in range(4):
            answer = await post(edge.client, created.token, claim_key=key, phone="12")
            assert answer.status_code == 422
        answer = await post(edge.client, created.token, claim_key=key, phone="+41446680001")
        assert answer.status_code == 303
