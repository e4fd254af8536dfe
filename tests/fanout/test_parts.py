"""The parts that need no phones: tallies, payloads, pace, and the link to Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from passmill.domain.ids import PassId, TenantId
from passmill.domain.push_rounds import next_round
from passmill.domain.registrations import DeviceNumber
from passmill.domain.topic_tally import TopicTally
from passmill.push.pace import PushPace
from passmill.push.redis_link import RedisLink, open_redis
from passmill.push.registration_index import (
    IndexChange,
    Mark,
    RegistrationIndex,
    encode_registration,
)
from passmill.store.push_jobs import PushPayload
from passmill.telemetry.push_metrics import PushMetrics

NOWHERE = "redis://127.0.0.1:1/0"


def tally(*noted: tuple[int, int], now: float = 0.0) -> TopicTally:
    """Pushes, by how many were accepted and how many blamed, all at one time."""
    made = TopicTally()
    for accepted, blamed in noted:
        made.note(accepted=accepted, blamed=blamed, now=now)
    return made


@pytest.mark.parametrize(
    ("accepted", "blamed", "is_in_doubt"),
    [
        (0, 0, False),
        (0, 5, False),
        (0, 6, True),
        (1, 1, False),
        (5, 6, True),
        (600, 6, False),
        (10_000, 100, False),
        (10_000, 102, True),
        (100, 10_000, True),
    ],
)
def test_when_it_may_be_the_topic(accepted: int, blamed: int, is_in_doubt: bool) -> None:
    """More than five refused, and more than one in a hundred."""
    assert tally((accepted, blamed)).is_in_doubt == is_in_doubt


COUNTS = st.tuples(st.integers(0, 50), st.integers(0, 50))


@given(noted=st.lists(st.tuples(COUNTS, st.floats(0, 5)), max_size=100))
def test_a_tally_is_of_a_minute(noted: list[tuple[tuple[int, int], float]]) -> None:
    """It says what the sums of the last sixty seconds of the clock say, and keeps one entry for
    each of these at most, however often it is told."""
    made, now = TopicTally(), 1000.0
    told: list[tuple[int, int, int]] = []
    for (accepted, blamed), step in noted:
        now += step
        made.note(accepted=accepted, blamed=blamed, now=now)
        told.append((int(now), accepted, blamed))
        recent = [each for each in told if each[0] > int(now) - 60]
        assert made.is_in_doubt == tally(*[(a, b) for _, a, b in recent]).is_in_doubt
        assert len(made) == len({second for second, _, _ in recent})


@given(rounds=st.integers(0, 100), is_unproven=st.booleans())
def test_rounds_end(rounds: int, is_unproven: bool) -> None:
    """What fails alone is pushed in three more rounds; what nobody can tell in more, ever later and
    an hour apart at most."""
    delay = next_round(rounds, is_unproven=is_unproven)
    assert (delay is not None) == (rounds < (30 if is_unproven else 3))
    if delay is not None:
        before = next_round(rounds - 1, is_unproven=True) if rounds else None
        assert (before or timedelta()) <= delay <= timedelta(hours=1)


def test_what_nobody_can_tell_is_pushed_for_a_day() -> None:
    """All its rounds together take about that."""
    delays = [next_round(rounds, is_unproven=True) for rounds in range(100)]
    total = sum([delay for delay in delays if delay], timedelta())
    assert timedelta(hours=23) < total < timedelta(hours=25)


PASSES = st.lists(st.uuids().map(PassId), max_size=5)
DEVICES = st.lists(st.integers(1, 2**63 - 1).map(DeviceNumber), max_size=5)


@given(
    payload=st.builds(
        PushPayload,
        tenant_id=st.integers(1, 2**62).map(TenantId),
        push_id=st.uuids(),
        event_id=st.none() | st.uuids(),
        pass_ids=PASSES,
        device_numbers=DEVICES,
        rounds=st.integers(0, 3),
        is_trailing=st.booleans(),
    )
)
def test_a_payload_is_read_as_it_was_written(payload: PushPayload) -> None:
    """What a job is about comes out of the queue as it went in."""
    assert PushPayload.decode(payload.encode()) == payload


@pytest.mark.parametrize("content", [None, b"", b"[]\n", b"x", b"[1,2]\n"])
def test_what_is_no_payload_is_refused(content: bytes | None) -> None:
    """ValueError for what `encode` did not write."""
    with pytest.raises(ValueError, match=r".+"):
        PushPayload.decode(content)


def test_a_payload_tells_the_log_no_device() -> None:
    """The log's fields name the job and the tenant alone."""
    payload = PushPayload(
        tenant_id=TenantId(7), push_id=UUID(int=1), device_numbers=[DeviceNumber(99)]
    )
    assert payload.log_fields() == {"push_id": str(UUID(int=1)), "tenant_id": "7"}


@pytest_asyncio.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    """A link to the test's own Valkey."""
    metrics = PushMetrics(CollectorRegistry())
    async with open_redis(redis_url, is_cluster=False, timeout_seconds=5, metrics=metrics) as one:
        yield one


