"""A stand-in for Apple's push service, and a client with a certificate for its pass type."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from passmill.dev.authority import ThrowawayAuthority
from passmill.dev.fake_apns import FakeApns, FakeApnsCertificates
from tests.support.push_client import client_tls

TOPIC = "pass.com.example.club"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Certificates of both sides."""

    authority: ThrowawayAuthority
    certificates: FakeApnsCertificates
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def trust() -> Trust:
    """Made once."""
    now = datetime.now(UTC)
    authority = ThrowawayAuthority(now=now)
    issued = authority.issue_pass_certificate(now=now, pass_type_identifier=TOPIC)
    return Trust(
        authority=authority,
        certificates=FakeApnsCertificates.issued_by(authority, now=now),
        client=client_tls(authority, issued),
    )


@pytest_asyncio.fixture
async def apns(trust: Trust) -> AsyncIterator[FakeApns]:
    """A server without a script; what clients do wrong fails the test that does not expect it."""
    async with FakeApns(trust.certificates) as server:
        yield server


@pytest.fixture
def token() -> str:
    """A device token as Apple's."""
    return secrets.token_hex(32)
