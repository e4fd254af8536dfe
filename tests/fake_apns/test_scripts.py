"""What a script says happens, on the wire as it says."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from passmill.dev.fake_apns import (
    Accept,
    Body,
    Disconnect,
    FakeApns,
    Fate,
    Freeze,
    GoAway,
    Hang,
    Headers,
    LastStream,
    LimitsChange,
    Refuse,
    Reset,
    ResetCode,
    Rule,
    Script,
    StreamLimits,
    Tokens,
)
from passmill.dev.fake_apns.director import Director, Turn
from tests.fake_apns.conftest import TOPIC, Trust
from tests.support.push_client import PushClient, open_push_client, push_headers

ENDED = datetime(2026, 3, 4, 5, 6, 7, 891000, tzinfo=UTC)


async def _many(client: PushClient, count: int, start: int = 0) -> list[int]:
    return [client.send(push_headers(f"{start + n:064x}", TOPIC)) for n in range(count)]


@pytest.mark.parametrize("body", Body)
async def test_refusals_and_their_bodies(
    apns: FakeApns, trust: Trust, token: str, body: Body
) -> None:
    """Statuses, Retry-After and each kind of body come as they are written."""
    refuse = Refuse(status=429, reason="TooManyRequests", retry_after="7", body=body)
    apns.play(Script(rules=(Rule(answer=refuse),)))
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        stream = client.send(push_headers(token, TOPIC))
        if body is Body.UNFINISHED:
            await client.ask(push_headers("ab", TOPIC))
            answer = client.answers[stream]
            assert not answer.is_over
        else:
            answer = await client.until(stream)
    assert (answer.status, dict(answer.headers)["retry-after"]) == (429, "7")
    whole = b'{"reason":"TooManyRequests"}'
    match body:
        case Body.JSON | Body.UNFINISHED:
            assert answer.body == whole
        case Body.NONE:
            assert answer.body == b""
        case Body.TRUNCATED:
            assert answer.body == whole[:14]
        case Body.HTML:
            assert answer.body.startswith(b"<html>")
        case Body.LONG:
            assert len(json.loads(answer.body)["reason"]) == 40_000


async def test_ended_tokens(apns: FakeApns, trust: Trust, token: str) -> None:
    """A retired token is answered 410 with the millisecond it ended; a token of another topic, and
    an unknown one where tokens are known, are refused."""
    apns.tokens = Tokens(is_strict=True)
    apns.tokens.add("ab" * 32, "pass.com.example.other")
    apns.tokens.add(token, TOPIC)
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        good = await client.ask(push_headers(token, TOPIC))
        apns.tokens.retire(token, ENDED)
        gone = await client.ask(push_headers(token, TOPIC))
        other = await client.ask(push_headers("ab" * 32, TOPIC))
        unknown = await client.ask(push_headers("cd" * 32, TOPIC))
    assert (good.status, gone.status) == (200, 410)
    assert json.loads(gone.body) == {"reason": "Unregistered", "timestamp": 1772600767891}
    assert json.loads(other.body) == {"reason": "DeviceTokenNotForTopic"}
    assert (unknown.status, json.loads(unknown.body)) == (400, {"reason": "BadDeviceToken"})


async def test_odd_headers(apns: FakeApns, trust: Trust, token: str) -> None:
    """Odd headers are lawful HTTP/2; upper-case ones are not, and a strict client says so."""
    rules = (
        Rule(answer=Accept(headers=Headers.ODD), server_pushes=frozenset({1})),
        Rule(answer=Accept(headers=Headers.UPPER_CASE)),
    )
    apns.play(Script(rules=rules))
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        odd = await client.ask(push_headers(token, TOPIC))
        assert odd.status == 200
        assert [name for name, _ in odd.headers].count("apns-id") == 2
        client.send(push_headers(token, TOPIC))
        await client.until_lost()
        assert "uppercase header name" in client.violations[0]


async def test_hang_and_reset(apns: FakeApns, trust: Trust) -> None:
    """A hanging stream ends only with its connection; a reset one carries its code, and was
    delivered or not as the script has it."""
    rules = (
        Rule(answer=Hang(), server_pushes=frozenset({1})),
        Rule(answer=Reset(code=ResetCode.REFUSED_STREAM), server_pushes=frozenset({2})),
        Rule(answer=Reset(delivers=True), server_pushes=frozenset({3})),
    )
    apns.play(Script(rules=rules))
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        streams = await _many(client, 4)
        last = await client.until(streams[3])
        hung, refused, broken = (client.answers[stream] for stream in streams[:3])
        assert last.status == 200
        assert (hung.status, hung.is_over) == (0, False)
    assert (refused.reset_code, broken.reset_code) == (7, 2)
    assert [record.fate for record in apns.log.records] == [
        *(Fate.HUNG, Fate.RESET, Fate.RESET, Fate.ANSWERED)
    ]
    assert [record.is_accepted for record in apns.log.records] == [False, False, True, True]
    with pytest.raises(ValueError, match="REFUSED_STREAM"):
        Reset(code=ResetCode.REFUSED_STREAM, delivers=True)


@pytest.mark.parametrize("last_stream", LastStream)
async def test_go_away(apns: FakeApns, trust: Trust, last_stream: LastStream) -> None:
    """GOAWAY at the third of six streams in flight: what it names is answered and no other, its
    reason is in the debug data, and the connection ends."""
    rule = Rule(answer=GoAway(last_stream=last_stream), server_pushes=frozenset({3}))
    apns.play(Script(rules=(rule,)))
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        streams = await _many(client, 6)
        await client.until_lost()
        answered = [stream for stream in streams if client.answers[stream].status == 200]
    third = streams[2]
    expected = {
        LastStream.THIS: (third, streams[:3]),
        LastStream.BEFORE: (third - 2, streams[:2]),
        LastStream.NONE: (0, streams[:2]),
        LastStream.ANY: (2**31 - 1, streams),
    }[last_stream]
    assert (client.go_aways[0][0], answered) == expected
    assert json.loads(client.go_aways[0][1]) == {"reason": "Shutdown"}
    assert len(apns.log.records) == 6
    ignored = [record for record in apns.log.records if record.fate is Fate.IGNORED]
    assert len(ignored) == 6 - len(answered)


@pytest.mark.parametrize("abort", [True, False])
async def test_disconnect(apns: FakeApns, trust: Trust, abort: bool) -> None:
    """The connection ends at a push; those before it were answered, later ones never seen; the
    next connection is served."""
    rule = Rule(answer=Disconnect(abort=abort, delivers=True), connections=frozenset({1}))
    apns.play(Script(rules=(Rule(server_pushes=frozenset({1})), rule)))
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        first = await client.ask(push_headers(f"{1:064x}", TOPIC))
        await _many(client, 2, start=2)
        await client.until_lost()
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        again = await client.ask(push_headers(f"{2:064x}", TOPIC))
    assert (first.status, again.status, apns.log.connections) == (200, 200, 2)
    assert apns.log.accepted() == {f"{1:064x}": 1, f"{2:064x}": 2}


async def test_freeze(apns: FakeApns, trust: Trust) -> None:
    """A frozen connection is open and answers nothing more, not even a PING."""
    apns.play(Script(rules=(Rule(answer=Freeze(), server_pushes=frozenset({2})),)))
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        streams = await _many(client, 3)
        assert (await client.until(streams[0])).status == 200
        client.h2.ping(b"12345678")
        client.flush()
        async with open_push_client(apns.host, apns.port, trust.client) as other:
            assert (await other.ask(push_headers(f"{9:064x}", TOPIC))).status == 200
        assert not client.is_lost
        assert [client.answers[stream].is_over for stream in streams] == [True, False, False]


async def test_fewer_streams_in_flight(apns: FakeApns, trust: Trust) -> None:
    """MAX_CONCURRENT_STREAMS changes on a connection in use, and changes back by itself."""
    change = LimitsChange(limits=StreamLimits(max_concurrent_streams=1), for_seconds=0.05)
    rules = (Rule(change=change, server_pushes=frozenset({1})),)
    apns.play(Script(rules=rules, limits=StreamLimits(max_concurrent_streams=10)))
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        await client.until_settings(1)
        seen = [client.h2.remote_settings.max_concurrent_streams]
        await client.ask(push_headers(f"{1:064x}", TOPIC))
        for count in (2, 3):
            await client.until_settings(count)
            seen.append(client.h2.remote_settings.max_concurrent_streams)
    assert seen == [10, 1, 10]
    assert not apns.log.protocol_errors


async def test_tiny_window(apns: FakeApns, trust: Trust, token: str) -> None:
    """With a window of one byte the payload takes two frames."""
    apns.play(Script(limits=StreamLimits(initial_window=1)))
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        await client.until_settings(1)
        stream = client.send(push_headers(token, TOPIC), b"{", ends=False)
        await client.until_true(lambda: client.h2.local_flow_control_window(stream) >= 1)
        client.h2.send_data(stream, b"}", end_stream=True)
        client.flush()
        assert (await client.until(stream)).status == 200
    assert not apns.log.protocol_errors


async def test_delay_and_cut_off(apns: FakeApns, trust: Trust, token: str) -> None:
    """A delayed answer comes after those that came later; a client that goes before it was not
    answered, and its push is not accepted."""
    slow, never = "aa" * 32, "bb" * 32
    rules = (
        Rule(tokens=frozenset({slow}), delay_seconds=0.05),
        Rule(tokens=frozenset({never}), delay_seconds=60),
    )
    apns.play(Script(rules=rules))
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        streams = [client.send(push_headers(each, TOPIC)) for each in (never, slow, token)]
        assert (await client.until(streams[1])).status == 200
    await apns.until_idle()
    assert [record.token for record in apns.log.records] == [token, slow, never]
    assert apns.log.records[2].fate is Fate.CUT_OFF
    assert apns.log.accepted() == {token: 1, slow: 1}


async def test_whole_server(apns: FakeApns, trust: Trust, token: str) -> None:
    """All connections can be told GOAWAY, be cut, and be refused for a while on the same port."""
    port = apns.port
    async with open_push_client(apns.host, port, trust.client) as client:
        assert (await client.ask(push_headers(token, TOPIC))).status == 200
        apns.go_away_all(GoAway(last_stream=LastStream.ANY))
        await client.until_lost()
        assert client.go_aways[-1][0] == 1
    async with apns.away():
        with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system has it
            async with open_push_client(apns.host, port, trust.client):
                pass
    async with open_push_client(apns.host, port, trust.client) as client:
        assert (await client.ask(push_headers(token, TOPIC))).status == 200
        apns.disconnect_all(abort=True)
        await client.until_lost()


def _play(script: Script, pushes: int) -> list[Rule]:
    director = Director(script)
    return [
        director.choose(
            Turn(token=f"{n % 5}", connection=1, connection_push=n + 1, server_push=n + 1)
        )
        for n in range(pushes)
    ]


def test_fractions_are_repeatable() -> None:
    """A fraction of the pushes falls under a rule; the same seed chooses the same ones."""
    rule = Rule(answer=Refuse(status=503), fraction=0.25)
    chosen = [_play(Script(rules=(rule,), seed=seed), 2000) for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert 400 < Counter(chosen[0])[rule] < 600


def test_conditions_of_rules() -> None:
    """The n-th push of a token, each n-th of all, and at most so many; the first rule counts."""
    second = Rule(answer=Refuse(status=500), token_pushes=frozenset({2}))
    third = Rule(answer=Refuse(status=503), every=3, times=2)
    played = _play(Script(rules=(second, third)), 15)
    assert [n for n, rule in enumerate(played) if rule is second] == [5, 6, 7, 8, 9]
    assert [n for n, rule in enumerate(played) if rule is third] == [2, 11]


async def test_one_push_waits_for_an_offline_device(
    apns: FakeApns, trust: Trust, token: str
) -> None:
    """A device that is online hears at once; offline, the last one is kept until it expires; a lost
    one is accepted and never heard."""
    heard: list[float] = []

    def listen(delivery: object) -> None:
        heard.append(1)

    later = str(int((datetime.now(UTC) + timedelta(hours=1)).timestamp()))
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        apns.post.go_online(token, TOPIC, listen)
        await client.ask(push_headers(token, TOPIC))
        assert len(heard) == 1
        apns.post.go_offline(token, TOPIC, listen)
        await client.ask(push_headers(token, TOPIC))
        assert apns.post.kept(token, TOPIC) is None
        for _ in range(3):
            await client.ask(push_headers(token, TOPIC, apns_expiration=later))
        assert len(heard) == 1
        apns.post.go_online(token, TOPIC, listen)
        assert len(heard) == 2
        apns.play(Script(rules=(Rule(answer=Accept(is_lost=True)),)))
        lost = await client.ask(push_headers(token, TOPIC, apns_expiration=later))
    assert (lost.status, len(heard)) == (200, 2)
    assert apns.log.accepted() == {token: 6}
