"""What the edge does for devices, called by the test itself: no HTTP between."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import asyncpg
from prometheus_client import CollectorRegistry

from passmill.dev.authority import KeyType
from passmill.domain.clock import Clock, SystemClock
from passmill.domain.ids import PassId
from passmill.domain.registrations import (
    DeviceClaim,
    UpdatedPasses,
    UpdateTag,
    Wallet,
)
from passmill.rpc.convert_template import ProtoTemplateCodec
from passmill.signing.certificates import CertificateCache
from passmill.signing.revisions import RevisionCache
from passmill.signing.sealer import Sealer
from passmill.store.database import Database, open_database
from passmill.store.signing_identities import CertificateReader
from passmill.telemetry.metrics import Metrics
from passmill.usecases.authenticate_pass import AuthenticatePass, AuthenticPass
from passmill.usecases.forget_devices import ForgetDevices
from passmill.usecases.list_updated_passes import ListUpdatedPasses
from passmill.usecases.load_revision import LoadRevision, RevisionReader
from passmill.usecases.note_fetches import NoteFetches
from passmill.usecases.pass_content import PassContents
from passmill.usecases.pass_types import PassTypes
from passmill.usecases.register_device import RegisterDevice
from passmill.usecases.serve_pass import ServePass
from passmill.usecases.tenant_numbers import TenantNumbers
from passmill.usecases.unregister_device import UnregisterDevice
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.service import Club, Service, certificate
from tests.support.small_card import small_card

CALL_SECONDS: Final = 30.0


def deadline() -> float:
    """Of a call that begins now."""
    return asyncio.get_running_loop().time() + CALL_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A phone."""

    name: str = field(default_factory=secrets.token_urlsafe)
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    wallet: Wallet = Wallet.APPLE
    system_version: str = "Darwin/24.1.0"

    def with_token(self, token: str | None = None) -> Device:
        """The same phone, reached by another token."""
        return replace(self, token=token or secrets.token_hex(32))

    def claim(self, pass_type_identifier: str) -> DeviceClaim:
        """What it says of itself when it registers for such a pass."""
        return DeviceClaim(
            device_library_identifier=self.name,
            pass_type_identifier=pass_type_identifier,
            push_token=self.token,
            wallet=self.wallet,
            system_version=self.system_version,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The use cases of an edge, on a service's database."""

    service: Service
    database: Database
    numbers: TenantNumbers
    authenticate: AuthenticatePass
    register_device: RegisterDevice
    unregister_device: UnregisterDevice
    list_updated_passes: ListUpdatedPasses
    serve: ServePass
    note_fetches: NoteFetches
    forget_devices: ForgetDevices

    async def authentic(self, club: Club, wallet_pass: Pass) -> AuthenticPass:
        """A pass as its holder proves it."""
        [row] = await club.tenant.fetch(
            "SELECT p.token_generation, r.pass_type_identifier FROM passes p"
            " JOIN template_revisions r USING (tenant_id, revision_id) WHERE p.pass_id = $1",
            uuid.UUID(wallet_pass.pass_id),
        )
        token = self.service.services.keyring.pass_tokens.of(
            club.tenant.caller.tenant_id,
            PassId(uuid.UUID(wallet_pass.pass_id)),
            row["token_generation"],
        )
        found = await self.authenticate(
            row["pass_type_identifier"], wallet_pass.serial_number, token, deadline=deadline()
        )
        assert found is not None
        return found

    async def register(self, device: Device, club: Club, wallet_pass: Pass) -> bool:
        """Registers a phone for a pass."""
        return await self.register_as(await self.authentic(club, wallet_pass), device)

    async def register_as(self, mine: AuthenticPass, device: Device) -> bool:
        """Registers a phone for a pass that was proved."""
        return await self.register_device(mine, device.claim(mine.pass_type_identifier))

    async def unregister(self, device: Device, club: Club, wallet_pass: Pass) -> None:
        """Ends that."""
        await self.unregister_device(await self.authentic(club, wallet_pass), device.name)

    async def list(
        self, device: Device, club: Club, since: UpdateTag | None = None
    ) -> UpdatedPasses | None:
        """What the phone is told of its passes of the club's type when it gives this tag back."""
        return await self.list_updated_passes(
            device.name,
            await pass_type_of(club),
            UpdateTag(0) if since is None else since,
            deadline=deadline(),
        )

    async def listed(self, device: Device, club: Club, since: UpdateTag | None = None) -> set[str]:
        """The serial numbers alone."""
        updated = await self.list(device, club, since)
        return set() if updated is None else set(updated.serial_numbers)


@asynccontextmanager
async def open_registry(
    service: Service,
    *,
    clock: Clock | None = None,
    max_connections: int = 8,
    database_url: str | None = None,
) -> AsyncIterator[Registry]:
    """An edge's use cases on the service's database, by connections of their own."""
    clock = clock or SystemClock()
    tokens = service.services.keyring.pass_tokens
    metrics = Metrics(CollectorRegistry())
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            open_database(
                database_url or service.settings.database_url.get_secret_value(),
                min_connections=1,
                max_connections=max_connections,
            )
        )
        executor = stack.enter_context(ThreadPoolExecutor(max_workers=2))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        pass_types = PassTypes(database=database)
        numbers = TenantNumbers(database=database)
        yield Registry(
            service=service,
            database=database,
            numbers=numbers,
            authenticate=AuthenticatePass(pass_types=pass_types, numbers=numbers, tokens=tokens),
            register_device=RegisterDevice(database=database, clock=clock),
            unregister_device=UnregisterDevice(database=database, clock=clock),
            list_updated_passes=ListUpdatedPasses(
                database=database, pass_types=pass_types, numbers=numbers, clock=clock
            ),
            serve=ServePass(
                database=database,
                load_revision=LoadRevision(
                    database=database,
                    cache=RevisionCache(
                        loader=RevisionReader(database=database, codec=ProtoTemplateCodec())
                    ),
                ),
                certificates=CertificateCache(loader=CertificateReader(database=database)),
                contents=PassContents(numbers=numbers, tokens=tokens),
                sealer=Sealer(executor=executor, metrics=metrics),
                clock=clock,
                metrics=metrics,
                tasks=tasks,
            ),
            note_fetches=NoteFetches(database=database, clock=clock),
            forget_devices=ForgetDevices(database=database, clock=clock),
        )


