"""The pages by which people claim, over HTTPS as browsers send it."""

import asyncio
import html
import re
import zipfile
from io import BytesIO
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from passmill.edge.claim_keys import cookie_name
from passmill.v1 import enrolment_pb2 as claims_pb2
from tests.edge.rig import Edge, open_client
from tests.support.bundles import pass_json
from tests.support.claims import EMAIL, NAME, NEWS, NOTE, PHONE, ClubLinks
from tests.support.small_card import draft

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("worker"),
]
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1"
IPAD = "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1"
WEB_VIEW = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Mobile/15E148"
)
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/130.0 Mobile Safari/537.36"
DESKTOP = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/130.0 Safari/537.36"
ADDRESS = re.compile(r'id="address" value="([^"]+)"')


async def send(client: httpx.AsyncClient, token: str, **form: str) -> httpx.Response:
    """Sends the form of a link's page as it was just got, filled in."""
    page = await client.get(f"/p/{token}")
    assert "data-once" in page.text, page.text
    return await post(client, token, **form)


async def post(
    client: httpx.AsyncClient, token: str, *, claim_key: str = "", **form: str
) -> httpx.Response:
    """Sends a form; with `claim_key` as a browser that was given this key with it."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if claim_key:
        headers["cookie"] = f"{cookie_name(token)}={claim_key}"
    return await client.post(f"/p/{token}", content=urlencode(form), headers=headers)


async def test_the_whole_way(links: ClubLinks, edge: Edge) -> None:
    """Looked at, claimed and fetched: the form is answered by a way back to the page, which then
    gives the pass to this browser, as Apple wants it sent, and to no other."""
    created = await links.create(fields=[NAME, PHONE, EMAIL, NOTE, NEWS])
    path = f"/p/{created.token}"
    async with open_client(edge.port) as phone, open_client(edge.port) as other:
        form: dict[str, Any] = {"name": "Zoë", "phone": "+41 44 668 18 00", "slot.note": "Tea"}
        sent = await send(phone, created.token, **form, **{"consent.newsletter_2026": "1"})
        assert sent.status_code == 303
        assert "httponly" in sent.headers["set-cookie"].lower()
        assert "secure" in sent.headers["set-cookie"].lower()
        assert "samesite=lax" in sent.headers["set-cookie"].lower()
        ready = await phone.get(str(sent.next_request.url) if sent.next_request else "")
        assert ready.status_code == 200
        assert "Your pass is ready" in ready.text
        bundle = await phone.get(f"{path}/pass.pkpass")
        assert bundle.headers["content-type"] == "application/vnd.apple.pkpass"
        assert bundle.headers["content-disposition"] == 'attachment; filename="pass.pkpass"'
        assert "last-modified" in bundle.headers
        assert bundle.headers["cache-control"] == "no-store"
        assert zipfile.ZipFile(BytesIO(bundle.content)).testzip() is None
        assert pass_json(bundle.content)["generic"]["primaryFields"][0]["value"] == "Zoë"
        for client in (other,):
            refused = await client.get(f"{path}/pass.pkpass")
            assert refused.status_code == 303
            assert "already been claimed" in (await client.get(path)).text
    assert (await links.get(created)).uses == 1


async def test_the_page_has_its_logo(links: ClubLinks, edge: Edge) -> None:
    """The logo that the page names is the template's, as a picture."""
    token = (await links.create()).token
    assert f'src="{token}/logo.png"' in (await edge.client.get(f"/p/{token}")).text
    logo = await edge.client.get(f"/p/{token}/logo.png")
    assert (logo.status_code, logo.headers["content-type"]) == (200, "image/png")
    assert logo.content.startswith(b"\x89PNG")


