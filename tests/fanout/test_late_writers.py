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

import pytest
import pytest_asyncio

from passmill.domain.clock import SystemClock
from passmill.domain.registrations import UpdateTag
from passmill.store import outbox
from passmill.store.database import Database, open_database
from passmill.store.push_jobs import enqueue_push
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.fan_out import WAIT_SECONDS, FanOut
from tests.support.registry import Device, Registry, open_registry
from tests.support.service import Service

pytestmark = pytest.mark.timeout(120)

WRITERS: Final = 50
PASSES: Final = 20
PHONES: Final = 60
MOST_SECONDS: Final = 3.0


@dataclass(kw_only=True)
class Phone:
    """A phone that asks for nothing unless it is pushed. `seen`: versions by serial number."""

    device: Device = field(default_factory=Device)
    since: UpdateTag = UpdateTag(0)
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
                pass_ids=[UUID(wallet_pass.pass_id)],
                detail=json.dumps({"visible": True}),
                now=SystemClock().now(),
            )
            await enqueue_push(tx, event_id)
            await holds.wait()
            await asyncio.sleep(seconds)

    async def add(self, phone: Phone, choice: random.Random) -> None:
        """A phone downloads three passes as they are, and registers for them a moment later."""
        versions = await self.versions()
        for each in choice.sample(self.passes, 3):
            phone.seen[each.serial_number] = versions[each.serial_number]
            assert await self.registry.register(phone.device, self.fan_out.club, each)

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
        open_registry(own_service) as registry,
        open_database(url, min_connections=0, max_connections=WRITERS + 1) as connections,
    ):
        yield LateWriters(
            fan_out=fan_out,
            registry=registry,
            connections=connections,
            passes=[await fan_out.club.issue() for _ in range(PASSES)],
            phones=[Phone() for _ in range(PHONES)],
        )


async def test_every_phone_ends_on_the_newest_version(late: LateWriters) -> None:
    """50 writers hold transactions open, and with them every pass, until half of the phones have
    registered: were one of these to wait, none would go on. The other half registers while the
    writers commit, up to 3 s later. Phones that ask only when pushed all have the newest versions
    in the end."""
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
                late.write(
                    late.passes[at % PASSES], are_first_in, choice.uniform(0, MOST_SECONDS / 3)
                )
            )
            for at in range(WRITERS)
        ]
        while not await all_held(late):
            await asyncio.sleep(0.02)
        for phone in first:
            await late.add(phone, choice)
        assert not any(each.done() for each in writers)
        are_first_in.set()
        for phone in second:
            await late.add(phone, choice)
            await asyncio.sleep(choice.uniform(0, MOST_SECONDS / PHONES))
        await asyncio.wait(writers)
        await late.fan_out.all_done()
        is_over.set()
        await reacting
    await late.react()
    newest = await late.versions()
    assert sum(newest.values()) == PASSES + WRITERS
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
