"""Phones register while writers hold the rows of their passes: nobody waits, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from passmill.domain.clock import SystemClock
from passmill.domain.ids import PassId
from passmill.domain.registrations import UpdateTag
from passmill.store import outbox
from passmill.store.database import Database, open_database
from passmill.store.push_jobs import enqueue_push
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.fan_out import WAIT_SECONDS, FanOut
from tests.support.postgres import Database as DatabaseAddress
from tests.support.registry import Device, Registry, open_registry
from tests.support.service import Service

pytestmark = pytest.mark.timeout(120)

WRITERS: Final = 50  # each of a pass of its own

PHONES: Final = 120
MOST_SECONDS: Final = 3.0
NEVER: Final = UpdateTag(0)


# Registrations commit late too, so that changes commit, and their pushes go out, in between.
_REGISTER_LATE: Final = f"""
CREATE FUNCTION wait_before_commit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(random() * {MOST_SECONDS / 4}); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER registered_late AFTER INSERT ON registrations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_before_commit();
"""


@dataclass(kw_only=True)
class Phone:
    """A phone that asks for nothing unless it is pushed. `seen`: versions by serial number."""

    device: Device = field(default_factory=Device)
    since: UpdateTag = NEVER
    seen: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    reactions: int = 0


@dataclass(frozen=True, kw_only=True)
class LateWriters:
    """Passes, and who changes them in transactions that stay open."""

    fan_out: FanOut
    registry: Registry
    connections: Database
    passes: list[Pass]
    phones: list[Phone]

    async def versions(self) -> dict[str, int]:
        """The newest versions that are committed, by serial number."""
        rows = await self.fan_out.club.tenant.fetch("SELECT pass_id, version FROM passes")
        versions = {str(row["pass_id"]): row["version"] for row in rows}
        return {each.serial_number: versions[each.pass_id] for each in self.passes}

    async def write(self, wallet_pass: Pass, holds: asyncio.Event, seconds: float) -> None:
        """Changes a pass, as UpdatePass does, and commits so long after `holds` is set."""
        async with self.connections.transaction(self.fan_out.caller) as tx:
            await tx.execute(
                "UPDATE passes SET update_tag = pg_current_xact_id()::text::bigint,"
                " version = version + 1 WHERE pass_id = $1",
                UUID(wallet_pass.pass_id),
            )
            event_id = await outbox.insert_event(
                tx,
                kind="pass.updated",
                pass_ids=[PassId(UUID(wallet_pass.pass_id))],
                detail=json.dumps({"visible": True}),
                now=SystemClock().now(),
            )
            await enqueue_push(tx, event_id)
            await holds.wait()
            await asyncio.sleep(seconds)

    async def add(self, phone: Phone, choice: random.Random) -> None:
        """A phone downloads a pass as it is, and registers for it a moment later."""
        versions = await self.versions()
        wallet_pass = choice.choice(self.passes)
        phone.seen[wallet_pass.serial_number] = versions[wallet_pass.serial_number]
        assert await self.registry.register(phone.device, self.fan_out.club, wallet_pass)

    async def react(self) -> None:
        """Each phone that was pushed asks what is new, and fetches that."""
        pushed = self.fan_out.pushed()
        for phone in self.phones:
            if pushed[phone.device.token] == phone.reactions:
                continue
            phone.reactions = pushed[phone.device.token]
            updated = await self.registry.list(phone.device, self.fan_out.club, phone.since)
            if updated is None:
                continue
            phone.since = updated.last_updated
            versions = await self.versions()
            phone.seen.update({each: versions[each] for each in updated.serial_numbers})


@pytest_asyncio.fixture
async def late(own_service: Service, fan_out: FanOut) -> AsyncIterator[LateWriters]:
    """As many connections as there are writers."""
    url = own_service.settings.database_url.get_secret_value()
    async with (
        open_registry(own_service, max_connections=PHONES // 3) as registry,
        open_database(url, min_connections=0, max_connections=WRITERS + 1) as connections,
    ):
        yield LateWriters(
            fan_out=fan_out,
            registry=registry,
            connections=connections,
            passes=[await fan_out.club.issue() for _ in range(WRITERS)],
            phones=[Phone() for _ in range(PHONES)],
        )


async def test_every_phone_ends_on_the_newest_version(
    late: LateWriters, database: DatabaseAddress
) -> None:
    """50 writers hold transactions open, and with them every pass, until half of the phones have
    registered: were one of these to wait, none would go on. The other half registers while the
    writers commit, up to 3 s later, and commits late itself. Phones that ask only when pushed all
    have the newest versions in the end."""
    choice = random.Random(17)  # noqa: S311 - a seeded choice
    first, second = late.phones[::2], late.phones[1::2]
    are_first_in, is_over = asyncio.Event(), asyncio.Event()

    async def react_until_over() -> None:
        while not is_over.is_set():
            await late.react()
            await asyncio.sleep(0.02)

    async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as tasks:
        reacting = tasks.create_task(react_until_over())
        writers = [
            tasks.create_task(
                late.write(late.passes[at], are_first_in, choice.uniform(0, MOST_SECONDS))
            )
            for at in range(WRITERS)
        ]
        while not await all_held(late):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.02)
        for phone in first:
            await late.add(phone, choice)
        assert not any(each.done() for each in writers)
        await commit_late(database)
        second_in = [tasks.create_task(late.add(phone, choice)) for phone in second]
        are_first_in.set()
        await asyncio.wait(second_in)
        await asyncio.wait(writers)
        await late.fan_out.all_done()
        is_over.set()
        await reacting
    await late.react()
    newest = await late.versions()
    assert sum(newest.values()) == 2 * WRITERS
    behind = [
        (phone.device.name, serial)
        for phone in late.phones
        for serial, version in phone.seen.items()
        if version < newest[serial]
    ]
    assert behind == []


async def all_held(late: LateWriters) -> bool:
    """Whether somebody holds each pass."""
    async with late.connections.transaction(late.fan_out.caller) as tx:
        return not await tx.fetch("SELECT FROM passes FOR SHARE SKIP LOCKED")


async def commit_late(database: DatabaseAddress) -> None:
    """From now on."""
    connection = await asyncpg.connect(database.owner_url)
    try:
        await connection.execute(_REGISTER_LATE)
    finally:
        await connection.close(timeout=5)
