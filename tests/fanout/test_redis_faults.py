"""Redis is a cache: whatever becomes of it, every change reaches its phones, and the service goes
on."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import redis.asyncio

from passmill.v1.wallet_pass_pb2 import Pass
from tests.fanout.conftest import Opener
from tests.support.fan_out import FanOut
from tests.support.redis_servers import (
    open_cluster,
    open_proxy,
    open_redis_server,
    redis_binaries,
)

CHANGES = 12


async def hold(fan_out: FanOut, count: int) -> dict[str, Pass]:
    """Passes, each on a phone; by the phone's token."""
    passes = await asyncio.gather(*(fan_out.club.issue() for _ in range(count)))
    return {await fan_out.register(each): each for each in passes}


async def change_all_under(
    fan_out: FanOut, held: dict[str, Pass], fault: Callable[[], Awaitable[object]] | None = None
) -> None:
    """Changes every pass, with the fault at random moments; each phone hears of its change."""
    chance = random.Random(5)  # noqa: S311 - when, no secret
    before = fan_out.pushed()
    for number, wallet_pass in enumerate(held.values()):
        if fault is not None and chance.random() < 0.4:
            await fault()
        await fan_out.change(wallet_pass, 1_000 + number + sum(before.values()))
    await fan_out.all_done()
    missing = [token for token in held if fan_out.pushed()[token] <= before[token]]
    assert missing == []


@pytest.mark.parametrize("binary", redis_binaries(), ids=lambda binary: binary.name)
async def test_emptied_during_the_fan_out(
    binary: Path, open_worker_for: Opener, tmp_path: Path
) -> None:
    """FLUSHALL at random moments, with windows at work: no phone misses its push."""
    async with (
        open_redis_server(tmp_path / "redis", binary=binary) as server,
        open_worker_for(redis_url=server.url, window_seconds=0.4) as fan_out,
        redis.asyncio.Redis.from_url(server.url) as client,
    ):
        held = await hold(fan_out, CHANGES)
        for _ in range(3):
            await change_all_under(fan_out, held, client.flushall)


async def test_killed_and_empty_again(open_worker_for: Opener, tmp_path: Path) -> None:
    """Killed in the midst, away for a while, and back without anything: changes go out meanwhile,
    and the index is there again by itself."""
    async with (
        open_redis_server(tmp_path / "redis") as server,
        open_worker_for(redis_url=server.url) as fan_out,
    ):
        held = await hold(fan_out, CHANGES)
        await change_all_under(fan_out, held)
        await server.kill()
        await change_all_under(fan_out, held)
        await server.start()
        async with redis.asyncio.Redis.from_url(server.url) as client, asyncio.timeout(30):
            while not await client.keys("*:registrations"):
                await change_all_under(fan_out, held)


async def test_an_old_append_only_file(open_worker_for: Opener, tmp_path: Path) -> None:
    """Started on a state from before phones came, went and changed their tokens: those who hold
    the pass now are pushed, and by their new tokens."""
    async with (
        open_redis_server(tmp_path / "redis", appendonly="yes", appendfsync="always") as server,
        open_worker_for(redis_url=server.url, window_seconds=0.2) as fan_out,
    ):
        held = await hold(fan_out, 4)
        await change_all_under(fan_out, held)
        await change_all_under(fan_out, held)
        server.save_files(tmp_path / "saved")
        first, second, *_ = held.values()
        renewed = await fan_out.register(first, device="known")
        renewed = await fan_out.register(first, device="known", token="ab" * 32)
        added = await fan_out.register(second)
        await change_all_under(fan_out, {**held, renewed: first, added: second})
        await server.kill()
        server.restore_files(tmp_path / "saved")
        await server.start()
        await change_all_under(fan_out, {**held, renewed: first, added: second})


async def test_full(open_worker_for: Opener, tmp_path: Path) -> None:
    """A server that takes no more (maxmemory, noeviction): PostgreSQL answers, nothing fails."""
    async with (
        open_redis_server(
            tmp_path / "redis", maxmemory="2mb", maxmemory_policy="noeviction"
        ) as server,
        open_worker_for(redis_url=server.url, window_seconds=0.2) as fan_out,
        redis.asyncio.Redis.from_url(server.url) as client,
    ):
        number = 0
        with contextlib.suppress(redis.exceptions.OutOfMemoryError):
            while True:
                number += 1
                await client.set(f"filler:{number}", b"x" * 10_000)
        await change_all_under(fan_out, await hold(fan_out, CHANGES))


async def test_slow_and_reset(open_worker_for: Opener, tmp_path: Path) -> None:
    """Five seconds of latency, then connections that are reset all the time: changes go out, and
    not five seconds late each."""
    async with (
        open_redis_server(tmp_path / "redis") as server,
        open_proxy(server.port) as proxy,
        open_worker_for(redis_url=proxy.url, window_seconds=0.2) as fan_out,
    ):
        held = await hold(fan_out, CHANGES)
        await change_all_under(fan_out, held)
        proxy.delay_seconds = 5.0
        async with asyncio.timeout(30):
            await change_all_under(fan_out, held)
        proxy.delay_seconds = 0.0

        async def reset() -> None:
            proxy.reset_all()

        await change_all_under(fan_out, held, reset)


async def test_a_cluster_loses_a_node(open_worker_for: Opener, tmp_path: Path) -> None:
    """Three nodes; one dies and comes back empty. Its buckets are PostgreSQL's meanwhile."""
    async with (
        open_cluster(tmp_path / "cluster") as nodes,
        open_worker_for(redis_url=nodes[0].url, is_cluster=True, window_seconds=0.2) as fan_out,
    ):
        held = await hold(fan_out, CHANGES)
        await change_all_under(fan_out, held)
        filled = [await _buckets(node.url) for node in nodes]
        assert sum(filled) == len({each.pass_id[-2:] for each in held.values()})
        await nodes[1].kill()
        await change_all_under(fan_out, held)
        await nodes[1].start()
        await change_all_under(fan_out, held)


async def _buckets(url: str) -> int:
    async with redis.asyncio.Redis.from_url(url) as client:
        return len(await client.keys("*:registrations"))
