"""What a device is told of changes: everything, and nothing for ever."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

import pytest

from passmill.domain.registrations import UpdateTag
from passmill.store.database import Transaction
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.registry import Device, Registry, deadline
from tests.support.service import Club

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEYOND_ALL: Final = UpdateTag(10**17)


async def rename(club: Club, issued: Pass, name: str) -> None:
    """Changes what a pass shows."""
    await club.update(issued, "holder.name", wanted=Pass(holder=Holder(name=name)))


@asynccontextmanager
async def held_change(club: Club, issued: Pass) -> AsyncIterator[None]:
    """A change of a pass that is under way, and commits when the block ends."""
    async with club.tenant.service.services.database.transaction(club.tenant.caller) as tx:
        await touch(tx, uuid.UUID(issued.pass_id))
        yield


async def touch(tx: Transaction, pass_id: uuid.UUID) -> None:
    """Writes a change as every use case does: with the transaction's number."""
    await tx.execute(
        "UPDATE passes SET update_tag = pg_current_xact_id()::text::bigint, version = version + 1"
        " WHERE tenant_id = $1 AND pass_id = $2",
        tx.tenant_id,
        pass_id,
    )


async def hear(
    registry: Registry, club: Club, device: Device, since: UpdateTag | None = None
) -> tuple[set[str], UpdateTag]:
    """Lists until there is nothing more: whatever else is under way on the server ends soon. Gives
    all serial numbers told, and the last tag."""
    told: set[str] = set()
    since = since or UpdateTag(0)
    async with asyncio.timeout(30):
        while (updated := await registry.list(device, club, since)) is not None:
            told |= set(updated.serial_numbers)
            since = updated.last_updated
    return told, since


async def test_what_changed_is_told_once(registry: Registry, club: Club) -> None:
    """A device is told of all its passes first, then of those that changed, then of none."""
    passes = [await club.issue() for _ in range(3)]
    device = Device()
    for each in passes:
        await registry.register(device, club, each)
    everything, first = await hear(registry, club, device)
    assert everything == {each.serial_number for each in passes}
    await rename(club, passes[1], "Grace")
    told, second = await hear(registry, club, device, first)
    assert told == {passes[1].serial_number}
    assert second > first
    assert (await hear(registry, club, device))[0] == everything


async def test_what_cannot_be_seen_is_not_told(registry: Registry, club: Club) -> None:
    """A change that nobody can see on the pass is told to no device."""
    issued = await club.issue()
    device = Device()
    await registry.register(device, club, issued)
    _, first = await hear(registry, club, device)
    await club.update(issued, "holder.phone", wanted=Pass(holder=Holder(phone="+12065550123")))
    assert await registry.list(device, club, first) is None


async def test_what_ended_is_not_told(registry: Registry, club: Club) -> None:
    """Passes that a device has unregistered are not listed, nor anything of a device unknown."""
    passes = [await club.issue() for _ in range(2)]
    device = Device()
    for each in passes:
        await registry.register(device, club, each)
    await registry.unregister(device, club, passes[0])
    assert await registry.listed(device, club) == {passes[1].serial_number}
    await registry.unregister(device, club, passes[1])
    assert await registry.list(device, club) is None
    assert await registry.list(Device(), club) is None
    assert (
        await registry.list_updated_passes(
            device.name, "pass.com.example.nobody", UpdateTag(0), deadline=deadline()
        )
        is None
    )


async def test_a_change_before_the_registration_is_told(registry: Registry, club: Club) -> None:
    """F17: a pass that changed after its download and before the device registered is listed, also
    to a device that has listed since then; the registration's own tag does it."""
    early, late = await club.issue(), await club.issue()
    device = Device()
    await registry.register(device, club, early)
    await rename(club, late, "Grace")
    await rename(club, early, "Grace")
    told, since = await hear(registry, club, device)
    assert told == {early.serial_number}
    await registry.register(device, club, late)
    assert await registry.listed(device, club, since) == {late.serial_number}


@pytest.mark.parametrize("unknown", [BEYOND_ALL, "told to nobody"])
async def test_a_tag_that_was_never_told_counts_for_nothing(
    registry: Registry, club: Club, unknown: UpdateTag | str
) -> None:
    """A tag of another database's, or one that this device was never told, gets everything."""
    issued = await club.issue()
    device, other = Device(), Device()
    await registry.register(device, club, issued)
    await registry.register(other, club, issued)
    await hear(registry, club, device)
    await rename(club, issued, "Grace")
    _, others = await hear(registry, club, other)
    since = others if isinstance(unknown, str) else unknown
    again = await registry.list(device, club, since)
    assert again is not None
    assert again.serial_numbers == [issued.serial_number]
    assert again.last_updated <= others
    await hear(registry, club, device, again.last_updated)


async def test_another_databases_memory_heals(registry: Registry, club: Club) -> None:
    """After a restore into another database, whose transactions have smaller numbers, a device is
    told everything once, and then what changes."""
    issued = await club.issue()
    device = Device()
    await registry.register(device, club, issued)
    await club.tenant.fetch("UPDATE devices SET listed_tag = $1", BEYOND_ALL + 1)
    told, since = await hear(registry, club, device, BEYOND_ALL)
    assert told == {issued.serial_number}
    assert since < BEYOND_ALL
    await rename(club, issued, "Grace")
    assert await registry.listed(device, club, since) == {issued.serial_number}


async def test_a_late_commit_is_told(registry: Registry, club: Club) -> None:
    """While a change is under way, later ones are told twice; it is told when it commits; then
    there is silence."""
    slow, quick = await club.issue(), await club.issue()
    device = Device()
    for each in (slow, quick):
        await registry.register(device, club, each)
    _, first = await hear(registry, club, device)
    async with held_change(club, slow):
        await rename(club, quick, "Grace")
        second = await registry.list(device, club, first)
        assert second is not None
        assert second.serial_numbers == [quick.serial_number]
        third = await registry.list(device, club, second.last_updated)
        assert third == second
    told, _ = await hear(registry, club, device, second.last_updated)
    assert told == {slow.serial_number, quick.serial_number}


async def test_listing_writes_only_what_is_new(registry: Registry, club: Club) -> None:
    """A device that asks and hears nothing new is written down once an hour, no more."""
    issued = await club.issue()
    device = Device()
    await registry.register(device, club, issued)
    _, told = await hear(registry, club, device)

    async def version() -> tuple[int, datetime, int]:
        [row] = await club.tenant.fetch(
            "SELECT xmin::text::bigint AS written, last_seen_time, listed_tag FROM devices"
        )
        return row["written"], row["last_seen_time"], row["listed_tag"]

    before = await version()
    assert before[2] == told
    for _ in range(3):
        await registry.list(device, club, told)
    assert await version() == before
    await club.tenant.fetch(
        "UPDATE devices SET last_seen_time = last_seen_time - interval '2 hours'"
    )
    await registry.list(device, club, told)
    after = await version()
    assert after[1] > before[1] - timedelta(hours=1)
    assert after[2] == before[2]
