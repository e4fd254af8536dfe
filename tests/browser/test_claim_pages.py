"""Claiming a pass as people do it: by iPhone, Android and desktop, with scripts and without."""

import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import zxingcpp
from PIL import Image
from playwright.async_api import Page, expect

from tests.browser.axe import check_with_axe
from tests.support.claims import EMAIL, NAME, NEWS, NOTE, PHONE, ClubLinks
from tests.support.service import WEB_SERVICE_URL
from tests.support.small_card import draft

pytestmark = pytest.mark.asyncio(loop_scope="session")

Opener = Callable[..., Awaitable[Page]]
Pictures = Callable[[], Path]
AGENTS: Final = {
    "iphone": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "android": "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/140.0.0.0 Mobile Safari/537.36",
}
DEVICES: Final[dict[str, dict[str, Any]]] = {
    "iphone": {
        "user_agent": AGENTS["iphone"],
        "viewport": {"width": 393, "height": 852},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
    "android": {
        "user_agent": AGENTS["android"],
        "viewport": {"width": 412, "height": 915},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
    },
    "desktop": {"viewport": {"width": 1280, "height": 900}},
}
IN_APP: Final = (
    AGENTS["iphone"].replace("Version/18.5 ", "").replace(" Safari/604.1", " Instagram 350")
)


async def take(page: Page, pictures: Pictures) -> Path:
    """A picture of the whole page."""
    path = pictures()
    await page.screenshot(path=path, full_page=True)
    return path


async def check_page(page: Page) -> None:
    """One heading, a name for each field, words behind each description, nothing that axe-core
    finds, texts with too little contrast among it, and nothing to the side of the window."""
    assert await page.locator("h1").count() == 1
    for field in await page.locator("input:not([type=hidden])").all():
        name = await field.get_attribute("id")
        assert await page.locator(f"label[for={name}]").count() == 1
        for described in ((await field.get_attribute("aria-describedby")) or "").split():
            assert await page.locator(f"#{described}").inner_text()
    await check_with_axe(page)
    widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    scrolled, shown = await page.evaluate(widths)
    assert scrolled <= shown


def read_code(picture: Path) -> str:
    """The text of the one QR code in a picture, as zxing reads it."""
    [found] = zxingcpp.read_barcodes(Image.open(picture))
    return found.text


async def fetch_pass(page: Page, folder: Path) -> Path:
    """The pass behind the button."""
    async with page.expect_download() as waiting:
        await page.get_by_role("link", name="Add to Apple Wallet").click()
    download = await waiting.value
    assert download.suggested_filename == "pass.pkpass"
    path = folder / "pass.pkpass"
    await download.save_as(path)
    return path


@pytest.mark.parametrize(
    "case", [(device, scripts) for device in DEVICES for scripts in (True, False)], ids=str
)
async def test_from_the_link_to_the_pass(
    links: ClubLinks,
    open_page: Opener,
    pictures: Pictures,
    tmp_path: Path,
    case: tuple[str, bool],
) -> None:
    """On each device, with scripts and without: the form, the page after it, the pass itself; a
    reload shows the pass again, and one use is gone."""
    device, scripts = case
    created = await links.create(fields=[NAME, PHONE, EMAIL, NOTE, NEWS], max_uses=3)
    page = await open_page(f"/p/{created.token}", java_script_enabled=scripts, **DEVICES[device])
    if scripts:
        await check_page(page)
    before = await take(page, pictures)
    await page.get_by_label("Name").fill("Zoë Ōtani")
    await page.get_by_label("Telephone number").fill("+41 44 668 18 00")
    await page.get_by_label("newsletter").check()
    await page.get_by_role("button", name="Get your pass").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Your pass is ready")
    if scripts:
        await check_page(page)
    after = await take(page, pictures)
    bundle = zipfile.ZipFile(await fetch_pass(page, tmp_path))
    assert "Zoë Ōtani" in bundle.read("pass.json").decode()
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Your pass is ready")
    assert (await links.get(created)).uses == 1
    address = f"{WEB_SERVICE_URL}/p/{created.token}"
    if device == "desktop":
        assert read_code(before) == address
        assert read_code(after).startswith(f"{address}?key=")
    else:
        assert zxingcpp.read_barcodes(Image.open(before)) == []


@pytest.mark.parametrize("locale", ["en-GB", "de-CH", "ar-AE"])
async def test_out_of_an_app(
    links: ClubLinks, open_page: Opener, pictures: Pictures, tmp_path: Path, locale: str
) -> None:
    """Within an app, without a script: how to get to Safari, before the form and after; the address
    that is copied there has the pass."""
    created = await links.create()
    inside = {**DEVICES["iphone"], "user_agent": IN_APP, "locale": locale}
    page = await open_page(f"/p/{created.token}", **inside, java_script_enabled=False)
    await expect(page.get_by_role("heading", name="Safari")).to_be_visible()
    await take(page, pictures)
    await page.get_by_role("button").click()
    address = await page.locator("#address").input_value()
    await take(page, pictures)
    path = address.removeprefix(WEB_SERVICE_URL)
    safari = await open_page(path, **DEVICES["iphone"])
    assert "key=" not in safari.url
    await expect(safari.get_by_role("heading", name="Safari")).to_have_count(0)
    await fetch_pass(safari, tmp_path)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "plain"])
