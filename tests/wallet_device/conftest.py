"""Devices, and a small web service for them."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from passmill.dev.authority import IssuedCertificate, ThrowawayAuthority
from passmill.dev.fake_apns import Post
from passmill.dev.wallet_device.bundle import BundleVerifier
from passmill.dev.wallet_device.fleet import WalletFleet
from tests.wallet_device.made_passes import ORIGIN, PASS_TYPE, TEAM
from tests.wallet_device.scripted_service import ScriptedService, serve_scripted


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """An authority, and a pass certificate of it."""

    authority: ThrowawayAuthority
    issued: IssuedCertificate


@pytest.fixture(scope="session")
def shop() -> Shop:
    """Made once."""
    now = datetime.now(UTC)
    authority = ThrowawayAuthority(now=now)
    issued = authority.issue_pass_certificate(
        now=now, pass_type_identifier=PASS_TYPE, team_identifier=TEAM
    )
    return Shop(authority=authority, issued=issued)


@pytest_asyncio.fixture
async def web(shop: Shop) -> AsyncIterator[ScriptedService]:
    """A web service."""
    async with serve_scripted(shop.authority) as service:
        yield service


class Waits:
    """Notes how long devices would wait, and does not wait. `meanwhile`: what happens then."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.meanwhile: Callable[[], object] = lambda: None

    async def __call__(self, seconds: float) -> None:
        """One wait."""
        self.seconds.append(seconds)
        self.meanwhile()


@pytest.fixture
def waits() -> Waits:
    """What devices waited."""
    return Waits()


@pytest_asyncio.fixture
async def fleet(shop: Shop, web: ScriptedService, waits: Waits) -> AsyncIterator[WalletFleet]:
    """Devices that speak to the web service."""
    tls = ssl.create_default_context(cadata=shop.authority.root_pem.decode())
    async with WalletFleet(
        post=Post(),
        tls=tls,
        verifier=BundleVerifier(shop.authority.root_pem),
        origins={ORIGIN: web.origin},
        sleep=waits,
    ) as made:
        yield made
