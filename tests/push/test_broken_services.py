"""Services that cannot be reached, refuse, break off or are silent: every push ends, and nobody is
hammered."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from passmill._signer import PushEngine, PushPool
from passmill.dev.authority import KeyType, ThrowawayAuthority
from passmill.dev.fake_apns import FakeApns, Hang, Rule, Script
from tests.push import hostile
from tests.push.conftest import push, until
from tests.push.trust import TOPIC, PushTrust, load

Open = Callable[..., PushPool]

_NEVER = 50.0
"""Seconds: longer than a test may take. What ends although this is its deadline ended early."""


def _reasons(pool: PushPool, *, deadline_seconds: float, count: int = 300) -> Counter[str]:
    tokens = [secrets.token_hex(32) for _ in range(count)]
    details = push(pool, tokens, deadline_seconds=deadline_seconds)
    assert {status for _, status, _, _ in details} <= {0}
    return Counter(reason for _, _, reason, _ in details)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (hostile.silent, "TIMEOUT"),
        (hostile.silent_after_settings, "TIMEOUT"),
        (hostile.half_closed, "RESET"),
        (hostile.reset, "RESET"),
        (hostile.garbled, "RESET"),
        (hostile.endless_frame, "RESET"),
    ],
)
def test_every_push_ends(trust: PushTrust, open_pool: Open, act: hostile.Act, reason: str) -> None:
    """All pushes end as unreachable by the deadline, whatever the service does after TLS: for the
    reason, if they were sent by then, else as not connected. It is asked a few times only: at once
    after the first failure, then after growing waits."""
    with hostile.tls_server(trust.certificates, act) as server:
        pool = open_pool(server.port, connect_seconds=0.4, ping_seconds=0.4)
        reasons = _reasons(pool, deadline_seconds=2.0)
        assert sum(reasons.values()) == 300
        assert reasons[reason] + reasons["CONNECT"] > 0
        assert 2 <= server.connections <= 9
        pool.close()


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)])
def test_without_http2(trust: PushTrust, open_pool: Open, protocols: tuple[str, ...]) -> None:
    """A service that does not choose HTTP/2 is not spoken to."""
    heard = bytearray()

    def listen(tls: ssl.SSLSocket) -> None:
        heard.extend(tls.recv(1000))

    with hostile.tls_server(trust.certificates, listen, protocols=protocols) as server:
        pool = open_pool(server.port)
        assert _reasons(pool, deadline_seconds=0.5) == {"CONNECT": 300}
        pool.close()
    assert not heard


@pytest.mark.parametrize(
    ("first", "abort"),
    [
        (b"", True),
        (b"", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n" * 50, False),
    ],
)
def test_no_handshake(open_pool: Open, first: bytes, abort: bool) -> None:
    """A handshake that breaks off, or is none, is tried again until the deadline."""
    with hostile.raw_server(first, abort=abort) as server:
        pool = open_pool(server.port)
        assert _reasons(pool, deadline_seconds=1.0) == {"CONNECT": 300}
        assert 2 <= server.connections <= 7
        pool.close()


def test_nobody_there(open_pool: Open) -> None:
    """A closed port and a name without address are told apart."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert _reasons(open_pool(port), deadline_seconds=0.5) == {"CONNECT": 300}
    pool = open_pool(443, host="push.invalid", connect_seconds=5.0)
    assert _reasons(pool, deadline_seconds=5.0) == {"DNS": 300}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_our_certificate_is_refused(
    trust: PushTrust, open_pool: Open, version: ssl.TLSVersion
) -> None:
    """A service that refuses our certificate, which with TLS 1.3 it says after the handshake, ends
    all pushes long before their deadline, after a few connections; none was sent."""
    stranger = ThrowawayAuthority(now=datetime.now(UTC))
    strict = replace(trust.certificates, client_authorities=(stranger.root_pem,))
    act = hostile.silent_after_settings
    with hostile.tls_server(strict, act, version=version, is_strict=True) as server:
        pool = open_pool(server.port)
        assert _reasons(pool, deadline_seconds=_NEVER) == {"TLS": 300}
        # Two refusals; TCP may swallow the alert of one more.
        assert 2 <= server.connections <= 4
        assert _reasons(pool, deadline_seconds=_NEVER, count=1) == {"TLS": 1}
        assert pool.requests == 0
        pool.close()