async def test_mistakes_are_shown_where_they_are(
    links: ClubLinks, open_page: Opener, pictures: Pictures, scripts: bool
) -> None:
    """A wrong number: what was filled in stays, a summary stands in front and leads to the field,
    which is marked and described; put right, it goes on."""
    created = await links.create(fields=[NAME, PHONE])
    page = await open_page(f"/p/{created.token}", java_script_enabled=scripts, **DEVICES["iphone"])
    await page.get_by_label("Name").fill("Ada")
    await page.get_by_label("Telephone number").fill("12")
    await page.get_by_role("button").click()
    await expect(page.get_by_role("alert")).to_contain_text("Telephone number")
    if scripts:
        await check_page(page)
    await take(page, pictures)
    await expect(page.get_by_label("Name")).to_have_value("Ada")
    number = page.get_by_label("Telephone number")
    await expect(number).to_have_attribute("aria-invalid", "true")
    await page.get_by_role("alert").get_by_role("link").click()
    await expect(number).to_be_focused()
    await number.fill("+41446681800")
    await page.get_by_role("button").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Your pass is ready")


async def test_two_phones_with_one_link(
    links: ClubLinks, open_page: Opener, pictures: Pictures
) -> None:
    """The second phone is told that the pass is taken, and can have it sent to the number that is
    known, of which it shows two digits."""
    created = await links.create(known=draft("Ada", phone="+41446681842"))
    first = await open_page(f"/p/{created.token}", **DEVICES["iphone"])
    second = await open_page(f"/p/{created.token}", **DEVICES["android"])
    await first.get_by_role("button").click()
    await expect(first.get_by_role("heading", level=1)).to_have_text("Your pass is ready")
    await second.get_by_role("button").click()
    await expect(second.get_by_role("heading", level=1)).to_contain_text("already been claimed")
    await check_page(second)
    await take(second, pictures)
    assert "66818" not in await second.content()
    await second.get_by_role("button", name="42").click()
    await expect(second.get_by_role("heading", level=1)).to_have_text("On its way")
    await take(second, pictures)
    assert len(await links.events("claim.recovery_requested")) == 1