async def test_get_and_head_use_nothing_up(links: ClubLinks, edge: Edge) -> None:
    """A hundred GETs and HEADs of the page, its logo and its pass leave the link open."""
    created = await links.create()
    paths = [f"/p/{created.token}{end}" for end in ("", "/logo.png", "/pass.pkpass")]
    answers = []
    for path in paths:
        for method in ("GET", "HEAD"):
            for _ in range(10):
                answers += await asyncio.gather(
                    *(edge.client.request(method, path) for _ in range(10))
                )
    assert {answer.status_code for answer in answers} == {200, 303}
    assert (await links.get(created)).uses == 0
    assert await links.club.tenant.count("claims") == 0


async def test_two_hundred_posts_of_a_link_for_three(links: ClubLinks, edge: Edge) -> None:
    """200 browsers send the form of a link with three uses at the same time: three are sent on to
    their pass, 197 hear that all are taken."""
    created = await links.create(max_uses=3)
    keys = [f"{number:022d}" for number in range(200)]
    answers = await asyncio.gather(
        *(post(edge.client, created.token, claim_key=key) for key in keys)
    )
    edge.client.cookies.clear()
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [303] * 3 + [410] * 197
    assert (await links.get(created)).uses == 3
    assert await links.club.tenant.count("passes") == 3


async def test_a_form_sent_twice_is_one_claim(links: ClubLinks, edge: Edge) -> None:
    """An impatient finger, or a reload: the same form again leads to the same pass."""
    created = await links.create(max_uses=5)
    async with open_client(edge.port) as first, open_client(edge.port) as again:
        for client in (first, again, first):
            sent = await post(client, created.token, claim_key="k" * 22)
            assert sent.status_code == 303
        bundles = [await c.get(f"/p/{created.token}/pass.pkpass") for c in (first, again)]
    assert bundles[0].content == bundles[1].content
    assert (await links.get(created)).uses == 1


async def test_errors_are_tied_to_their_fields(links: ClubLinks, edge: Edge) -> None:
    """A form with mistakes comes back filled in, with a summary that leads to each field and words
    at the field itself, and nothing of it is markup."""
    created = await links.create(fields=[NAME, PHONE, EMAIL])
    name = '"><script>alert(1)</script>'
    async with open_client(edge.port) as client:
        page = await send(client, created.token, name=name, phone="12", email="x")
        assert page.status_code == 422
        assert html.escape(name) in page.text.replace("&#34;", "&quot;")
        assert "<script>alert" not in page.text
        for field in ("phone", "email"):
            assert f'<a href="#{field}">' in page.text
            assert f'id="{field}-problem"' in page.text
        assert page.text.count('aria-invalid="true"') == 2
        fixed = await post(client, created.token, name="Ada", phone="+41446681800")
        assert fixed.status_code == 303


@pytest.mark.parametrize(
    ("agent", "has_code", "wallets"),
    [
        (IPHONE, False, ["Add to Apple Wallet"]),
        (
            ANDROID,
            False,
            ["Save the pass on this phone", "Google Wallet and", "Add to Apple Wallet"],
        ),
        (DESKTOP, True, ["<svg", "Add to Apple Wallet", "Save the pass for another"]),
        (IPAD, True, ["<svg", "Add to Apple Wallet", "Save the pass for another"]),
    ],
    ids=["iphone", "android", "desktop", "ipad"],
)
async def test_what_is_offered_where(
    links: ClubLinks, edge: Edge, agent: str, has_code: bool, wallets: list[str]
) -> None:
    """A desktop gets a code to go on with the phone, before and after claiming; phones do not. An
    iPhone is offered Apple Wallet alone, an Android phone first of all the file, with what opens it
    there; a pass of Google's own nobody as long as there is none."""
    created = await links.create()
    async with open_client(edge.port) as client:
        client.headers["user-agent"] = agent
        before = await client.get(f"/p/{created.token}")
        await send(client, created.token)
        after = await client.get(f"/p/{created.token}")
    for page in (before, after):
        assert ("<svg" in page.text) == has_code
        assert "Add to Google" not in page.text
        assert "Open this page in Safari" not in page.text
        assert "user-agent" in page.headers["vary"]
    places = [after.text.index(wallet) for wallet in wallets]
    assert places == sorted(places)
    assert ("Save the pass" in after.text) == (len(wallets) > 1)