async def test_their_certificate_is_refused(trust: PushTrust, open_pool: Open) -> None:
    """A service whose certificate is another authority's, or another name's, gets no push; without
    roots of ours the public ones are trusted alone."""
    now = datetime.now(UTC)
    other = trust.authority.issue_server_certificate(now=now, names=("push.example",))
    misnamed = replace(
        trust.certificates,
        server_certificate=other.certificate_pem,
        server_key=other.private_key_pem,
    )
    async with FakeApns(trust.certificates) as server, FakeApns(misnamed) as misnamed_server:
        public = PushPool(PushEngine(), trust.identity, host="localhost", port=server.port)
        for pool in (
            open_pool(server.port, roots=ThrowawayAuthority(now=now).root_pem),
            open_pool(misnamed_server.port),
            public,
        ):
            found = await asyncio.to_thread(_reasons, pool, deadline_seconds=_NEVER)
            assert found == {"TLS": 300}
        public.close()
        assert server.pushes + misnamed_server.pushes == 0


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.RSA_3072, KeyType.P256])
async def test_every_kind_of_key(trust: PushTrust, open_pool: Open, key_type: KeyType) -> None:
    """Each key that passes are signed with opens the door: it signs the handshake where it is."""
    now = datetime.now(UTC)
    issued = trust.authority.issue_pass_certificate(
        now=now, pass_type_identifier=TOPIC, key_type=key_type
    )
    async with FakeApns(trust.certificates) as server:
        pool = open_pool(server.port, identity=load(issued, now=now))
        assert not await asyncio.to_thread(_reasons, pool, deadline_seconds=10.0, count=3)
        assert server.pushes == 3


async def test_a_dead_line_is_noticed(trust: PushTrust, open_pool: Open) -> None:
    """Pings keep an idle connection and find out when it is dead: the next push goes over a new one
    at once, and none is sent into the void."""
    async with FakeApns(trust.certificates) as server:
        pool = open_pool(server.port, ping_seconds=0.2)
        assert not await asyncio.to_thread(_reasons, pool, deadline_seconds=10.0, count=3)
        await asyncio.sleep(1.5)
        assert not await asyncio.to_thread(_reasons, pool, deadline_seconds=10.0, count=3)
        assert pool.connections == 1
        server.freeze_all()
        await asyncio.sleep(2.0)
        assert not await asyncio.to_thread(_reasons, pool, deadline_seconds=10.0, count=3)
        assert pool.connections == 2
        assert pool.requests == 9


async def test_closing_ends_what_is_pushed(trust: PushTrust, open_pool: Open) -> None:
    """A closed pool's pushes end as unreachable at once, and its connections end."""
    script = Script(rules=(Rule(answer=Hang()),))
    async with FakeApns(trust.certificates, script) as server:
        pool = open_pool(server.port)
        pushing = asyncio.create_task(asyncio.to_thread(_reasons, pool, deadline_seconds=_NEVER))
        await until(lambda: server.pushes > 0)
        pool.close()
        assert await pushing == {"CLOSED": 300}
        await server.until_idle()


async def test_a_lost_service_is_found_again(trust: PushTrust, open_pool: Open) -> None:
    """A service that goes away in the middle of a call and comes back loses no push."""
    script = Script(rules=(Rule(delay_seconds=0.02),))
    async with FakeApns(trust.certificates, script) as server:
        pool = open_pool(server.port)
        pushing = asyncio.create_task(
            asyncio.to_thread(_reasons, pool, deadline_seconds=30.0, count=3000)
        )
        await until(lambda: server.pushes >= 1000)
        async with server.away():
            await asyncio.sleep(0.5)
        assert not await pushing
        assert len(server.log.accepted()) == 3000
