"""What people and scripts hear when they are not served, and where their pages lead to."""

import asyncio

import httpx
import pytest
from structlog.testing import capture_logs

from passmill.edge.claim_keys import cookie_name
from tests.claims.test_claim_pages import DESKTOP, post, send
from tests.claims.test_connect import ORIGIN, PREFIX
from tests.edge.rig import Edge, open_client, open_edge_on, tls_context
from tests.support.claims import PHONE, ClubLinks
from tests.support.service import Service
from tests.support.small_card import draft

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("worker"),
]


def claim_key_of(page: httpx.Response, token: str) -> str:
    """The key that came with a page, whatever host it was asked for by."""
    [(name, value)] = [
        line.partition(";")[0].split("=", 1) for line in page.headers.get_list("set-cookie")
    ]
    assert name == cookie_name(token)
    return value


async def test_who_goes_away_is_no_failure(service: Service, links: ClubLinks) -> None:
    """Clients that go away in the middle of a form, or of a script's call, are counted as such; no
    error is logged or counted."""
    created = await links.create()
    async with open_edge_on(service.settings) as edge:
        with capture_logs() as logs:
            for path in (f"/p/{created.token}", f"{PREFIX}ClaimPass") * 3:
                _, writer = await asyncio.open_connection("localhost", edge.port, ssl=tls_context())
                head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                writer.write(f"{head}content-length: 1000\r\n\r\nabc".encode())
                await writer.drain()
                await asyncio.sleep(0.1)  # so that the form is being read
                writer.transport.abort()
            for _ in range(200):
                gone = edge.sample("passmill_edge_requests_total", route="pages", status="4xx")
                if gone == 6:
                    break
                await asyncio.sleep(0.05)
        assert gone == 6
        assert not [log for log in logs if log["log_level"] == "error"]
        assert edge.sample("passmill_edge_refusals_total", reason="internal") == 0


async def test_no_request_says_where_pages_lead(service: Service, links: ClubLinks) -> None:
    """Neither a path with a slash too many, nor the page where no public address is set, leads
    to the host that the request names; a desktop's page has no code then."""
    created = await links.create()
    settings = service.settings.model_copy(update={"public_url": None})
    async with open_edge_on(settings) as edge, open_client(edge.port, http2=False) as client:
        client.headers.update({"host": "evil.example", "user-agent": DESKTOP})
        for path in (f"/p/{created.token}/", f"{PREFIX}ClaimPass/", "/healthz/"):
            answer = await client.get(path)
            assert (answer.status_code, "location" in answer.headers) == (404, False), path
        before = await client.get(f"/p/{created.token}")
        key = claim_key_of(before, created.token)
        assert (await post(client, created.token, claim_key=key)).status_code == 303
        after = await client.get(
            f"/p/{created.token}", headers={"cookie": f"{cookie_name(created.token)}={key}"}
        )
        assert "Your pass is ready" in after.text
        for page in (before, after):
            assert page.status_code == 200
            assert "evil.example" not in page.text
            assert "<svg" not in page.text


async def test_the_limited_are_told_in_their_own_way(service: Service, links: ClubLinks) -> None:
    """Who asks too often gets a page, in the browser's language, and a script an error as Connect
    has them, which its page may read; each says when to come back."""
    created = await links.create()
    async with open_edge_on(
        service.settings, client_rate=0.001, client_burst=1, allowed_origins=[ORIGIN]
    ) as edge:
        await edge.client.get("/healthz")
        for language, words in (
            ("en", "Very busy"),
            ("de", "viel los"),
            ("ar", "الضغط"),
        ):
            page = await edge.client.get(
                f"/p/{created.token}", headers={"accept-language": language}
            )
            assert page.status_code == 429
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert "default-src 'none'" in page.headers["content-security-policy"]
            assert words in page.text
            assert int(page.headers["retry-after"]) > 1
        for origin, allowed in ((ORIGIN, ORIGIN), ("https://elsewhere.example", None)):
            called = await edge.client.post(
                f"{PREFIX}ResolveClaim", json={"token": created.token}, headers={"origin": origin}
            )
            assert (called.status_code, called.json()["code"]) == (429, "resource_exhausted")
            assert called.headers.get("access-control-allow-origin") == allowed
            assert "retry-after" in called.headers
        device = await edge.client.get("/v1/passes/a/b")
        assert device.json() == {"error": "rate_limited"}


async def test_a_shared_browser_forgets(links: ClubLinks, edge: Edge) -> None:
    """On a tablet that several people use, each has the pass forgotten and the next one gets
    another, with another key; of a link for one it is not shown any more."""
    created = await links.create(fields=[PHONE], is_unlimited=True)
    path = f"/p/{created.token}"
    passes, keys = set(), set()
    async with open_client(edge.port) as tablet:
        for number in range(3):
            await send(tablet, created.token, phone=f"+414466818{number:02d}")
            assert "Forget the pass" in (await tablet.get(path)).text
            passes.add((await tablet.get(f"{path}/pass.pkpass")).content)
            keys.add(tablet.cookies[cookie_name(created.token)])
            forgotten = await post(tablet, created.token, action="forget")
            assert (forgotten.status_code, forgotten.headers["location"]) == (303, created.token)
            assert (await tablet.get(f"{path}/pass.pkpass")).status_code == 303
        assert (len(passes), len(keys)) == (3, 3)
        one = await links.create()
        await send(tablet, one.token)
        await post(tablet, one.token, action="forget")
        assert "already been claimed" in (await tablet.get(f"/p/{one.token}")).text


async def test_whom_to_ask(links: ClubLinks, edge: Edge) -> None:
    """Where a pass was claimed elsewhere and nothing is known of its holder, or all are taken, the
    page says whom to ask: who issues it, by name; where it can be sent again it offers that."""
    plain, known = await links.create(), await links.create(known=draft("A", phone="+41446681842"))
    many = await links.create(max_uses=2)
    for created in (plain, known, many, many):
        await links.claim(created.token)
    for created, is_named in ((plain, True), (many, True), (known, False)):
        for language, words in (
            ("en", "please ask Ruderverein"),
            ("de", "bitte an Ruderverein"),
            ("ar", "التواصل مع Ruderverein"),
        ):
            page = await edge.client.get(f"/p/{created.token}", params={"lang": language})
            assert (words in page.text) == is_named, (language, page.text)