async def add_registry_club(service: Service, pass_type_identifier: str) -> Club:
    """A tenant that can issue passes of this type."""
    tenant = await service.add_tenant()
    await tenant.add_identity(certificate(pass_type_identifier, key_type=KeyType.P256))
    program_id = await tenant.add_program(pass_type_identifier)
    template_id = await tenant.add_template(program_id, small_card())
    await tenant.publish(template_id)
    return Club(tenant=tenant, program_id=program_id, template_id=template_id)


async def pass_type_of(club: Club) -> str:
    """Of what type the club's passes are."""
    [row] = await club.tenant.fetch("SELECT DISTINCT pass_type_identifier FROM signing_identities")
    return str(row["pass_type_identifier"])


async def registrations_of(club: Club, device: Device) -> list[asyncpg.Record]:
    """The rows of a phone's registrations in a tenant, live ones first."""
    return await club.tenant.fetch(
        "SELECT r.*, d.push_token, d.system_version, d.wallet FROM registrations r"
        " JOIN devices d USING (tenant_id, device_number)"
        " WHERE d.device_library_identifier = $1 ORDER BY r.remove_time NULLS FIRST, r.pass_id",
        device.name,
    )


async def events_of(club: Club, kind: str) -> list[asyncpg.Record]:
    """The events of a kind in a tenant, in the order of their transactions."""
    return await club.tenant.fetch(
        "SELECT pass_ids, detail, create_time FROM outbox WHERE kind = $1"
        " ORDER BY transaction_id, event_id",
        kind,
    )
