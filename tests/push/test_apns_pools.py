"""Pools of connections, a topic each."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest_asyncio

from passmill.dev.fake_apns import FakeApns, Hang, Rule, Script
from passmill.domain.clock import SystemClock
from passmill.domain.ids import TenantId
from passmill.domain.push_outcomes import ACCEPTED, PushOutcome, PushState
from passmill.push.apns import ApnsEndpoint, ApnsPools
from tests.push.conftest import until
from tests.push.trust import PushTrust

_TENANT = TenantId(1)
_OTHER_TENANT = TenantId(2)


class _Hours:
    """A monotonic clock that is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest_asyncio.fixture
async def apns(trust: PushTrust) -> AsyncIterator[FakeApns]:
    """A service without a script."""
    async with FakeApns(trust.certificates) as server:
        yield server


@pytest_asyncio.fixture
async def hours() -> _Hours:
    """The pools' time."""
    return _Hours()


@pytest_asyncio.fixture
async def pools(trust: PushTrust, apns: FakeApns, hours: _Hours) -> AsyncIterator[ApnsPools]:
    """Pools of that service; two topics are kept."""
    endpoint = ApnsEndpoint(host="localhost", port=apns.port, roots=trust.roots)
    pools = ApnsPools(endpoint, clock=SystemClock(), topics=2, monotonic=hours)
    yield pools
    await pools.close()


def _tokens(count: int) -> list[str]:
    return [secrets.token_hex(32) for _ in range(count)]


async def _until_open(apns: FakeApns, count: int) -> None:
    await until(lambda: apns.open_connections == count)


async def test_outcomes_are_values(trust: PushTrust, apns: FakeApns, pools: ApnsPools) -> None:
    """Outcomes come in the tokens' order; a dead token's time is aware; an unknown refusal of one
    token is nobody else's."""
    tokens = _tokens(50)
    at = datetime(2026, 11, 1, 12, 0, 0, 250_000, tzinfo=UTC)
    apns.tokens.retire(tokens[7], at)
    apns.tokens.add(tokens[9], "pass.com.example.other")
    outcomes = await pools.push(_TENANT, trust.identity, tokens)
    wanted = [ACCEPTED] * 50
    wanted[7] = PushOutcome(state=PushState.INVALIDATED, status=410, reason="Unregistered", at=at)
    wanted[9] = PushOutcome(state=PushState.REJECTED, status=400, reason="DeviceTokenNotForTopic")
    assert outcomes == wanted
    assert await pools.push(_TENANT, trust.identity, []) == []


async def test_pushes_are_kept_for_a_week(
    trust: PushTrust, apns: FakeApns, pools: ApnsPools
) -> None:
    """Apple is asked to keep a push for a device that is off for seven days."""
    before = datetime.now(UTC) + timedelta(days=7)
    await pools.push(_TENANT, trust.identity, _tokens(1))
    [record] = apns.log.records
    expiration = datetime.fromtimestamp(record.expiration, UTC)
    assert before - timedelta(seconds=1) <= expiration <= datetime.now(UTC) + timedelta(days=7)


async def test_a_topic_has_one_pool(trust: PushTrust, apns: FakeApns, pools: ApnsPools) -> None:
    """Calls for one topic share its connection; another tenant has its own, even for the same pass
    type."""
    calls = [pools.push(_TENANT, trust.identity, _tokens(20)) for _ in range(5)]
    assert await asyncio.gather(*calls) == [[ACCEPTED] * 20] * 5
    assert apns.log.connections == 1
    assert await pools.push(_OTHER_TENANT, trust.identity, _tokens(1)) == [ACCEPTED]
    assert apns.log.connections == 2


async def test_another_certificate_closes_the_old_connections(
    trust: PushTrust, apns: FakeApns, pools: ApnsPools
) -> None:
    """After a rotation pushes go over connections with the new certificate; the old ones close, but
    not under a call that uses them."""
    slow = frozenset(_tokens(3))
    apns.play(Script(rules=(Rule(tokens=slow, delay_seconds=0.5),)))
    under_way = asyncio.create_task(pools.push(_TENANT, trust.identity, list(slow)))
    await _until_open(apns, 1)
    await until(lambda: apns.pushes >= 3)
    assert await pools.push(_TENANT, trust.another(), _tokens(3)) == [ACCEPTED] * 3
    assert apns.log.connections == 2
    assert await under_way == [ACCEPTED] * 3
    await _until_open(apns, 1)


async def test_unused_connections_close(
    trust: PushTrust, apns: FakeApns, pools: ApnsPools, hours: _Hours
) -> None:
    """Connections close after an hour without a push, and the least recently used go when there are
    too many topics."""
    await pools.push(_TENANT, trust.identity, _tokens(1))
    hours.seconds = 3599
    await pools.push(_OTHER_TENANT, trust.identity, _tokens(1))
    pools.close_idle()
    assert apns.open_connections == 2
    hours.seconds = 3600
    pools.close_idle()
    await _until_open(apns, 1)
    for topic in ("pass.com.example.second", "pass.com.example.third"):
        await pools.push(_TENANT, trust.another(topic), _tokens(1))
    await _until_open(apns, 2)


async def test_closing_ends_what_is_pushed(
    trust: PushTrust, apns: FakeApns, pools: ApnsPools
) -> None:
    """Closing ends the pushes under way as unreachable and all connections."""
    apns.play(Script(rules=(Rule(answer=Hang()),)))
    under_way = asyncio.create_task(pools.push(_TENANT, trust.identity, _tokens(2)))
    await until(lambda: apns.pushes >= 2)
    await pools.close()
    ended = PushOutcome(state=PushState.UNREACHABLE, status=0, reason="CLOSED")
    assert await under_way == [ended] * 2
    await _until_open(apns, 0)
