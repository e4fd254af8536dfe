"""Devices hear of pushes, offline or not, and react once."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from passmill.dev.fake_apns import Fate, Post, PushRecord
from passmill.dev.wallet_device.device import PassKey
from passmill.dev.wallet_device.errors import UnexpectedStatus
from passmill.dev.wallet_device.fleet import WalletFleet
from passmill.dev.wallet_device.web_service import Pace
from tests.wallet_device.conftest import Shop, Waits
from tests.wallet_device.made_passes import PASS_TYPE, make_bundle, pass_document
from tests.wallet_device.scripted_service import Reply, ScriptedService

KEY = PassKey(PASS_TYPE, "A1")
HOUR = 3600


def _push(post: Post, token: str, *, is_lost: bool = False) -> None:
    post.bring(
        PushRecord(
            at=time.monotonic(),
            token=token,
            topic=PASS_TYPE,
            status=200,
            reason="",
            fate=Fate.ANSWERED,
            is_accepted=True,
            is_lost=is_lost,
            expiration=int(datetime.now(UTC).timestamp()) + HOUR,
            connection=1,
            stream=1,
            apns_id="",
        )
    )


def _points(fleet: WalletFleet, key: PassKey = KEY) -> list[int]:
    return [
        content.document["storeCard"]["headerFields"][0]["value"]
        for content in fleet.installed(key)
    ]


@pytest.fixture
def post(fleet: WalletFleet) -> Post:
    """What brings the pushes."""
    return fleet.post


async def test_a_push_updates(
    shop: Shop, web: ScriptedService, fleet: WalletFleet, post: Post
) -> None:
    """A push to the registered token makes its device fetch the change; several that come while it
    is busy make it look once more; a lost one changes nothing."""
    web.put("A1", make_bundle(shop.issued))
    device, other = fleet.add_device(), fleet.add_device()
    for each in (device, other):
        await fleet.install(each, make_bundle(shop.issued))
    token = web.registrations[device.library_identifier, "A1"]
    web.put("A1", make_bundle(shop.issued, pass_document(points=8)))
    _push(post, token, is_lost=True)
    await fleet.settle()
    assert _points(fleet) == [7, 7]
    for _ in range(5):
        _push(post, token)
    await fleet.settle()
    assert _points(fleet) == [8, 7]
    assert (device.seen.pushes, device.seen.rounds) == (5, 1)
    fleet.raise_failures()


async def test_a_push_while_busy(
    shop: Shop, web: ScriptedService, fleet: WalletFleet, waits: Waits
) -> None:
    """A push that comes while the device asks makes it ask once more, so nothing is missed."""
    web.put("A1", make_bundle(shop.issued))
    device = fleet.add_device(pace=Pace(reaction_seconds=1.0))
    await fleet.install(device, make_bundle(shop.issued))

    def change_again() -> None:
        if len(waits.seconds) == 1:
            web.put("A1", make_bundle(shop.issued, pass_document(points=9)))
            _push(fleet.post, device.push_token(PASS_TYPE))

    waits.meanwhile = change_again
    _push(fleet.post, device.push_token(PASS_TYPE))
    await fleet.settle()
    assert (device.seen.pushes, device.seen.rounds) == (2, 2)
    assert _points(fleet) == [9]


async def test_offline(shop: Shop, web: ScriptedService, fleet: WalletFleet, post: Post) -> None:
    """A device that is offline hears of the last push when it is back, and has the newest."""
    web.put("A1", make_bundle(shop.issued))
    device = fleet.add_device()
    await fleet.install(device, make_bundle(shop.issued))
    fleet.take_offline(device)
    for points in (8, 9):
        web.put("A1", make_bundle(shop.issued, pass_document(points=points)))
        _push(post, device.push_token(PASS_TYPE))
    fleet.ask_all(PASS_TYPE)
    await fleet.settle()
    assert _points(fleet) == [7]
    fleet.bring_online(device)
    await fleet.settle()
    assert (_points(fleet), device.seen.pushes) == ([9], 1)


async def test_one_phone_under_two_identifiers(
    shop: Shop, web: ScriptedService, fleet: WalletFleet, post: Post
) -> None:
    """Two devices with one token both hear of one push; a renewed token is registered, and the old
    one is nobody's."""
    web.put("A1", make_bundle(shop.issued))
    device = fleet.add_device()
    twin = fleet.add_device(push_tokens={PASS_TYPE: device.push_token(PASS_TYPE)})
    for each in (device, twin):
        await fleet.install(each, make_bundle(shop.issued))
    assert len(set(web.registrations.values())) == 1
    web.put("A1", make_bundle(shop.issued, pass_document(points=8)))
    _push(post, device.push_token(PASS_TYPE))
    await fleet.settle()
    assert _points(fleet) == [8, 8]
    old = await fleet.renew_push_token(twin, PASS_TYPE)
    assert web.registrations[twin.library_identifier, "A1"] == twin.push_token(PASS_TYPE) != old
    web.put("A1", make_bundle(shop.issued, pass_document(points=9)))
    _push(post, old)
    await fleet.settle()
    assert _points(fleet) == [9, 8]


async def test_many_devices(
    shop: Shop, web: ScriptedService, fleet: WalletFleet, post: Post
) -> None:
    """Many devices with two passes each converge; a service that fails one of them shows in
    the failures, with the device, and the others go on."""
    devices = [fleet.add_device() for _ in range(50)]
    bundles = {serial: make_bundle(shop.issued, pass_document(serial)) for serial in ("A1", "B2")}
    for serial, bundle in bundles.items():
        web.put(serial, bundle)
    await fleet.install_all((device, bundle) for device in devices for bundle in bundles.values())
    assert len(web.registrations) == 100
    for serial in bundles:
        web.put(serial, make_bundle(shop.issued, pass_document(serial, points=8)))
    web.scripted["fetch"] = [Reply(401)]
    for token in set(web.registrations.values()):
        _push(post, token)
    await fleet.settle()
    [(_, error)] = fleet.failures
    assert isinstance(error, UnexpectedStatus)
    with pytest.raises(ExceptionGroup):
        fleet.raise_failures()
    fleet.ask_all(PASS_TYPE)
    await fleet.settle()
    for serial in bundles:
        assert _points(fleet, PassKey(PASS_TYPE, serial)) == [8] * 50
    assert fleet.traffic.of("register", 201) == 100
