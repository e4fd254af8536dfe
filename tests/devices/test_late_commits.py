"""F16: writers that hold transactions open while devices poll; no change is skipped, where a tag of
time would skip some."""

import asyncio
import random
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import asyncpg
import pytest

from passmill.domain.registrations import UpdateTag
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.registry import Device, Registry, pass_type_of
from tests.support.service import Club

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

WRITERS: Final = 50
DEVICES: Final = 100
PASSES: Final = 20
HELD_SECONDS: Final = 0.6
NEVER: Final = UpdateTag(0)

# What a device is told when it gives a tag back, and the tag to give back the next time.
Poll: TypeAlias = Callable[[Device, UpdateTag], Awaitable[tuple[list[str], UpdateTag]]]


@dataclass(kw_only=True)
class Phone:
    """A device that fetches what it is told of. `seen`: versions by serial number."""

    device: Device
    serials: list[str]
    since: UpdateTag = NEVER
    seen: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True, kw_only=True)
class Convergence:
    """Passes, the devices that hold three each, and how they poll."""

    club: Club
    passes: list[Pass]
    phones: list[Phone]
    poll: Poll

    async def run(self) -> int:
        """Lets the writers write and the devices poll, and each poll once more when all is quiet.
        Gives of how many newest versions the devices did not hear."""
        over = asyncio.Event()
        pollers = [
            asyncio.create_task(self._poll_until(over, self.phones[at::5])) for at in range(5)
        ]
        await self._write()
        over.set()
        await asyncio.gather(*pollers)
        for phone in self.phones:
            await self._ask(phone)
        newest = await self._versions()
        return sum(
            phone.seen[serial] < newest[serial] for phone in self.phones for serial in phone.serials
        )

    async def _poll_until(self, over: asyncio.Event, phones: list[Phone]) -> None:
        while not over.is_set():
            for phone in phones:
                await self._ask(phone)

    async def _ask(self, phone: Phone) -> None:
        listed, phone.since = await self.poll(phone.device, phone.since)
        if listed:
            # As the fetches that follow: of what is committed by then.
            versions = await self._versions()
            phone.seen.update({serial: versions[serial] for serial in listed})

    async def _versions(self) -> dict[str, int]:
        rows = await self.club.tenant.fetch("SELECT pass_id, version FROM passes")
        versions = {str(row["pass_id"]): row["version"] for row in rows}
        return {each.serial_number: versions[each.pass_id] for each in self.passes}

    async def _write(self) -> None:
        url = self.club.tenant.service.settings.database_url.get_secret_value()
        async with asyncpg.create_pool(url, min_size=WRITERS, max_size=WRITERS) as connections:
            await asyncio.gather(*(self._hold(connections, seed) for seed in range(WRITERS)))

    async def _hold(self, connections: asyncpg.Pool, seed: int) -> None:
        choice = random.Random(seed)  # noqa: S311 - a seeded choice
        for _ in range(3):
            issued = choice.choice(self.passes)
            async with connections.acquire() as connection, connection.transaction():
                await connection.execute(
                    f"SET LOCAL passmill.tenant_id = '{self.club.tenant.tenant_id}'"
                )
                # Its number and its time are given to it now; what it changes is seen at its end.
                await connection.execute("SELECT pg_current_xact_id()")
                await asyncio.sleep(choice.uniform(0, HELD_SECONDS))
                await connection.execute(
                    "UPDATE passes SET update_tag = pg_current_xact_id()::text::bigint,"
                    " signing_time = now(), version = version + 1 WHERE pass_id = $1",
                    uuid.UUID(issued.pass_id),
                )


async def begin(registry: Registry, club: Club, poll: Poll) -> Convergence:
    """Devices with three passes each."""
    passes = [await club.issue() for _ in range(PASSES)]
    proofs = {each.serial_number: await registry.authentic(club, each) for each in passes}
    choice = random.Random(16)  # noqa: S311 - a seeded choice
    phones = [
        Phone(device=Device(), serials=choice.sample(list(proofs), 3)) for _ in range(DEVICES)
    ]
    for phone in phones:
        for serial in phone.serials:
            await registry.register_as(proofs[serial], phone.device)
    return Convergence(club=club, passes=passes, phones=phones, poll=poll)


async def test_every_device_hears_of_every_change(registry: Registry, club: Club) -> None:
    """With 50 writers that hold transactions open while 100 devices poll, every device hears of the
    newest version of each of its passes."""

    async def poll(device: Device, since: UpdateTag) -> tuple[list[str], UpdateTag]:
        updated = await registry.list(device, club, since)
        if updated is None:
            return [], since
        return list(updated.serial_numbers), updated.last_updated

    assert await (await begin(registry, club, poll)).run() == 0


async def test_times_as_tags_lose_changes(registry: Registry, club: Club) -> None:
    """The control: told by the time of their change, as most servers do, the same devices miss
    some; so the test above can fail."""
    pass_type = await pass_type_of(club)
    numbers = await registry.numbers.serial_numbers(club.tenant.caller)

    async def poll(device: Device, since: UpdateTag) -> tuple[list[str], UpdateTag]:
        rows = await club.tenant.fetch(
            "SELECT pass_id, changed FROM (SELECT p.pass_id,"
            "  (extract(epoch FROM p.signing_time) * 1000000)::bigint AS changed"
            "  FROM devices d JOIN registrations r USING (tenant_id, device_number)"
            "  JOIN passes p USING (tenant_id, pass_id)"
            "  WHERE d.pass_type_identifier = $1 AND d.device_library_identifier = $2) AS held"
            " WHERE changed > $3",
            pass_type,
            device.name,
            since,
        )
        latest = max((row["changed"] for row in rows), default=since)
        return [numbers.of(row["pass_id"]) for row in rows], UpdateTag(latest)

    assert await (await begin(registry, club, poll)).run() > 0
