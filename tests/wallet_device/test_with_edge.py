"""Devices of the protocol's strictest kind on the real edge."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from passmill.dev.fake_apns import Post
from passmill.dev.wallet_device.bundle import BundleVerifier
from passmill.dev.wallet_device.errors import UnexpectedStatus
from passmill.dev.wallet_device.fleet import WalletFleet
from passmill.dev.wallet_device.web_service import Pace
from passmill.v1.wallet_pass_pb2 import Pass
from tests.edge.rig import open_edge_on, tls_context
from tests.support.registry import add_registry_club
from tests.support.service import WEB_SERVICE_URL, Club, Service, authority
from tests.support.small_card import value

pytestmark = pytest.mark.asyncio(loop_scope="session")

_numbers = itertools.count()


@pytest_asyncio.fixture(loop_scope="session")
async def pass_type() -> str:
    """One that no other test's tenant has."""
    return f"pass.com.example.wallet{next(_numbers)}"


@pytest_asyncio.fixture(loop_scope="session")
async def club(service: Service, pass_type: str) -> Club:
    """A tenant that can issue passes of the type."""
    return await add_registry_club(service, pass_type)


@pytest_asyncio.fixture(loop_scope="session")
async def phones(service: Service) -> AsyncIterator[WalletFleet]:
    """Devices that reach the service's edge by the address their passes name."""
    async with (
        open_edge_on(service.settings) as edge,
        WalletFleet(
            post=Post(),
            tls=tls_context(),
            verifier=BundleVerifier(authority().root_pem, openssl_every=10),
            origins={WEB_SERVICE_URL: edge.url},
        ) as fleet,
    ):
        yield fleet


async def _change(club: Club, wallet_pass: Pass, points: int) -> None:
    wanted = Pass()
    wanted.values["points"].CopyFrom(value(points))
    await club.update(wallet_pass, "values.points", wanted=wanted)


async def test_devices_converge(club: Club, phones: WalletFleet, pass_type: str) -> None:
    """Devices with two passes each, two of them one phone and one slow, install, register, and
    have the newest versions after each round; what did not change is not fetched; a pass that was
    deleted is not listed."""
    issued = [await club.issue() for _ in range(6)]
    devices = [phones.add_device() for _ in range(3)]
    devices.append(phones.add_device(push_tokens={pass_type: devices[0].push_token(pass_type)}))
    devices.append(phones.add_device(pace=Pace(reaction_seconds=0.1, chunk_seconds=0.001)))
    bundles = [await club.bundle(each) for each in issued]
    pairs = [(device, bundles[(n + m) % 6]) for n, device in enumerate(devices) for m in range(2)]
    await phones.install_all(pairs)
    for points in (8, 9, 10):
        for each in issued[:4]:
            await _change(club, each, points)
        phones.ask_all(pass_type)
        await phones.settle()
        phones.raise_failures()
        fetched = phones.traffic.of("fetch", 200)
    for device in devices:
        for key, installed in device.passes.items():
            changed = key.serial_number in {each.serial_number for each in issued[:4]}
            [shown] = [
                each["value"]
                for each in installed.content.document["generic"]["headerFields"]
                if each["key"] == "points"
            ]
            assert shown == (10 if changed else 7)
    phones.ask_all(pass_type)
    await phones.settle()
    phones.raise_failures()
    assert phones.traffic.of("fetch", 200) == fetched
    [key, kept] = devices[1].passes
    await devices[1].remove(key)
    for each in issued:
        await _change(club, each, 11)
    await phones.settle()
    assert await devices[1].update(pass_type) == 1
    assert list(devices[1].passes) == [kept]


async def test_a_wrong_token_is_refused_and_reported(
    club: Club, phones: WalletFleet, pass_type: str
) -> None:
    """A device whose pass has another pass's token is refused, and its complaint is taken."""
    first, second = [await club.bundle(await club.issue()) for _ in range(2)]
    device, other = phones.add_device(), phones.add_device()
    key = await phones.install(device, first)
    foreign = await phones.install(other, second)
    token = other.passes[foreign].content.authentication_token
    device.swap_token(key, token)
    with pytest.raises(UnexpectedStatus, match="401"):
        await device.fetch(key)
    assert phones.traffic.of("log", 200) == 1
    assert phones.failures == []