@pytest.mark.parametrize(
    "app",
    [
        WEB_VIEW,
        f"{WEB_VIEW} Instagram 350.0.0.0 (iPhone15,2; iOS 18_0; en_US)",
        f"{WEB_VIEW} [FBAN/FBIOS;FBAV/480.0.0;FBBV/1;FBDV/iPhone15,2]",
        f"{WEB_VIEW} MicroMessenger/8.0.50(0x18003233) NetType/WIFI Language/en",
        f"{WEB_VIEW} Safari Line/14.10.0",
        f"{WEB_VIEW} musical_ly_35.6.0 JsSdk/2.0 NetType/WIFI BytedanceWebview/d8a21c6",
        f"{IPHONE} Snapchat/12.90 (like Safari/604.1)",
    ],
    ids=["unnamed", "instagram", "facebook", "wechat", "line", "tiktok", "snapchat"],
)
async def test_the_way_out_of_an_app(links: ClubLinks, edge: Edge, app: str) -> None:
    """Within an app of an iPhone, where passes cannot be added, the page says before the form how
    it is opened in Safari, in each language; once claimed it gives the address that has the pass
    there, too. Nothing is hidden."""
    created = await links.create()
    titles = {"en": "Open this page in Safari", "de": "diese Seite in Safari", "ar": "في Safari"}
    async with open_client(edge.port) as inside, open_client(edge.port) as safari:
        inside.headers["user-agent"] = app
        for language, title in titles.items():
            before = await inside.get(f"/p/{created.token}", params={"lang": language})
            assert before.text.index(title) < before.text.index("<form")
        await send(inside, created.token)
        after = await inside.get(f"/p/{created.token}")
        assert after.text.index("Open this page") < after.text.index("Add to Apple Wallet")
        found = ADDRESS.search(after.text)
        assert found is not None
        await safari.get(f"/p/{created.token}?{urlsplit(html.unescape(found[1])).query}")
        bundle = await safari.get(f"/p/{created.token}/pass.pkpass")
    assert bundle.headers["content-type"] == "application/vnd.apple.pkpass"


@pytest.mark.parametrize(
    "browser",
    [
        f"{WEB_VIEW} CriOS/141.0.0.0 Safari/604.1",
        f"{WEB_VIEW} FxiOS/143.0 Safari/605.1.15",
        f"{WEB_VIEW} EdgiOS/141.0.0.0 Version/18.0 Safari/604.1",
    ],
    ids=["chrome", "firefox", "edge"],
)
async def test_browsers_are_no_apps(links: ClubLinks, edge: Edge, browser: str) -> None:
    """Other browsers of an iPhone add passes themselves, and send nobody to Safari."""
    created = await links.create()
    page = await edge.client.get(f"/p/{created.token}", headers={"user-agent": browser})
    assert "Open this page in Safari" not in page.text


async def test_the_code_hands_a_claimed_pass_over(links: ClubLinks, edge: Edge) -> None:
    """Claimed at a desktop, the code leads the phone to the same pass, and out of the address."""
    created = await links.create()
    async with open_client(edge.port) as desktop, open_client(edge.port) as phone:
        await post(desktop, created.token, claim_key="d" * 22)
        handed = await phone.get(f"/p/{created.token}", params={"key": "d" * 22})
        assert (handed.status_code, handed.headers["location"]) == (303, created.token)
        bundle = await phone.get(f"/p/{created.token}/pass.pkpass")
    assert bundle.headers["content-type"] == "application/vnd.apple.pkpass"


