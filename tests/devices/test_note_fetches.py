"""What phones have fetched: gathered, written in bulk, and each pass's first fetch told once."""

import asyncio
import uuid
from datetime import timedelta

import asyncpg
import pytest

from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.postgres import Database
from tests.support.registry import Registry, events_of, open_registry
from tests.support.service import Club, Service, SetClock

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def fetches_of(club: Club) -> dict[uuid.UUID, asyncpg.Record]:
    """What is kept, by pass."""
    rows = await club.tenant.fetch("SELECT * FROM pass_fetches")
    return {row["pass_id"]: row for row in rows}


async def fetch(registry: Registry, club: Club, issued: Pass) -> None:
    """Fetches a pass as the edge does."""
    mine = await registry.authentic(club, issued)
    registry.note_fetches.note(mine, (await registry.serve.bundle(mine)).version)


async def test_fetches_are_kept(service: Service, club: Club) -> None:
    """Nothing is written before the flush; then each pass has its newest content and its first and
    last time, and the passes fetched for the first time are told in one event, once."""
    clock = SetClock()
    async with open_registry(service, clock=clock) as registry:
        passes = [await club.issue() for _ in range(3)]
        began = clock.now()
        for each in passes[:2]:
            await fetch(registry, club, each)
            clock.advance(timedelta(seconds=1))
            await fetch(registry, club, each)
        assert await fetches_of(club) == {}
        await registry.note_fetches.flush()
        first = await fetches_of(club)
        ids = {uuid.UUID(each.pass_id) for each in passes[:2]}
        assert set(first) == ids
        assert first[uuid.UUID(passes[0].pass_id)]["first_time"] == began
        assert first[uuid.UUID(passes[0].pass_id)]["last_time"] == began + timedelta(seconds=1)
        [event] = await events_of(club, "pass.first_fetched")
        assert set(event["pass_ids"]) == ids

        clock.advance(timedelta(hours=1))
        await club.update(passes[0], "holder.name", wanted=Pass(holder=Holder(name="Grace")))
        for each in passes:
            await fetch(registry, club, each)
        await registry.note_fetches.flush()
        second = await fetches_of(club)
        assert len(await events_of(club, "pass.first_fetched")) == 2
        changed = uuid.UUID(passes[0].pass_id)
        assert second[changed]["content_time"] > first[changed]["content_time"]
        assert {row["last_time"] for row in second.values()} == {clock.now()}
        assert {second[each]["first_time"] for each in ids} == {
            first[each]["first_time"] for each in ids
        }


async def test_an_older_content_does_not_come_back(service: Service, club: Club) -> None:
    """A fetch of an older content that is written late changes nothing; and phones that ask every
    second for what they have are written down once a minute."""
    clock = SetClock()
    async with (
        open_registry(service, clock=clock) as registry,
        open_registry(service, clock=clock) as slow,
    ):
        issued = await club.issue()
        await fetch(slow, club, issued)
        await club.update(issued, "holder.name", wanted=Pass(holder=Holder(name="Grace")))
        await fetch(registry, club, issued)
        await registry.note_fetches.flush()
        before = await fetches_of(club)
        clock.advance(timedelta(seconds=30))
        await fetch(registry, club, issued)
        for each in (slow, registry):
            await each.note_fetches.flush()
        assert await fetches_of(club) == before


async def test_what_cannot_be_written_waits(
    service: Service, shared_database: Database, club: Club
) -> None:
    """While the database takes no fetches, they stay noted, and are written when it does."""
    async with open_registry(service) as registry:
        issued = await club.issue()
        await fetch(registry, club, issued)
        owner = await asyncpg.connect(shared_database.owner_url)
        try:
            await owner.execute("REVOKE INSERT ON pass_fetches FROM passmill_app")
            await registry.note_fetches.flush()
        finally:
            await owner.execute("GRANT INSERT ON pass_fetches TO passmill_app")
            await owner.close()
        assert await fetches_of(club) == {}
        await registry.note_fetches.flush()
        assert set(await fetches_of(club)) == {uuid.UUID(issued.pass_id)}


async def test_the_last_fetches_are_written(service: Service, club: Club) -> None:
    """What was noted is written within a second, and what is left when the process ends."""
    async with open_registry(service) as registry:
        passes = [await club.issue() for _ in range(2)]
        running = asyncio.create_task(registry.note_fetches.run_forever())
        await fetch(registry, club, passes[0])
        async with asyncio.timeout(10):
            while not await fetches_of(club):  # noqa: ASYNC110 - time is what passes
                await asyncio.sleep(0.05)
        await fetch(registry, club, passes[1])
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        assert set(await fetches_of(club)) == {uuid.UUID(each.pass_id) for each in passes}