@pytest.mark.parametrize("locale", ["en-GB", "de-CH", "ar-AE"])
async def test_a_shared_tablet(
    links: ClubLinks, open_page: Opener, pictures: Pictures, locale: str
) -> None:
    """Without scripts, too, somebody has the pass forgotten, of which nothing can happen by one
    press alone; the next one gets the form, and of a link that is used up a page that says whom to
    ask. Whose browser kept no cookie is told so."""
    created = await links.create(max_uses=2)
    page = await open_page(
        f"/p/{created.token}", **DEVICES["desktop"], locale=locale, java_script_enabled=False
    )
    for _ in range(2):
        await page.get_by_role("button").click()
        forget = page.locator("details button")
        await expect(forget).to_be_hidden()
        await page.locator("summary").click()
        await take(page, pictures)
        await forget.click()
    await expect(page.locator("main")).to_contain_text("Ruderverein")
    await take(page, pictures)
    other = await links.create()
    page = await open_page(f"/p/{other.token}?no-cookie", **DEVICES["iphone"], locale=locale)
    await check_page(page)
    await take(page, pictures)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("arabic", {"locale": "ar-AE"}),
        ("german, dark", {"locale": "de-CH", "color_scheme": "dark"}),
        # Twice as large is half as wide (WCAG 2.2, 1.4.4 and 1.4.10).
        ("zoomed", {"viewport": {"width": 196, "height": 426}, "device_scale_factor": 2}),
        ("desktop, dark", {**DEVICES["desktop"], "user_agent": None, "color_scheme": "dark"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_it_can_be_read_by_all(
    links: ClubLinks,
    open_page: Opener,
    pictures: Pictures,
    name: str,
    options: dict[str, Any],
) -> None:
    """Right to left, in the dark and at twice the size the form and what follows can be read, and
    nothing lies beyond the side of the window; a code is dark on light all the same."""
    created = await links.create(fields=[NAME, PHONE, NEWS])
    wanted = {key: value for key, value in options.items() if value is not None}
    base = {} if options.get("user_agent", "") is None else DEVICES["iphone"]
    page = await open_page(f"/p/{created.token}", **(base | wanted))
    direction = "rtl" if name == "arabic" else "ltr"
    assert await page.locator("html").get_attribute("dir") == direction
    await check_page(page)
    picture = await take(page, pictures)
    if "desktop" in name:
        assert read_code(picture).endswith(created.token)
    await page.locator("#name").fill("Zoë")
    await page.locator("#phone").fill("+41446681800")
    await page.get_by_role("button").click()
    await expect(page.locator(".reference")).to_be_visible()
    await check_page(page)
    await take(page, pictures)


async def check_state(page: Page, title: str, pictures: Pictures) -> None:
    """The page has come, and can be read by all."""
    await expect(page.get_by_role("heading", level=1)).to_contain_text(title)
    await check_page(page)
    await take(page, pictures)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", ["in an app", "android", "desktop"])
async def test_the_way_can_be_read_by_all(
    links: ClubLinks, open_page: Opener, pictures: Pictures, scheme: str, device: str
) -> None:
    """The form, its mistakes and the page after it, in both colour schemes."""
    inside = {**DEVICES["iphone"], "user_agent": IN_APP}
    options = {**DEVICES.get(device, inside), "color_scheme": scheme}
    asked = await links.create(fields=[NAME, PHONE, EMAIL, NOTE, NEWS])
    page = await open_page(f"/p/{asked.token}", **options)
    await check_state(page, "Get your pass", pictures)
    await page.get_by_label("Name").fill("Ada")
    await page.get_by_label("Telephone number").fill("12")
    await page.get_by_role("button").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await check_state(page, "Get your pass", pictures)
    await page.get_by_label("Telephone number").fill("+41446681800")
    await page.get_by_role("button").click()
    await check_state(page, "Your pass is ready", pictures)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_ends_the_way_can_be_read_by_all(
    links: ClubLinks, open_page: Opener, pictures: Pictures, scheme: str
) -> None:
    """What stands there instead of a pass, in both colour schemes."""
    claimed = await links.create(known=draft("Ada", phone="+41446681842"))
    await links.claim(claimed.token)
    options = {**DEVICES["android"], "color_scheme": scheme}
    page = await open_page(f"/p/{claimed.token}", **options)
    await check_state(page, "already been claimed", pictures)
    await page.get_by_role("button", name="42").click()
    await check_state(page, "On its way", pictures)
    used_up = await links.create(max_uses=2)
    for _ in range(2):
        await links.claim(used_up.token)
    await page.goto(f"/p/{used_up.token}")
    await check_state(page, "All passes are taken", pictures)
    await page.goto(f"/p/{'x' * 22}")
    await check_state(page, "No such link", pictures)


@pytest.mark.parametrize(
    "harm",
    [
        "document.querySelector('h1').style.color = '#e0e0e0'",
        "document.querySelector('label').remove()",
        "document.documentElement.removeAttribute('lang')",
    ],
    ids=["contrast", "label", "language"],
)
async def test_the_check_notices(links: ClubLinks, open_page: Opener, harm: str) -> None:
    """The control: a page that somebody cannot read is not let pass."""
    created = await links.create(fields=[NAME])
    page = await open_page(f"/p/{created.token}", **DEVICES["iphone"])
    await check_with_axe(page)
    await page.evaluate(harm)
    with pytest.raises(AssertionError):
        await check_with_axe(page)
