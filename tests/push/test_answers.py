"""The engine against a service that answers as Apple's: what becomes of a push."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from passmill._signer import PushPool
from passmill.dev.fake_apns import Body, FakeApns, Headers, Refuse, Rule, Script, StreamLimits
from passmill.dev.fake_apns.script import Accept
from tests.push.conftest import push, until
from tests.push.trust import TOPIC, PushTrust

Open = Callable[..., PushPool]

_REFUSALS = {
    "bad token": (Refuse(status=400, reason="BadDeviceToken"), (400, "BadDeviceToken", 0)),
    "certificate": (Refuse(status=403, reason="BadCertificate"), (403, "BadCertificate", 0)),
    "too large": (Refuse(status=413, reason="PayloadTooLarge"), (413, "PayloadTooLarge", 0)),
    "no body": (Refuse(status=400, reason="BadTopic", body=Body.NONE), (400, "", 0)),
    "HTML": (Refuse(status=404, body=Body.HTML), (404, "", 0)),
    "cut": (Refuse(status=405, reason="MethodNotAllowed", body=Body.TRUNCATED), (405, "", 0)),
    "long": (Refuse(status=400, reason="BadPriority", body=Body.LONG), (400, "", 0)),
    "dead, since nobody knows": (
        Refuse(status=410, reason="Unregistered"),
        (410, "Unregistered", 0),
    ),
    "dead": (
        Refuse(
            status=410,
            reason="ExpiredToken",
            timestamp=datetime(2026, 11, 1, 0, 0, 1, 500_000, UTC),
        ),
        (410, "ExpiredToken", 1_793_491_201_500),
    ),
    "odd headers": (
        Refuse(status=400, reason="BadTopic", headers=Headers.ODD),
        (400, "BadTopic", 0),
    ),
}


def _tokens(count: int) -> list[str]:
    return [secrets.token_hex(32) for _ in range(count)]


async def test_refusals(trust: PushTrust, open_pool: Open) -> None:
    """Every kind of refusal ends its push with status, reason and time, whatever its body is, and
    the others are accepted; invalidated is only what has a time."""
    tokens = _tokens(500)
    refused = dict(zip(tokens[::40], itertools.cycle(_REFUSALS.values()), strict=False))
    rules = tuple(
        Rule(answer=answer, tokens=frozenset({token})) for token, (answer, _) in refused.items()
    )
    async with FakeApns(trust.certificates, Script(rules=rules)) as server:
        pool = open_pool(server.port)
        details = await asyncio.to_thread(push, pool, tokens)
        found = {tokens[index]: (status, reason, at) for index, status, reason, at in details}
        assert found == {token: wanted for token, (_, wanted) in refused.items()}
        assert server.log.accepted() == dict.fromkeys(set(tokens) - set(refused), 1)
        assert pool.requests == len(tokens)
        assert pool.connections == 1
        assert not server.log.protocol_errors


async def test_busy_answers_are_tried_again(trust: PushTrust, open_pool: Open) -> None:
    """429, 500 and 503 are sent again, never the same token within a second, until accepted."""
    tokens = _tokens(60)
    busy = [
        Refuse(status=429, reason="TooManyRequests", retry_after="2"),
        Refuse(status=500, reason="InternalServerError"),
        Refuse(status=503, reason="ServiceUnavailable", body=Body.NONE),
    ]
    rules = tuple(
        Rule(answer=answer, tokens=frozenset(tokens[number::3]), token_pushes=frozenset({1, 2}))
        for number, answer in enumerate(busy)
    )
    async with FakeApns(trust.certificates, Script(rules=rules)) as server:
        pool = open_pool(server.port)
        assert await asyncio.to_thread(push, pool, tokens, deadline_seconds=20) == []
        for number, token in enumerate(tokens):
            tries = server.log.of_token(token)
            assert [each.status for each in tries] == [busy[number % 3].status] * 2 + [200]
            least = 2.0 if number % 3 == 0 else 1.0
            waits = [after.at - before.at for before, after in itertools.pairwise(tries)]
            # When an answer is written and when the next request is read may differ by a little.
            assert min(waits) > least - 0.1


async def test_attempts_are_bounded(trust: PushTrust, open_pool: Open) -> None:
    """A token that is always answered 503 is sent `attempts` times and rejected with that."""
    tokens = _tokens(5)
    script = Script(rules=(Rule(answer=Refuse(status=503, reason="ServiceUnavailable")),))
    async with FakeApns(trust.certificates, script) as server:
        pool = open_pool(server.port)
        outcomes = await asyncio.to_thread(
            pool.push_many, tokens, topic=TOPIC, expiration=0, deadline_seconds=30, attempts=2
        )
        wanted = [(index, 503, "ServiceUnavailable", 0) for index in range(5)]
        assert outcomes.details == wanted
        assert outcomes.statuses == bytes([1] * 5)
        assert pool.requests == 10


async def test_requests_are_apples(trust: PushTrust, open_pool: Open) -> None:
    """The stand-in, which checks path, topic, headers and payload as Apple does, takes every push,
    and hears the expiration."""
    async with FakeApns(trust.certificates) as server:
        pool = open_pool(server.port, host="localhost")
        tokens = _tokens(20)
        outcomes = await asyncio.to_thread(
            pool.push_many, tokens, topic=TOPIC, expiration=1_800_000_000, deadline_seconds=10
        )
        assert outcomes.statuses == bytes(20)
        assert {each.expiration for each in server.log.records} == {1_800_000_000}
        assert {each.topic for each in server.log.records} == {TOPIC}


async def test_the_wrong_topic_is_refused(trust: PushTrust, open_pool: Open) -> None:
    """A certificate of another topic is answered as Apple does, push by push."""
    async with FakeApns(trust.certificates) as server:
        pool = open_pool(server.port, identity=trust.another("pass.com.example.other"))
        details = await asyncio.to_thread(push, pool, _tokens(3))
        assert {status for _, status, _, _ in details} == {400}
        assert len(details) == 3


async def test_streams_are_obeyed(trust: PushTrust, open_pool: Open) -> None:
    """MAX_CONCURRENT_STREAMS of 1 and a window of one byte slow pushes down and lose none; the
    service sees no excess."""
    limits = StreamLimits(max_concurrent_streams=1, initial_window=1)
    async with FakeApns(trust.certificates, Script(limits=limits)) as server:
        tokens = _tokens(200)
        assert await asyncio.to_thread(push, open_pool(server.port), tokens) == []
        assert server.log.accepted() == dict.fromkeys(tokens, 1)
        assert not server.log.protocol_errors


async def test_calls_share_a_connection(trust: PushTrust, open_pool: Open) -> None:
    """A small call beside a large one is not made to wait for it: it ends while the large one's
    pushes are still under way."""
    script = Script(
        rules=(Rule(answer=Accept(), delay_seconds=0.05),),
        limits=StreamLimits(max_concurrent_streams=10),
    )
    async with FakeApns(trust.certificates, script) as server:
        pool = open_pool(server.port)
        large = asyncio.create_task(asyncio.to_thread(push, pool, _tokens(400)))
        await until(lambda: server.pushes >= 10)
        assert await asyncio.to_thread(push, pool, _tokens(5)) == []
        assert server.pushes < 300
        assert await large == []
        assert pool.connections == 1


async def test_tokens_that_are_none(trust: PushTrust, open_pool: Open) -> None:
    """A token that could leave its path is rejected as a bad one and never sent; the others are."""
    async with FakeApns(trust.certificates) as server:
        pool = open_pool(server.port)
        good = _tokens(2)
        bad = ["", "../../x", "a b", "a?b", "ä", "x" * 513, "a\r\nb", "%2e"]
        details = await asyncio.to_thread(push, pool, [good[0], *bad, good[1]])
        assert details == [(index, 400, "BadDeviceToken", 0) for index in range(1, 9)]
        assert server.pushes == 2


async def test_secrets_stay_inside(
    trust: PushTrust, open_pool: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither `repr`, nor errors, nor what the process writes have a token."""
    token = secrets.token_hex(32)
    async with FakeApns(trust.certificates) as server:
        pool = open_pool(server.port)
        outcomes = await asyncio.to_thread(
            pool.push_many, [token], topic=TOPIC, expiration=0, deadline_seconds=5
        )
        with pytest.raises(ValueError, match="token 1 is not a text") as error:
            pool.push_many([token, b"x"], topic=TOPIC, expiration=0, deadline_seconds=5)  # type: ignore[list-item]
    for text in (repr(pool), repr(outcomes), str(error.value), *capfd.readouterr()):
        assert token not in text
    assert repr(outcomes) == "<PushOutcomes accepted=1 others=0>"


async def test_calls_that_cannot_be_made(trust: PushTrust, open_pool: Open) -> None:
    """What no service could answer is a ValueError, and so is a call on a closed pool."""
    pool = open_pool(1)
    with pytest.raises(ValueError, match="topic"):
        pool.push_many([], topic="a\nb", expiration=0, deadline_seconds=1)
    with pytest.raises(ValueError, match="deadline_seconds"):
        pool.push_many([], topic=TOPIC, expiration=0, deadline_seconds=0)
    with pytest.raises(ValueError, match="1000000"):
        pool.push_many([""] * 1_000_001, topic=TOPIC, expiration=0, deadline_seconds=1)
    with pytest.raises(ValueError, match="host"):
        open_pool(1, host="not a host")
    with pytest.raises(ValueError, match="roots"):
        open_pool(1, roots=b"no certificate")
    assert len(pool.push_many([], topic=TOPIC, expiration=0, deadline_seconds=1)) == 0
    pool.close()
    with pytest.raises(ValueError, match="closed"):
        pool.push_many([], topic=TOPIC, expiration=0, deadline_seconds=1)