async def test_recovery_tells_two_digits(links: ClubLinks, edge: Edge) -> None:
    """Claimed elsewhere, the page offers to send the pass to the known number, shows two digits of
    it, and asks the operator once."""
    created = await links.create(known=draft("Ada", phone="+41446681842"))
    await links.claim(created.token)
    async with open_client(edge.port) as client:
        page = await client.get(f"/p/{created.token}")
        asked = await post(client, created.token, action="recover")
    assert asked.status_code == 200
    for text in (page.text, asked.text):
        assert "42" in text
        assert "66818" not in text
    assert len(await links.events("claim.recovery_requested")) == 1


@pytest.mark.parametrize(
    ("accepted", "language", "direction"),
    [
        ("de-CH, en;q=0.8", "de", "ltr"),
        ("fr, ar;q=0.9, en;q=0.1", "ar", "rtl"),
        ("xx", "en", "ltr"),
        ("", "en", "ltr"),
        ("de;q=0, en;q=0.1", "en", "ltr"),
        (";;,,q=,*;q=9", "en", "ltr"),
    ],
)
async def test_languages(
    links: ClubLinks, edge: Edge, accepted: str, language: str, direction: str
) -> None:
    """The page is in the best language there is of those accepted, in its direction."""
    created = await links.create()
    page = await edge.client.get(f"/p/{created.token}", headers={"accept-language": accepted})
    assert f'<html lang="{language}" dir="{direction}">' in page.text
    assert page.headers["content-language"] == language


async def test_pages_are_closed_to_everything_else(links: ClubLinks, edge: Edge) -> None:
    """No page may be framed, cached or run a script of elsewhere, none tells where it was, and the
    style's nonce is new each time."""
    created = await links.create()
    pages = [await edge.client.get(f"/p/{created.token}") for _ in range(2)]
    policies = [page.headers["content-security-policy"] for page in pages]
    for page, policy in zip(pages, policies, strict=True):
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
    assert policies[0] != policies[1]
    for file in ("claim.css", "claim.js"):
        assert (await edge.client.get(f"/p/-/{file}")).status_code == 200


@pytest.mark.parametrize("token", ["x" * 22, "x", "%00", "a" * 300, "..%2f..%2fetc"])
async def test_unknown_links_are_alike(edge: Edge, token: str) -> None:
    """An unknown token and what is none get the same page, whatever is asked of it."""
    for method, end in (("GET", ""), ("POST", ""), ("GET", "/pass.pkpass"), ("GET", "/logo.png")):
        answer = await edge.client.request(method, f"/p/{token}{end}")
        assert answer.status_code == 404, (method, end)


async def test_too_long_a_form_is_refused(links: ClubLinks, edge: Edge) -> None:
    """More than a form can have is not read to its end."""
    created = await links.create()
    answer = await edge.client.post(f"/p/{created.token}", content=b"x" * 40_000)
    assert answer.status_code == 413
    assert (await links.get(created)).uses == 0


async def test_ended_links_say_so(links: ClubLinks, edge: Edge) -> None:
    """Of a link that has ended the page says how, with a status that says so too."""
    created = await links.create(max_uses=2)
    for _ in range(2):
        await links.claim(created.token)
    page = await edge.client.get(f"/p/{created.token}")
    assert (page.status_code, "All passes are taken" in page.text) == (410, True)
    assert (await links.claim(created.token)).state == claims_pb2.CLAIM_STATE_USED_UP


async def test_other_methods_are_named(links: ClubLinks, edge: Edge) -> None:
    """Of a method that a path does not have the answer is 405, with those it has."""
    created = await links.create()
    for path, allowed in (
        (f"/p/{created.token}", {"GET", "HEAD", "POST"}),
        ("/healthz", {"GET", "HEAD"}),
        ("/passmill.v1.EnrolmentService/ClaimPass", {"POST"}),
    ):
        for method in ("DELETE", "TRACE", "PUT"):
            answer = await edge.client.request(method, path)
            assert answer.status_code == 405, (path, method)
            assert set(answer.headers["allow"].split(", ")) == allowed
