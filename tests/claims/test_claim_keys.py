"""The claim key: who can give one to a browser, and by what nobody can lose it."""

import asyncio
from urllib.parse import urlencode

import pytest

from passmill.edge.claim_keys import cookie_name
from tests.claims.test_claim_pages import post, send
from tests.edge.rig import Edge, open_client, tls_context
from tests.support.bundles import pass_json
from tests.support.claims import CLAIMED, NAME, PHONE, ClubLinks, new_key
from tests.support.small_card import draft

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("worker"),
]
PKPASS = "application/vnd.apple.pkpass"


async def test_nobody_can_choose_anothers_key(links: ClubLinks, edge: Edge) -> None:
    """A key in the address that nothing was claimed with, were it one that the server made for
    somebody else, gets into no browser: who sent the link around gets no pass of those who claim by
    it."""
    created = await links.create(fields=[NAME, PHONE], is_unlimited=True)
    path = f"/p/{created.token}"
    async with open_client(edge.port) as victim, open_client(edge.port) as attacker:
        await attacker.get(path)
        given = attacker.cookies[cookie_name(created.token)]
        for chosen in (given, "EVIL" + "x" * 18):
            led = await victim.get(path, params={"key": chosen})
            assert (led.status_code, led.headers["location"]) == (303, created.token)
            assert "set-cookie" not in led.headers
        sent = await send(victim, created.token, name="Vera", phone="+41446681800")
        assert sent.status_code == 303
        assert pass_json((await victim.get(f"{path}/pass.pkpass")).content)
        for chosen in (given, "EVIL" + "x" * 18):
            await attacker.get(path, params={"key": chosen})
            assert (await attacker.get(f"{path}/pass.pkpass")).status_code == 303
            assert (await links.resolve(created.token, chosen)).state != CLAIMED


async def test_a_key_in_a_form_counts_for_nothing(links: ClubLinks, edge: Edge) -> None:
    """A form without the cookie claims nothing, whatever key it has in it: it leads back to the
    page, which says what is missing when the browser keeps no cookies, and works when it does."""
    created = await links.create()
    form = urlencode({"claim_key": "K" * 22})
    async with open_client(edge.port) as client:
        sent = await client.post(f"/p/{created.token}", content=form)
        assert (sent.status_code, sent.headers["location"]) == (303, f"{created.token}?no-cookie")
        assert "set-cookie" not in sent.headers
        page = await client.get(f"/p/{sent.headers['location']}")
        assert "allow cookies" in page.text
        assert (await links.get(created)).uses == 0
        assert (await post(client, created.token)).headers["location"] == created.token
        assert "Your pass is ready" in (await client.get(f"/p/{created.token}")).text


async def test_no_address_takes_a_pass_away(links: ClubLinks, edge: Edge) -> None:
    """A browser that has its pass keeps it, by whichever key of somebody else's, claimed or not,
    its holder is led to the page; an unknown link sets no cookie at all."""
    created = await links.create(known=draft("Ada"), max_uses=2)
    path = f"/p/{created.token}"
    others = new_key()
    assert (await links.claim(created.token, others)).state == CLAIMED
    async with open_client(edge.port) as holder:
        await send(holder, created.token)
        before = await holder.get(f"{path}/pass.pkpass")
        assert before.headers["content-type"] == PKPASS
        for key in ("z" * 22, others):
            for method in ("HEAD", "GET"):
                assert (
                    "set-cookie"
                    not in (await holder.request(method, path, params={"key": key})).headers
                )
        assert (await holder.get(f"{path}/pass.pkpass")).content == before.content
        unknown = await holder.head("/p/" + "q" * 22, params={"key": "z" * 64})
        assert unknown.status_code == 404
        assert "set-cookie" not in unknown.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_other_pages_cannot_send_the_form(links: ClubLinks, edge: Edge, site: str) -> None:
    """A form that another site's page sends claims nothing and changes no cookie, neither in a
    browser that says so, nor, as the cookie does not come with it, in an older one."""
    created = await links.create(max_uses=10)
    path = f"/p/{created.token}"
    async with open_client(edge.port) as client:
        await client.get(path)
        key = client.cookies[cookie_name(created.token)]
        refused = await client.post(path, headers={"origin": "null", "sec-fetch-site": site})
        assert refused.status_code == 403
        older = await client.post(path, headers={"origin": "null", "cookie": ""})
        assert older.status_code == 303
        assert all("set-cookie" not in answer.headers for answer in (refused, older))
        assert (await links.get(created)).uses == 0
        own = await client.post(path, headers={"sec-fetch-site": "same-origin"})
        assert (own.status_code, own.headers["location"]) == (303, created.token)
        assert client.cookies[cookie_name(created.token)] == key


async def test_two_tabs_are_one_claim(links: ClubLinks, edge: Edge) -> None:
    """A second tab keeps the first one's key, so that the forms of both are one claim."""
    created = await links.create(max_uses=5)
    async with open_client(edge.port) as browser:
        await browser.get(f"/p/{created.token}")
        second = await browser.get(f"/p/{created.token}")
        assert "set-cookie" not in second.headers
        sent = await asyncio.gather(*(post(browser, created.token) for _ in range(2)))
        assert [answer.status_code for answer in sent] == [303, 303]
    assert (await links.get(created)).uses == 1


async def test_the_answer_can_be_lost(links: ClubLinks, edge: Edge) -> None:
    """Whose connection ends while the form is under way has the pass all the same: the key was
    there before."""
    created = await links.create(known=draft("Ada"))
    async with open_client(edge.port) as phone:
        await phone.get(f"/p/{created.token}")
        name = cookie_name(created.token)
        _, writer = await asyncio.open_connection("localhost", edge.port, ssl=tls_context())
        head = f"POST /p/{created.token} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n"
        writer.write(f"{head}cookie: {name}={phone.cookies[name]}\r\n\r\n".encode())
        await writer.drain()
        for _ in range(2000):
            if (await links.get(created)).uses:
                break
            await asyncio.sleep(0.005)
        writer.transport.abort()
        for _ in range(500):  # its worker is still at work
            bundle = await phone.get(f"/p/{created.token}/pass.pkpass")
            if bundle.status_code != 303:
                break
            await asyncio.sleep(0.02)
    assert bundle.headers["content-type"] == PKPASS
    assert (await links.get(created)).uses == 1
