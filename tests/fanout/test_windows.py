"""One push a device and window, and never none."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest_asyncio
import redis.asyncio
from prometheus_client import CollectorRegistry

from passmill.domain.ids import TenantId
from passmill.push.redis_link import RedisLink, open_redis
from passmill.push.windows import PushWindows
from passmill.telemetry.push_metrics import PushMetrics
from passmill.usecases.send_pushes import DevicePush
from tests.fanout.conftest import Opener
from tests.support.service import PASS_TYPE

TENANT = TenantId(7)
TOKENS = [secrets.token_bytes(32) for _ in range(40)]


@pytest_asyncio.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    """A link to the test's own Valkey."""
    metrics = PushMetrics(CollectorRegistry())
    async with open_redis(
        redis_url, is_cluster=False, timeout_seconds=5, metrics=metrics
    ) as opened:
        yield opened


async def test_a_window_lets_one_push_through(link: RedisLink, redis_url: str) -> None:
    """The first push opens all windows; another one finds them closed, until they end; the first
    one, done again, finds its own open."""
    windows = PushWindows(link, window=timedelta(seconds=60))
    first, second = uuid4(), uuid4()
    assert await windows.open(TENANT, "a", TOKENS, first) == [None] * 40
    closed = await windows.open(TENANT, "a", TOKENS, second)
    assert all(
        each is not None
        and not each.has_trailing
        and timedelta(0) < each.left <= timedelta(seconds=60)
        for each in closed
    )
    assert await windows.open(TENANT, "a", TOKENS, first) == [None] * 40
    assert await windows.open(TENANT, "another topic", TOKENS, second) == [None] * 40
    assert await windows.open(TenantId(8), "a", TOKENS, second) == [None] * 40
    async with redis.asyncio.Redis.from_url(redis_url) as server:
        await server.flushdb()
    assert await windows.open(TENANT, "a", TOKENS, second) == [None] * 40


async def test_a_trailing_push_is_marked_on_the_window_that_was_seen(link: RedisLink) -> None:
    """A "+" shows to others as long as that window stands; it does not get onto a later one, and
    the trailing push takes it away."""
    windows = PushWindows(link, window=timedelta(seconds=60))
    first, second, trailing = uuid4(), uuid4(), uuid4()
    await windows.open(TENANT, "a", TOKENS[:1], first)
    [seen] = await windows.open(TENANT, "a", TOKENS[:1], second)
    assert seen is not None
    await windows.mark_trailing([seen])
    [marked] = await windows.open(TENANT, "a", TOKENS[:1], second)
    assert marked is not None
    assert marked.has_trailing
    await link.ask_one("DEL", seen.key)
    assert await windows.open(TENANT, "a", TOKENS[:1], trailing) == [None]
    await windows.mark_trailing([seen])
    [after] = await windows.open(TENANT, "a", TOKENS[:1], second)
    assert after is not None
    assert not after.has_trailing


async def test_many_changes_in_a_window_are_two_pushes(open_worker_for: Opener) -> None:
    """The first change is pushed at once, all that follow in its window by one push at its end,
    whose device was pushed after the last of them."""
    async with open_worker_for(window_seconds=3) as fan_out:
        wallet_pass = await fan_out.club.issue()
        token = await fan_out.register(wallet_pass)
        await fan_out.change(wallet_pass, 100)
        await fan_out.all_pushed([token])
        for points in range(101, 107):
            await fan_out.change(wallet_pass, points)
        await fan_out.all_done()
        assert fan_out.pushed() == {token: 2}


async def test_changes_at_the_same_time_share_a_trailing_push(
    open_worker_for: Opener, link: RedisLink
) -> None:
    """Eight jobs that find a window closed at once queue one push for its end, not eight that would
    follow each other window by window."""
    async with open_worker_for(window_seconds=600, is_running=False) as fan_out:
        wallet_pass = await fan_out.club.issue()
        token = await fan_out.register(wallet_pass)
        [number] = (await fan_out.tokens()).values()
        windows = PushWindows(link, window=timedelta(seconds=600))
        await windows.open(fan_out.tenant_id, PASS_TYPE, [bytes.fromhex(token)], uuid4())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(
                    fan_out.worker.push.push_devices(
                        _push(fan_out.tenant_id, token, number, is_trailing=False)
                    )
                )
        assert await fan_out.jobs_left() == 1
        assert fan_out.pushed() == {}


async def test_a_device_that_has_a_token_twice_is_pushed_once(open_worker_for: Opener) -> None:
    """Two device ids with one token are one push."""
    async with open_worker_for() as fan_out:
        wallet_pass = await fan_out.club.issue()
        token = await fan_out.register(wallet_pass)
        await fan_out.register(wallet_pass, token=token)
        await fan_out.change(wallet_pass, 100)
        await fan_out.all_done()
        assert fan_out.pushed() == {token: 1}


async def test_an_emptied_redis_makes_more_pushes(open_worker_for: Opener, redis_url: str) -> None:
    """A window of ten minutes, and Redis emptied after each push: every change is pushed at
    once."""
    async with (
        open_worker_for(window_seconds=600) as fan_out,
        redis.asyncio.Redis.from_url(redis_url) as server,
    ):
        wallet_pass = await fan_out.club.issue()
        token = await fan_out.register(wallet_pass)
        for times in range(1, 5):
            await fan_out.change(wallet_pass, 100 + times)
            await fan_out.all_pushed([token], times=times)
            await server.flushdb()


async def test_a_trailing_push_is_never_left_to_another(
    open_worker_for: Opener, link: RedisLink
) -> None:
    """Whatever a window says, a push that stands for earlier changes goes out, or stands in the
    queue again: even where an older state of Redis claims that another will go."""
    async with open_worker_for(window_seconds=600, is_running=False) as fan_out:
        wallet_pass = await fan_out.club.issue()
        token = await fan_out.register(wallet_pass)
        [number] = (await fan_out.tokens()).values()
        windows = PushWindows(link, window=timedelta(seconds=600))
        await windows.open(fan_out.tenant_id, PASS_TYPE, [bytes.fromhex(token)], uuid4())
        [seen] = await windows.open(fan_out.tenant_id, PASS_TYPE, [bytes.fromhex(token)], uuid4())
        assert seen is not None
        await windows.mark_trailing([seen])
        for is_trailing, left in ((False, 0), (True, 1)):
            await fan_out.worker.push.push_devices(
                _push(fan_out.tenant_id, token, number, is_trailing=is_trailing)
            )
            assert await fan_out.jobs_left() == left


def _push(tenant_id: TenantId, token: str, number: int, *, is_trailing: bool) -> DevicePush:
    return DevicePush(
        tenant_id=tenant_id,
        topic=PASS_TYPE,
        targets={bytes.fromhex(token): [number]},
        read_time=datetime.now(UTC),
        push_id=UUID(int=1),
        rounds=0,
        is_trailing=is_trailing,
    )
