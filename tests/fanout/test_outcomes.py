"""What APNs answers, and what becomes of registrations, topics and jobs."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from passmill.dev.fake_apns import Hang, Refuse, Reset, Rule, Script
from passmill.domain.push_outcomes import PushState
from passmill.domain.registrations import RemoveReason
from passmill.v1.wallet_pass_pb2 import Pass
from tests.fanout.conftest import Opener
from tests.support.fan_out import WAIT_SECONDS, FanOut, until

LATER = timedelta(hours=1)


async def held_by(fan_out: FanOut, count: int) -> tuple[Pass, list[str]]:
    """A pass on so many phones; their tokens."""
    wallet_pass = await fan_out.club.issue()
    return wallet_pass, [await fan_out.register(wallet_pass) for _ in range(count)]


async def push_states(fan_out: FanOut) -> Counter[tuple[PushState, str]]:
    """How the last push to each device ended."""
    rows = await fan_out.club.tenant.fetch(
        "SELECT push_state, push_reason FROM devices WHERE push_time IS NOT NULL"
    )
    return Counter((PushState(row["push_state"]), row["push_reason"]) for row in rows)


async def push_counts(fan_out: FanOut) -> Counter[tuple[PushState, str]]:
    """How many pushes ended how."""
    rows = await fan_out.club.tenant.fetch("SELECT state, reason, count FROM push_counts")
    return Counter({(PushState(row["state"]), row["reason"]): row["count"] for row in rows})


async def test_410_ends_what_is_older(fan_out: FanOut) -> None:
    """Of tokens that are gone, those end that were given before; one given again since stays."""
    now = datetime.now(UTC)
    wallet_pass, tokens = await held_by(fan_out, 300)
    for at, token in enumerate(tokens):
        fan_out.apns.tokens.retire(token, now + (LATER if at % 2 else -LATER))
    await fan_out.change(wallet_pass, 100)
    await fan_out.all_done()
    assert await fan_out.end_reasons() == {RemoveReason.TOKEN_GONE: 150, None: 150}
    assert set(await fan_out.tokens()) == set(tokens[::2])
    assert (await push_counts(fan_out))[PushState.INVALIDATED, "Unregistered"] == 300
    # Nobody who is gone is pushed again, as the index has heard of it.
    fan_out.apns.log.records.clear()
    await fan_out.change(wallet_pass, 101)
    await fan_out.all_done()
    assert {record.token for record in fan_out.apns.log.records} == set(tokens[::2])


async def test_few_bad_tokens_among_good_ones_end(fan_out: FanOut) -> None:
    """Two BadDeviceToken among many that are accepted end their registrations."""
    wallet_pass, tokens = await held_by(fan_out, 40)
    fan_out.apns.play(
        Script(
            rules=(
                Rule(
                    answer=Refuse(status=400, reason="BadDeviceToken"), tokens=frozenset(tokens[:2])
                ),
            )
        )
    )
    await fan_out.change(wallet_pass, 100)
    await fan_out.all_done()
    assert set(await fan_out.tokens()) == set(tokens[2:])
    assert await push_states(fan_out) == {
        (PushState.ACCEPTED, ""): 38,
        (PushState.REJECTED, "BadDeviceToken"): 2,
    }


@pytest.mark.parametrize("count", [1, 60])
async def test_when_no_token_fits_the_topic_nothing_is_deleted(count: int, fan_out: FanOut) -> None:
    """400 DeviceTokenNotForTopic for every token is the certificate's fault, however few they
    are."""
    wallet_pass, tokens = await held_by(fan_out, count)
    wrong = Rule(answer=Refuse(status=400, reason="DeviceTokenNotForTopic"))
    fan_out.apns.play(Script(rules=(wrong,)))
    await fan_out.change(wallet_pass, 100)
    await until(lambda: len(fan_out.apns.log.records) >= count)
    await asyncio.sleep(0.3)
    assert await fan_out.end_reasons() == {None: count}
    assert set(await fan_out.tokens()) == set(tokens)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "BadCertificate"),
        (403, "BadCertificateEnvironment"),
        (400, "TopicDisallowed"),
        (400, "DeviceTokenNotForTopic"),
    ],
)
async def test_a_refused_topic_stops_and_goes_on(
    status: int, reason: str, open_worker_for: Opener
) -> None:
    """What is refused for the certificate stops the topic within 5 s, deletes nothing, is tried by
    one push at a time, and goes on when that is accepted: then every phone hears."""
    async with open_worker_for(probe_seconds=1.0) as fan_out:
        wallet_pass, tokens = await held_by(fan_out, 50)
        fan_out.apns.play(Script(rules=(Rule(answer=Refuse(status=status, reason=reason)),)))
        await fan_out.change(wallet_pass, 100)
        async with asyncio.timeout(5):
            while not await stopped(fan_out):  # noqa: ASYNC110 - done by the worker
                await asyncio.sleep(0.05)
        [row] = await stopped(fan_out)
        assert row["reason"] == reason
        asked, began = len(fan_out.apns.log.records), time.monotonic()
        await fan_out.change(wallet_pass, 101)
        await until(lambda: len(fan_out.apns.log.records) >= asked + 3)
        assert len(fan_out.apns.log.records) - asked <= time.monotonic() - began + 1
        fan_out.apns.play(Script())
        await fan_out.all_pushed(tokens)
        await fan_out.all_done()
        assert await stopped(fan_out) == []
        assert await fan_out.end_reasons() == {None: 50}


async def stopped(fan_out: FanOut) -> list[asyncpg.Record]:
    """Stopped pass types."""
    return list(await fan_out.club.tenant.fetch("SELECT * FROM stopped_topics"))


async def test_a_topic_that_was_good_deletes_nothing_when_it_is_refused(
    open_worker_for: Opener, capfd: pytest.CaptureFixture[str]
) -> None:
    """Phones that were reached before, and a certificate that then fits none of them: the topic
    stops once, nobody is deleted, and all hear when it fits again."""
    async with open_worker_for() as fan_out:
        wallet_pass, tokens = await held_by(fan_out, 20)
        await fan_out.change(wallet_pass, 100)
        await fan_out.all_done()
        wrong = Rule(answer=Refuse(status=400, reason="DeviceTokenNotForTopic"))
        fan_out.apns.play(Script(rules=(wrong,)))
        asked = len(fan_out.apns.log.records)
        await fan_out.change(wallet_pass, 101)
        await until(lambda: len(fan_out.apns.log.records) >= asked + 23)
        assert len(await stopped(fan_out)) == 1
        assert set(await fan_out.tokens()) == set(tokens)
        fan_out.apns.play(Script())
        await fan_out.all_pushed(tokens, times=2)
        await fan_out.all_done()
        assert await fan_out.end_reasons() == {None: 20}
    assert "".join(capfd.readouterr()).count("push.topic_stopped") == 1


@pytest.mark.parametrize("is_first", [False, True])
async def test_junk_tokens_end_and_stop_the_topic_once_at_most(
    is_first: bool, open_worker_for: Opener, capfd: pytest.CaptureFixture[str]
) -> None:
    """Six tokens that Apple does not know, all of one pass: they end, and do not stop a topic that
    has good ones; where they come first they do, until a good one is there. All good ones are
    pushed."""
    async with open_worker_for() as fan_out:
        good = [] if is_first else [await held_by(fan_out, 1) for _ in range(3)]
        evil, junk = await held_by(fan_out, 6)
        fan_out.apns.play(unknown(junk))
        await fan_out.change(evil, 100)
        await until(lambda: {each.token for each in fan_out.apns.log.records} >= set(junk))
        if is_first:
            async with asyncio.timeout(WAIT_SECONDS):
                while not await stopped(fan_out):  # noqa: ASYNC110 - done by the worker
                    await asyncio.sleep(0.05)
            good = [await held_by(fan_out, 1) for _ in range(3)]
        for wallet_pass, _ in good:
            await fan_out.change(wallet_pass, 200)
        await fan_out.all_pushed([token for _, [token] in good])
        await fan_out.all_done()
        assert await fan_out.end_reasons() == {RemoveReason.TOKEN_GONE: 6, None: 3}
        assert set(await fan_out.tokens()) == {token for _, [token] in good}
        assert await stopped(fan_out) == []
    assert "".join(capfd.readouterr()).count("push.topic_stopped") == is_first


async def test_junk_tokens_of_a_pass_with_good_ones_end(
    fan_out: FanOut, capfd: pytest.CaptureFixture[str]
) -> None:
    """Six tokens that Apple does not know and three that it does, on one pass: those end, and the
    topic goes on."""
    wallet_pass, tokens = await held_by(fan_out, 9)
    fan_out.apns.play(unknown(tokens[:6]))
    await fan_out.change(wallet_pass, 100)
    await fan_out.all_done()
    assert set(await fan_out.tokens()) == set(tokens[6:])
    assert "push.topic_stopped" not in "".join(capfd.readouterr())


def unknown(tokens: list[str]) -> Script:
    """Apple does not know these."""
    refused = Refuse(status=400, reason="BadDeviceToken")
    return Script(rules=(Rule(answer=refused, tokens=frozenset(tokens)),))


async def test_a_token_that_is_gone_proves_the_topic(open_worker_for: Opener) -> None:
    """A stopped topic is tried with a token that is gone since a known time: Apple knows it as the
    topic's, so pushes go on, and its registration ends."""
    async with open_worker_for(is_running=False) as fan_out:
        wallet_pass, [token] = await held_by(fan_out, 1)
        fan_out.apns.tokens.retire(token, datetime.now(UTC) + LATER)
        await fan_out.club.tenant.fetch(
            "INSERT INTO stopped_topics SELECT tenant_id, pass_type_identifier, 'TopicDisallowed',"
            " now(), now() FROM devices"
        )
        await fan_out.change(wallet_pass, 100)
        async with open_worker_for() as other:
            await other.all_done()
        assert await stopped(fan_out) == []
        assert await fan_out.end_reasons() == {RemoveReason.TOKEN_GONE: 1}


