"""A device does what Apple's does, and says by name what a service does wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from passmill.dev.wallet_device.device import PassKey, WalletDevice
from passmill.dev.wallet_device.errors import (
    BadUpdateList,
    BodyNotAllowed,
    BundleRefused,
    GaveUp,
    IdentityChanged,
    MissingLastModified,
    OlderLastModified,
    UnaskedNotModified,
    UnexpectedStatus,
    UnknownSerialListed,
    WalletError,
    WrongContentType,
)
from passmill.dev.wallet_device.fleet import WalletFleet
from passmill.dev.wallet_device.lock_screen import Alert
from passmill.dev.wallet_device.web_service import Pace
from tests.wallet_device.conftest import Shop, Waits
from tests.wallet_device.made_passes import PASS_TYPE, TOKEN, make_bundle, pass_document
from tests.wallet_device.scripted_service import JSON, Reply, ScriptedService, pass_reply

KEY = PassKey(PASS_TYPE, "A1")
NEWER = 50
"""A version later than any that a test puts."""


class Phone:
    """A device with one pass, installed as version 1."""

    def __init__(self, shop: Shop, web: ScriptedService, device: WalletDevice) -> None:
        self.shop, self.web, self.device = shop, web, device
        self._made: dict[str, bytes] = {}

    def bundle(self, **changed: Any) -> bytes:
        """A version of the pass: signed once, for a second later it would be another one."""
        document = pass_document(**changed)
        key = json.dumps(document)
        if key not in self._made:
            self._made[key] = make_bundle(self.shop.issued, document)
        return self._made[key]

    def put(self, **changed: Any) -> None:
        """Has the service have it."""
        self.web.put("A1", self.bundle(**changed))

    async def update(self) -> int:
        """Looks for what is new."""
        return await self.device.update(PASS_TYPE)

    @property
    def points(self) -> int:
        """What the installed pass shows."""
        document = self.device.passes[KEY].content.document
        shown: int = document["storeCard"]["headerFields"][0]["value"]
        return shown


@pytest.fixture
def device(fleet: WalletFleet) -> WalletDevice:
    """A device without passes."""
    return fleet.add_device()


@pytest.fixture
def phone(shop: Shop, web: ScriptedService, device: WalletDevice) -> Phone:
    """A device that is going to have a pass."""
    made = Phone(shop, web, device)
    made.put()
    return made


async def test_a_pass_lives_and_goes(phone: Phone) -> None:
    """A pass is registered with its own token, updated when its version is listed, not fetched
    when nothing is listed, and unregistered when it is deleted."""
    assert await phone.device.install(phone.bundle()) == KEY
    assert await phone.device.register(KEY) is False
    assert await phone.update() == 0  # the first list names it; the content is the one it has
    assert await phone.update() == 0
    phone.put(points=9)
    assert await phone.update() == 1
    assert phone.points == 9
    asked = [(each.method, *each.steps[2:], each.since) for each in phone.web.asked]
    identifier = phone.device.library_identifier
    registered = ("POST", "devices", identifier, "registrations", PASS_TYPE, "A1", None)
    listed = ("GET", "devices", identifier, "registrations", PASS_TYPE)
    fetched = ("GET", "passes", PASS_TYPE, "A1", None)
    assert asked == [
        *(registered, registered, (*listed, None), fetched, (*listed, "1")),
        *((*listed, "1"), fetched),
    ]
    last = phone.web.asked[-1].headers
    assert last["authorization"] == f"ApplePass {TOKEN}"
    assert last["if-modified-since"] == "Fri, 01 May 2026 12:00:01 GMT"
    assert last["user-agent"].startswith("passd/1.0 CFNetwork/")
    [token] = set(phone.web.registrations.values())
    assert len(bytes.fromhex(token)) == 32
    await phone.device.remove(KEY)
    assert not phone.web.registrations
    assert await phone.update() == 0


async def test_not_modified(phone: Phone) -> None:
    """304 leaves the pass; pulling down its back asks the same; HEAD says the same time."""
    await phone.device.install(phone.bundle())
    assert await phone.device.fetch(KEY) is False
    assert (phone.device.seen.not_modified, phone.device.seen.updates) == (0, 0)
    assert await phone.device.fetch(KEY) is False
    assert phone.device.seen.not_modified == 1


async def test_silent_removal(phone: Phone) -> None:
    """A device that never tells keeps its registration, and does not fetch what is listed."""
    await phone.device.install(phone.bundle())
    other = make_bundle(phone.shop.issued, pass_document("B2"))
    phone.web.put("B2", other)
    await phone.device.install(other)
    await phone.device.remove(KEY, tells=False)
    assert len(phone.web.registrations) == 2
    assert await phone.update() == 0
    assert [each.steps[-1] for each in phone.web.asked if each.steps[2] == "passes"] == ["B2"]


def _list(*serials: str, **more: Any) -> Reply:
    body = json.dumps({"serialNumbers": serials, "lastUpdated": "7"} | more).encode()
    return Reply(200, (JSON,), body)


WRONG_LISTS: list[tuple[Reply, type[WalletError]]] = [
    (Reply(204, (), b"{}"), BodyNotAllowed),
    (Reply(200, (("content-type", "text/html"),), b"{}"), WrongContentType),
    (Reply(200, (JSON,), b"{"), BadUpdateList),
    (Reply(200, (JSON,), b"[]"), BadUpdateList),
    (_list(), BadUpdateList),
    (_list("A1", "A1"), BadUpdateList),
    (_list("A1", serialNumbers=[1]), BadUpdateList),
    (_list("A1", lastUpdated=7), BadUpdateList),
    (_list("A1", lastUpdated=""), BadUpdateList),
    (_list("Z9"), UnknownSerialListed),
    (Reply(401), UnexpectedStatus),
    (Reply(302, (("location", "https://example.com"),)), UnexpectedStatus),
]


@pytest.mark.parametrize(("reply", "error"), WRONG_LISTS)
async def test_wrong_lists(phone: Phone, reply: Reply, error: type[WalletError]) -> None:
    """An answer to the list that the reference forbids is named; the tag stays as it was, so the
    next list is a whole one."""
    await phone.device.install(phone.bundle())
    phone.web.scripted["list"].append(reply)
    with pytest.raises(error):
        await phone.update()
    await phone.update()
    since = [each.since for each in phone.web.asked if each.steps[-1] == PASS_TYPE]
    assert since == [None, None]


async def test_wrong_passes(phone: Phone) -> None:
    """A pass that is not what it should be, or comes without what must come with it, is named,
    not installed, and reported to the service in Apple's words."""
    await phone.device.install(phone.bundle())
    await phone.device.fetch(KEY)
    good = phone.bundle(points=8)
    wrong: list[tuple[Reply, type[WalletError]]] = [
        (Reply(200, pass_reply(good).headers[1:], good), WrongContentType),
        (Reply(200, pass_reply(good).headers[:1], good), MissingLastModified),
        (pass_reply(good, 0), OlderLastModified),
        (pass_reply(good, 1), OlderLastModified),
        (pass_reply(b"<html>", NEWER), BundleRefused),
        (pass_reply(phone.bundle(serial="B2"), NEWER), IdentityChanged),
        (pass_reply(phone.bundle(authenticationToken="x" * 20), NEWER), IdentityChanged),
        (Reply(304, (), b"x"), BodyNotAllowed),
        (Reply(403), UnexpectedStatus),
    ]
    for reply, error in wrong:
        phone.web.scripted["fetch"].append(reply)
        with pytest.raises(error):
            await phone.device.fetch(KEY)
    assert phone.points == 7
    assert len(phone.web.logs) == len(wrong)
    assert phone.web.logs[4].endswith("encountered error: Received invalid pass data.")
    assert f"Get pass task (pass type {PASS_TYPE}, serial number A1, if-mod" in phone.web.logs[0]


