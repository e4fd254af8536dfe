"""Phones of the fan-out scenario: some that do all that Wallet does, and rows for the rest."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from passmill.dev.wallet_device.bundle import BundleVerifier, PassContent
from passmill.dev.wallet_device.device import WalletDevice
from passmill.dev.wallet_device.fleet import WalletFleet
from passmill_client import AsyncClient
from tests.faults.fanout_rig import PASS_TYPE, Rig

CALLS = 16
PHONES_A_STEP = 2_000

# What `store.registrations` writes when a phone registers, for many at once.
_REGISTER = """
WITH wanted AS (
    SELECT * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::uuid[])
        AS w(number, library, token, pass_id)
), made AS (
    INSERT INTO devices (tenant_id, device_number, pass_type_identifier,
        device_library_identifier, push_token, wallet, system_version, token_time, create_time,
        last_seen_time, listed_tag)
    SELECT DISTINCT $1::bigint, number, $6, library, token, 1, 'Darwin/24.1.0', now(), now(),
        now(), 0
    FROM wanted
), registered AS (
    INSERT INTO registrations (tenant_id, device_number, pass_id, bucket, tag, template_id,
        campaign_id, create_time)
    SELECT $1, number, pass_id, get_byte(uuid_send(pass_id), 15),
        pg_current_xact_id()::text::bigint, $7, $8, now()
    FROM wanted
    RETURNING pass_id
)
INSERT INTO outbox (tenant_id, event_id, kind, pass_ids, detail, create_time)
SELECT $1, gen_random_uuid(), 'pass.installed', ARRAY[pass_id],
    jsonb_build_object('wallet', 1, 'system_version', 'Darwin/24.1.0'), now()
FROM registered
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """A phone that has nothing but rows."""

    library: str
    token: str
    pass_ids: Sequence[UUID]


def plan_phones(pass_ids: Sequence[UUID], registrations: int, chance: random.Random) -> list[Phone]:
    """One phone for each pass, then phones with two passes each until there are so many
    registrations."""
    planned = [_phone([pass_id], chance) for pass_id in pass_ids[:registrations]]
    for _ in range(max(registrations - len(planned), 0) // 2):
        planned.append(_phone(chance.sample(pass_ids, 2), chance))
    return planned


def _phone(pass_ids: Sequence[UUID], chance: random.Random) -> Phone:
    return Phone(
        library=chance.randbytes(16).hex(), token=chance.randbytes(32).hex(), pass_ids=pass_ids
    )


async def write_phones(
    rig: Rig, phones: Sequence[Phone], campaign_id: str, chance: random.Random
) -> None:
    """Registers these phones by rows, some thousand a transaction."""
    connection = await rig.connect()
    try:
        for start in range(0, len(phones), PHONES_A_STEP):
            rows = [
                (chance.getrandbits(62), phone.library, phone.token, phone.pass_ids)
                for phone in phones[start : start + PHONES_A_STEP]
            ]
            pairs = [
                (number, library, token, pass_id)
                for number, library, token, pass_ids in rows
                for pass_id in pass_ids
            ]
            await connection.execute(
                _REGISTER,
                int(rig.club.tenant_id),
                *(list(column) for column in zip(*pairs, strict=True)),
                PASS_TYPE,
                UUID(rig.club.template_id),
                UUID(campaign_id),
                timeout=60,
            )
    finally:
        await connection.close(timeout=5)


class RememberingVerifier(BundleVerifier):
    """Also remembers the SHA-1 of each pass.json, by the SHA-256 of its bundle."""

    def __init__(self, *roots: bytes, openssl_every: int = 0) -> None:
        super().__init__(*roots, openssl_every=openssl_every)
        self.pass_json: dict[str, str] = {}

    def verify(self, bundle: bytes) -> PassContent:
        """Gives what is in it, as `BundleVerifier` does."""
        content = super().verify(bundle)
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            found = hashlib.sha1(archive.read("pass.json"), usedforsecurity=False).hexdigest()
        self.pass_json[content.digest] = found
        return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A simulated device. `wanted`: passes that it was given; `passes`: by pass that it has, the
    SHA-1 of the pass.json it shows."""

    device: str
    token: str
    wanted: list[str]
    passes: dict[str, str]


@dataclass(slots=True, kw_only=True)
class Sample:
    """Devices that really install, register, list, fetch and verify. `bundles`: as issued;
    `late`: devices that install theirs while everything changes."""

    fleet: WalletFleet
    verifier: RememberingVerifier
    bundles: Mapping[UUID, bytes] = field(repr=False)
    passes: dict[WalletDevice, list[UUID]] = field(default_factory=dict)
    serials: dict[str, UUID] = field(default_factory=dict)
    late: list[WalletDevice] = field(default_factory=list)

    def plan(self, count: int, chance: random.Random) -> None:
        """Decides which devices there are, with one pass or two each; every tenth is late."""
        pass_ids = list(self.bundles)
        for pass_id, bundle in self.bundles.items():
            self.serials[self.verifier.verify(bundle).serial_number] = pass_id
        for number in range(count):
            device = self.fleet.add_device()
            others = [chance.choice(pass_ids)] if number % 3 == 0 else []
            self.passes[device] = list({pass_ids[number % len(pass_ids)], *others})
            if number % 10 == 9:
                self.late.append(device)

    async def install(self, devices: Sequence[WalletDevice]) -> None:
        """These devices take their passes and register them."""
        await self.fleet.install_all(
            (device, self.bundles[pass_id]) for device in devices for pass_id in self.passes[device]
        )

    async def install_late(self, seconds: float, chance: random.Random) -> None:
        """The late devices come one by one within so many seconds, with what was issued long
        before."""
        for device in self.late:
            await asyncio.sleep(chance.uniform(0, 2 * seconds / len(self.late)))
            await self.install([device])

    def shown(self) -> list[Shown]:
        """What each device shows now."""
        return [
            Shown(
                device=device.library_identifier,
                token=device.push_token(PASS_TYPE),
                wanted=[str(pass_id) for pass_id in pass_ids],
                passes={
                    str(self.serials[key.serial_number]): self.verifier.pass_json[
                        installed.content.digest
                    ]
                    for key, installed in device.passes.items()
                },
            )
            for device, pass_ids in self.passes.items()
        ]


async def fetch_bundles(rig: Rig, pass_ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """The bundles of these passes, as whoever issues them hands them out."""
    bundles: dict[UUID, bytes] = {}
    left = list(reversed(pass_ids))

    async def work(client: AsyncClient) -> None:
        while left:
            pass_id = left.pop()
            bundles[pass_id] = await client.get_pass_bundle(pass_id=str(pass_id))

    async with AsyncClient(rig.service.api_address, rig.club.issue_key) as client:
        await asyncio.gather(*(work(client) for _ in range(CALLS)))
    return bundles