async def test_busy_answers_are_pushed_later(fan_out: FanOut) -> None:
    """429 on some tokens, 500 and 503 on others: each is accepted in the end, no token more than
    once a second, nor more than eight times."""
    wallet_pass, tokens = await held_by(fan_out, 60)
    rules = tuple(
        Rule(
            answer=Refuse(status=status, reason=reason),
            tokens=frozenset(tokens[start::3]),
            token_pushes=frozenset({1, 2, 3}),
        )
        for start, (status, reason) in enumerate(
            [(429, "TooManyRequests"), (500, "InternalServerError"), (503, "ServiceUnavailable")]
        )
    )
    fan_out.apns.play(Script(rules=rules))
    await fan_out.change(wallet_pass, 100)
    await fan_out.all_pushed(tokens)
    await fan_out.all_done()
    for token in tokens:
        times = [record.at for record in fan_out.apns.log.of_token(token)]
        assert len(times) == 4
        assert all(after - before > 0.95 for before, after in itertools.pairwise(times))
    assert await push_states(fan_out) == {(PushState.ACCEPTED, ""): 60}


async def test_apns_away_loses_nothing(fan_out: FanOut) -> None:
    """While APNs is not there at all, changes wait; when it is back they go out."""
    wallet_pass, tokens = await held_by(fan_out, 5)
    async with fan_out.apns.away():
        await fan_out.change(wallet_pass, 100)
        await asyncio.sleep(2)
        assert await fan_out.jobs_left() == 1
    await fan_out.all_pushed(tokens)


