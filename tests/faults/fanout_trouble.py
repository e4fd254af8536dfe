"""What goes wrong in the fan-out scenario: transactions that commit late, a Redis that forgets,
workers that die."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import redis.asyncio

from passmill.dev.wallet_device.device import WalletDevice
from passmill.dev.wallet_device.fleet import WalletFleet
from passmill_client import AsyncClient, PassmillError
from tests.faults.fanout_rig import PASS_TYPE, Rig

HELD_SECONDS = 3.0
POLLERS = 100
_POLL_SECONDS = 0.3
_WRITE_SECONDS = 30.0
_AWAY_SECONDS = (0.5, 2.0)

# Each transaction that changes what passes show stays open, with its number taken and its rows
# written, for up to three seconds before it commits.
_COMMIT_LATE = f"""
CREATE FUNCTION commit_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(random() * {HELD_SECONDS});
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER commit_late AFTER INSERT ON outbox
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.kind IN ('pass.updated', 'campaign.shard_done')) EXECUTE FUNCTION commit_late();
"""
_COMMIT_AT_ONCE = "DROP TRIGGER commit_late ON outbox; DROP FUNCTION commit_late()"


@dataclass(slots=True)
class Happened:
    """How often what happened."""

    changes: int = 0
    refused_changes: int = 0
    flushes: int = 0
    redis_kills: int = 0
    worker_kills: int = 0


async def write_late(
    rig: Rig,
    pass_ids: Sequence[UUID],
    *,
    writers: int,
    happened: Happened,
    is_over: asyncio.Event,
    chance: random.Random,
) -> None:
    """So many writers change passes, each in a transaction that is held open, until it is over."""

    async def work(client: AsyncClient) -> None:
        while not is_over.is_set():
            try:
                await client.update_pass(
                    pass_id=str(chance.choice(pass_ids)),
                    values={"points": chance.randrange(1_000, 1_000_000)},
                    timeout=_WRITE_SECONDS,
                )
            except PassmillError:
                happened.refused_changes += 1
            else:
                happened.changes += 1

    connection = await rig.connect()
    try:
        await connection.execute(_COMMIT_LATE)
        async with AsyncClient(rig.service.api_address, rig.club.issue_key) as client:
            await asyncio.gather(*(work(client) for _ in range(writers)))
        await connection.execute(_COMMIT_AT_ONCE)
    finally:
        await connection.close(timeout=5)


async def poll(fleet: WalletFleet, devices: Sequence[WalletDevice], is_over: asyncio.Event) -> None:
    """These devices ask what is new all the time, pushed or not."""
    while not is_over.is_set():
        for device in devices:
            fleet.ask(device, PASS_TYPE)
        await asyncio.sleep(_POLL_SECONDS)


async def flush(rig: Rig, happened: Happened) -> None:
    """Redis forgets everything."""
    async with redis.asyncio.Redis.from_url(rig.redis.url) as client:
        await client.flushall()
    happened.flushes += 1


async def kill_redis(rig: Rig, happened: Happened, chance: random.Random) -> None:
    """Redis dies, is away for a moment and comes back empty."""
    await rig.redis.kill()
    await asyncio.sleep(chance.uniform(*_AWAY_SECONDS))
    rig.redis.forget_files()
    await rig.redis.start()
    happened.redis_kills += 1


async def kill_worker(rig: Rig, happened: Happened, chance: random.Random) -> None:
    """A worker dies in the midst of whatever it does."""
    alive = rig.service.worker_process_ids
    if alive:
        os.kill(chance.choice(alive), signal.SIGKILL)
        happened.worker_kills += 1


async def strike(
    blows: Sequence[Callable[[], Awaitable[None]]], *, within: float, chance: random.Random
) -> None:
    """All of these happen, each at a random moment of so many seconds."""
    order = sorted((chance.uniform(0, within), number) for number in range(len(blows)))
    began = asyncio.get_running_loop().time()
    for moment, number in order:
        await asyncio.sleep(max(began + moment - asyncio.get_running_loop().time(), 0))
        await blows[number]()