class Sleeper:
    """Notes how long it was to sleep, and does not."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def __call__(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


async def test_all_workers_keep_one_pace(link: RedisLink) -> None:
    """What several workers reserve together takes as long as it must at that pace."""
    sleepers = [Sleeper() for _ in range(3)]
    workers = [PushPace(link, per_second=100, share=1, sleep=sleeper) for sleeper in sleepers]
    began = time.monotonic()
    for _ in range(10):
        for worker in workers:
            await worker.wait(10)
    # 300 pushes at 100 a second: who comes next goes three seconds after the first, but for a tenth
    # that was saved up.
    last = Sleeper()
    await PushPace(link, per_second=100, share=1, sleep=last).wait(1)
    passed = time.monotonic() - began
    assert last.seconds <= 3.0
    assert last.seconds + passed >= 2.85


async def test_without_redis_each_worker_keeps_its_share() -> None:
    """A worker that cannot ask the others takes its own part of the pace."""
    metrics = PushMetrics(CollectorRegistry())
    moment = 0.0
    sleeper = Sleeper()
    async with open_redis(NOWHERE, is_cluster=False, timeout_seconds=1, metrics=metrics) as away:
        pace = PushPace(
            away, per_second=100, share=0.5, sleep=sleeper, monotonic=lambda: moment + 100
        )
        for _ in range(11):
            await pace.wait(10)
    # 100 pushes at 50 a second before the last ten, less a tenth of a second saved up; each wait
    # counts from the same moment.
    assert sleeper.seconds == pytest.approx(sum(0.2 * n - 0.1 for n in range(1, 11)))


async def test_a_link_leaves_redis_alone_for_a_while() -> None:
    """After a failure nobody waits for it: the next answer is None at once, until one probes."""
    moments = [0.0]
    async with open_redis(
        NOWHERE,
        is_cluster=False,
        timeout_seconds=1,
        metrics=PushMetrics(CollectorRegistry()),
        monotonic=lambda: moments[-1],
    ) as away:
        found = []
        for moment in (0.0, 0.0, 0.19, 0.21, 0.42, 0.62):
            moments.append(moment)
            found.append(away.is_away)
            assert await away.ask([("PING",)]) is None
        assert found == [False, True, True, False, True, False]
        assert await away.ask([]) == []


async def test_a_cancelled_question_stays_cancelled(link: RedisLink) -> None:
    """However far a question has come, whoever is cancelled in it ends."""
    for turns in range(60):
        asking = asyncio.create_task(link.ask([("SET", "a", "b")]))
        for _ in range(turns % 15):
            await asyncio.sleep(0)
        if asking.cancel():
            with pytest.raises(asyncio.CancelledError):
                await asking
    assert await link.ask([("GET", "a")]) == [b"b"]


@pytest.mark.parametrize("lost_after", [1, 2, None])
async def test_a_bucket_that_lost_pages_is_not_put_in_place(
    lost_after: int | None, link: RedisLink
) -> None:
    """Redis emptied between two pages, or between the last and the end: there is no bucket
    afterwards. Without that there is, with every page, and without the count of them."""
    index, tenant_id = RegistrationIndex(link), TenantId(1)
    passes = [bytes([number]) * 16 for number in (1, 2)]
    build = index.build(tenant_id, 5)
    for page, pass_id in enumerate(passes, 1):
        await build.add(encode_registration(IndexChange(pass_id, 7, "ab" * 32)))
        if page == lost_after:
            await link.ask_one("FLUSHDB")
    mark = Mark(database="x.1.1", tag=100)
    assert await build.finish(after=mark) is (lost_after is None)
    found = await index.read(tenant_id, {5: passes})
    if lost_after is None:
        assert found[5].mark == mark
        assert set(found[5].entries) == set(passes)
        [key] = await link.ask_one("KEYS", "passmill:*")  # type: ignore[misc]
        assert await link.ask_one("HLEN", key) == 3
    else:
        assert found == {}
        assert await link.ask_one("KEYS", "*") == []


async def test_an_empty_bucket_is_put_in_place(link: RedisLink) -> None:
    """One without any registration needs no page."""
    index, tenant_id = RegistrationIndex(link), TenantId(1)
    assert await index.build(tenant_id, 5).finish(after=Mark(database="x.1.1", tag=100))
    assert (await index.read(tenant_id, {5: [b"p" * 16]}))[5].entries == {}


async def test_whatever_is_reserved_is_kept(link: RedisLink) -> None:
    """Nobody goes before those who reserved before him, however many they are: the last waits
    for the turns of all others, of a hundred seconds each, less what was saved up."""
    pace = PushPace(link, per_second=0.01, share=1, sleep=Sleeper())
    waits = [await pace.wait(1) for _ in range(256)]
    assert waits == sorted(waits)
    assert 254 * 100 < waits[-1] <= 255 * 100


async def test_a_clock_put_back_makes_nobody_sleep(link: RedisLink) -> None:
    """What was reserved by a clock that went an hour ahead is waited for as if it had been
    reserved just now; pushes then keep the pace again."""
    sleeper = Sleeper()
    pace = PushPace(link, per_second=0.01, share=1, sleep=sleeper)
    now = await link.ask_one("TIME")
    assert isinstance(now, tuple)
    ahead = (int(now[0]) + 3600) * 1_000_000
    await link.ask_one("SET", "passmill:pace", f"{ahead + 250_000_000} {ahead}")
    waits = [await pace.wait(1) for _ in range(3)]
    assert waits[0] == 250.0
    assert waits == sorted(waits)
    assert 400 < waits[-1] <= 450