async def hurry(fan_out: FanOut) -> None:
    """No job waits any longer."""
    await fan_out.club.tenant.fetch("UPDATE pgqueuer.pgqueuer SET execute_after = now()")
    await fan_out.club.tenant.fetch("SELECT pg_notify('ch_pgqueuer', '')")
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("count", [1, 7])
async def test_tokens_that_are_never_answered_end(count: int, open_worker_for: Opener) -> None:
    """Tokens that APNs does not answer, among others that it does, are pushed eight times at most;
    then it is recorded, and their registrations stay."""
    async with open_worker_for(deadline_seconds=1.0) as fan_out:
        wallet_pass, tokens = await held_by(fan_out, count + 3)
        silent = tokens[:count]
        fan_out.apns.play(Script(rules=(Rule(answer=Hang(), tokens=frozenset(silent)),)))
        await fan_out.change(wallet_pass, 100)
        async with asyncio.timeout(WAIT_SECONDS):
            while await fan_out.jobs_left():
                await hurry(fan_out)
        assert all(4 <= len(fan_out.apns.log.of_token(token)) <= 8 for token in silent)
        assert await push_states(fan_out) == {
            (PushState.ACCEPTED, ""): 3,
            (PushState.UNREACHABLE, "TIMEOUT"): count,
        }
        assert await fan_out.end_reasons() == {None: count + 3}


async def test_lost_answers_are_pushed_again(fan_out: FanOut) -> None:
    """Streams that are reset: each token is accepted at least once."""
    wallet_pass, tokens = await held_by(fan_out, 50)
    fan_out.apns.play(Script(rules=(Rule(answer=Reset(), fraction=0.3),), seed=3))
    await fan_out.change(wallet_pass, 100)
    await fan_out.all_pushed(tokens)
    await fan_out.all_done()


async def test_a_job_of_a_dead_worker_is_taken_over(open_worker_for: Opener) -> None:
    """A job that a worker took to its grave is done by another when its heartbeat is silent."""
    async with open_worker_for(is_running=False) as fan_out:
        wallet_pass, tokens = await held_by(fan_out, 2)
        await fan_out.change(wallet_pass, 100)
        await fan_out.club.tenant.fetch(
            "UPDATE pgqueuer.pgqueuer SET status = 'picked', queue_manager_id = gen_random_uuid(),"
            " heartbeat = now() - interval '1 minute' WHERE entrypoint = 'push'"
        )
        async with open_worker_for() as other:
            await other.all_pushed(tokens)
            await other.all_done()


async def test_tokens_are_told_to_nobody(
    fan_out: FanOut, capfd: pytest.CaptureFixture[str]
) -> None:
    """No push token gets into the log, whatever becomes of it."""
    wallet_pass, tokens = await held_by(fan_out, 6)
    answers = [(400, "BadDeviceToken"), (410, "Unregistered"), (429, "TooManyRequests")]
    fan_out.apns.play(
        Script(
            rules=tuple(
                Rule(answer=Refuse(status=status, reason=reason), tokens=frozenset({token}))
                for token, (status, reason) in zip(tokens, answers, strict=False)
            )
        )
    )
    await fan_out.change(wallet_pass, 100)
    await fan_out.all_pushed(tokens[3:])
    told = "".join(capfd.readouterr())
    assert not [token for token in tokens if token in told or token[:16] in told]