async def test_unasked_not_modified(phone: Phone) -> None:
    """304 is no answer to who did not say what it has; nor is a number a date."""
    await phone.device.install(phone.bundle())
    phone.web.scripted["fetch"] = [
        Reply(304),
        Reply(200, (*pass_reply(b"").headers[:1], ("last-modified", "177763")), phone.bundle()),
    ]
    with pytest.raises(UnaskedNotModified):
        await phone.device.fetch(KEY)
    with pytest.raises(MissingLastModified):
        await phone.device.fetch(KEY)


async def test_refused_bundles_are_not_registered(phone: Phone) -> None:
    """What does not verify is not installed, and nobody hears of it."""
    with pytest.raises(BundleRefused):
        await phone.device.install(phone.bundle()[:-50])
    assert not phone.device.passes
    assert not phone.web.asked


async def test_trying_again(phone: Phone, waits: Waits) -> None:
    """A failed task is tried again with growing delay and not before Retry-After; after four
    attempts it is given up."""
    phone.web.scripted["register"] = [
        Reply(503, (("retry-after", "20"),)),
        Reply(500),
        Reply(429, (("retry-after", "1"),)),
    ]
    await phone.device.install(phone.bundle())
    assert waits.seconds == [20.0, 3.0, 9.0]
    phone.web.scripted["fetch"] = [Reply(503)] * 4
    with pytest.raises(GaveUp, match="status 503 at attempt 4"):
        await phone.device.fetch(KEY)
    assert waits.seconds[3:] == [1.0, 3.0, 9.0]


async def test_slow_readers(fleet: WalletFleet, phone: Phone, waits: Waits) -> None:
    """A slow device waits before it asks and between the pieces it reads, and gets it all."""
    slow = fleet.add_device(pace=Pace(reaction_seconds=2.0, chunk_seconds=0.5))
    await slow.install(phone.bundle())
    phone.put(points=8)
    assert await slow.update(PASS_TYPE) == 1
    assert waits.seconds[0] == 2.0
    assert len(waits.seconds) > 2
    assert set(waits.seconds[1:]) == {0.5}


GERMAN = {"de.lproj/pass.strings": '"Now %@" = "Jetzt %@";\n"Gold" = "gülden";'.encode("utf-16")}


async def test_lock_screen(shop: Shop, web: ScriptedService, fleet: WalletFleet) -> None:
    """One changed field with a message shows that with its new value, in the owner's language;
    several show one general line; a change without a message shows nothing."""
    device = fleet.add_device(languages=("de-CH", "en"))

    def bundle(points: int | str, note: str, **changed: Any) -> bytes:
        document = pass_document(points=0, **changed)
        card = document["storeCard"]
        card["headerFields"][0]["value"], card["backFields"][0]["value"] = points, note
        return make_bundle(shop.issued, document, more=GERMAN)

    web.put("A1", bundle(7, "a"))
    await device.install(bundle(7, "a"))
    shown: list[list[Alert]] = []
    for version in (
        bundle("Gold", "a"),
        bundle(8, "b"),
        bundle(8, "b", logoText="Club"),
        bundle(8, "c"),
    ):
        web.put("A1", version)
        assert await device.update(PASS_TYPE) == 1
        shown.append(device.seen.lock_screen)
        device.seen.lock_screen = []
    lines = [[each.line for each in alerts] for alerts in shown]
    assert lines == [["Jetzt gülden"], ["Pass updated"], [], ["Note: c"]]
    [several] = shown[1]
    assert {each.key: each.text for each in several.changes} == {
        "points": "Jetzt 8",
        "note": "Note: b",
    }
    assert several.title == "Example Coffee"
