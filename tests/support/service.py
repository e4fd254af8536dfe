"""A whole Passmill in this process, wired as in production, and tenants in it."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import secrets
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import asyncpg
import grpc
from prometheus_client import CollectorRegistry

from passmill.compose import Services, open_api
from passmill.dev.authority import IssuedCertificate, KeyType, ThrowawayAuthority
from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.domain.templates import TemplateContent
from passmill.rpc.convert_template import content_to_proto
from passmill.settings import DatabasePool, Limits, Settings
from passmill.v1 import admin_service_pb2, api_scope_pb2, program_service_pb2, template_service_pb2
from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.admin_service_pb2_grpc import AdminServiceStub
from passmill.v1.balance_service_pb2_grpc import BalanceServiceStub
from passmill.v1.campaign_service_pb2_grpc import CampaignServiceStub
from passmill.v1.device_service_pb2_grpc import DeviceServiceStub
from passmill.v1.event_service_pb2_grpc import EventServiceStub
from passmill.v1.pass_service_pb2_grpc import PassServiceStub
from passmill.v1.program_service_pb2_grpc import ProgramServiceStub
from passmill.v1.request_meta_pb2 import RequestMeta
from passmill.v1.template_service_pb2_grpc import TemplateServiceStub
from passmill.v1.wallet_pass_pb2 import Pass, PassDraft, PassRef
from tests.support.channels import CALL_SECONDS, keyed, open_channel, reserve_port
from tests.support.small_card import draft as small_draft
from tests.support.small_card import small_card
from tests.support.templates import assets

if TYPE_CHECKING:  # these exist for type checkers only
    from passmill.v1.admin_service_pb2_grpc import AdminServiceAsyncStub
    from passmill.v1.balance_service_pb2_grpc import BalanceServiceAsyncStub
    from passmill.v1.campaign_service_pb2_grpc import CampaignServiceAsyncStub
    from passmill.v1.device_service_pb2_grpc import DeviceServiceAsyncStub
    from passmill.v1.event_service_pb2_grpc import EventServiceAsyncStub
    from passmill.v1.pass_service_pb2_grpc import PassServiceAsyncStub
    from passmill.v1.program_service_pb2_grpc import ProgramServiceAsyncStub
    from passmill.v1.template_service_pb2_grpc import TemplateServiceAsyncStub

PASS_TYPE: Final = "pass.com.example.club"
TEAM: Final = "A1B2C3D4E5"
WEB_SERVICE_URL: Final = "https://passes.example.com/wallet"
ALL_SCOPES: Final = tuple(api_scope_pb2.ApiScope.values()[1:])


class SetClock:
    """A clock that a test sets; it starts at the real time, in whole seconds."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC).replace(microsecond=0)

    def now(self) -> datetime:
        """The moment set."""
        return self.moment

    def advance(self, span: timedelta) -> None:
        """Moves on."""
        self.moment += span


@functools.cache
def authority() -> ThrowawayAuthority:
    """The one certificate authority of a test run's process: RSA keys are slow to make."""
    return ThrowawayAuthority(now=datetime.now(UTC))


@functools.cache
def certificate(
    pass_type_identifier: str = PASS_TYPE, *, key_type: KeyType = KeyType.RSA_2048
) -> IssuedCertificate:
    """A valid pass certificate, the same one each time."""
    return authority().issue_pass_certificate(
        now=datetime.now(UTC),
        pass_type_identifier=pass_type_identifier,
        team_identifier=TEAM,
        key_type=key_type,
    )


def meta(*, validate_only: bool = False) -> RequestMeta:
    """A new request id."""
    return RequestMeta(request_id=str(uuid.uuid4()), validate_only=validate_only)


def basic(wallet_pass: Pass) -> Pass:
    """The pass in PASS_VIEW_BASIC."""
    bare = Pass()
    bare.CopyFrom(wallet_pass)
    bare.ClearField("holder")
    bare.ClearField("values")
    bare.ClearField("effective_expire_time")
    bare.ClearField("void_reason")
    return bare


def by_id(wallet_pass: Pass) -> PassRef:
    """A reference to a pass."""
    return PassRef(pass_id=wallet_pass.pass_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One API key's view of the service: its stubs send the key, and a deadline unless told
    otherwise."""

    api_key: str
    passes: PassServiceAsyncStub
    programs: ProgramServiceAsyncStub
    templates: TemplateServiceAsyncStub
    campaigns: CampaignServiceAsyncStub
    devices: DeviceServiceAsyncStub
    events: EventServiceAsyncStub
    balances: BalanceServiceAsyncStub
    admin: AdminServiceAsyncStub


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service. `services`: what is wired in it, to look behind the door."""

    settings: Settings
    services: Services
    api_address: str
    admin_address: str
    api: grpc.aio.Channel
    admin: grpc.aio.Channel

    @property
    def operator(self) -> AdminServiceAsyncStub:
        """The operator's stub."""
        assert self.settings.operator_key is not None
        return AdminServiceStub(keyed(self.admin, self.settings.operator_key.get_secret_value()))

    def member(self, api_key: str) -> Member:
        """The stubs of an API key."""
        api, admin = keyed(self.api, api_key), keyed(self.admin, api_key)
        return Member(
            api_key=api_key,
            passes=PassServiceStub(api),
            programs=ProgramServiceStub(api),
            templates=TemplateServiceStub(api),
            campaigns=CampaignServiceStub(api),
            devices=DeviceServiceStub(api),
            events=EventServiceStub(api),
            balances=BalanceServiceStub(api),
            admin=AdminServiceStub(admin),
        )

    async def add_tenant(self) -> Tenant:
        """A tenant with a key of every scope."""
        request = admin_service_pb2.CreateTenantRequest(display_name="Ruderverein", meta=meta())
        tenant_id = (await self.operator.CreateTenant(request)).tenant.tenant_id
        api_key = await self.add_key(tenant_id)
        return Tenant(service=self, tenant_id=tenant_id, member=self.member(api_key))

    async def add_key(
        self,
        tenant_id: str,
        scopes: Sequence[api_scope_pb2.ApiScope.ValueType] = ALL_SCOPES,
    ) -> str:
        """A new API key."""
        request = admin_service_pb2.CreateApiKeyRequest(
            tenant_id=tenant_id, display_name="test", scopes=scopes, meta=meta()
        )
        return (await self.operator.CreateApiKey(request)).secret_key

    async def add_club(self, content: TemplateContent | None = None) -> Club:
        """A tenant that can issue: with identity, program and a published template."""
        tenant = await self.add_tenant()
        await tenant.add_identity()
        program_id = await tenant.add_program()
        template_id = await tenant.add_template(program_id, content or small_card())
        await tenant.publish(template_id)
        return Club(tenant=tenant, program_id=program_id, template_id=template_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A tenant, with what it needs before it can issue. `member`: of a key with every scope."""

    service: Service
    tenant_id: str
    member: Member

    async def add_identity(
        self, issued: IssuedCertificate | None = None, *, activate: bool = True
    ) -> admin_service_pb2.SigningIdentity:
        """Uploads a signing identity, of `PASS_TYPE` unless it is given."""
        issued = issued or certificate()
        request = admin_service_pb2.UploadSigningIdentityRequest(
            tenant_id=self.tenant_id,
            pem=admin_service_pb2.PemIdentity(
                certificate=issued.certificate_pem, private_key=issued.private_key_pem
            ),
            intermediates=[issued.wwdr_pem],
            activate=activate,
            meta=meta(),
        )
        return (await self.service.operator.UploadSigningIdentity(request)).signing_identity

    async def add_program(self, pass_type_identifier: str = PASS_TYPE) -> str:
        """A program; gives its id."""
        request = program_service_pb2.CreateProgramRequest(
            display_name="Club", pass_type_identifier=pass_type_identifier, meta=meta()
        )
        return (await self.member.programs.CreateProgram(request)).program.program_id

    async def add_template(self, program_id: str, content: TemplateContent) -> str:
        """A draft with its images; gives its id."""
        request = template_service_pb2.CreateTemplateRequest(
            program_id=program_id,
            display_name="Card",
            content=content_to_proto(await self.with_assets(content)),
            meta=meta(),
        )
        return (await self.member.templates.CreateTemplate(request)).template.template_id

    async def with_assets(self, content: TemplateContent) -> TemplateContent:
        """The content naming its images as they were uploaded."""
        ids = {}
        for name, image in assets(content).items():
            upload = template_service_pb2.UploadAssetRequest(content=image, meta=meta())
            ids[name] = (await self.member.templates.UploadAsset(upload)).asset.asset_id
        return replace(
            content,
            images=tuple(replace(image, asset_id=ids[image.asset_id]) for image in content.images),
        )

    async def publish(self, template_id: str, content: TemplateContent | None = None) -> int:
        """Publishes the draft, after changing it to `content`; gives the revision's number."""
        if content is not None:
            update = template_service_pb2.UpdateTemplateRequest(
                template_id=template_id,
                template=template_service_pb2.Template(
                    content=content_to_proto(await self.with_assets(content))
                ),
                meta=meta(),
            )
            update.update_mask.paths.append("content")
            await self.member.templates.UpdateTemplate(update)
        request = template_service_pb2.PublishTemplateRequest(template_id=template_id, meta=meta())
        return (await self.member.templates.PublishTemplate(request)).revision.revision

    @property
    def caller(self) -> Caller:
        """The service's own work inside the tenant."""
        deadline = asyncio.get_running_loop().time() + CALL_SECONDS
        return internal_caller(TenantId(int(self.tenant_id)), deadline=deadline)

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Looks into the tenant's rows, or changes them as no call could."""
        async with self.service.services.database.transaction(self.caller) as tx:
            return await tx.fetch(sql, *arguments)

    async def count(self, table: str) -> int:
        """How many rows the tenant has in a table."""
        [row] = await self.fetch(f"SELECT count(*) FROM {table}")  # noqa: S608 - a test's word
        return int(row["count"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Club:
    """A tenant that can issue, and its published template (of `small_card` unless told)."""

    tenant: Tenant
    program_id: str
    template_id: str

    @property
    def passes(self) -> PassServiceAsyncStub:
        """The pass service, as a key with every scope sees it."""
        return self.tenant.member.passes

    @property
    def campaigns(self) -> CampaignServiceAsyncStub:
        """The campaign service, likewise."""
        return self.tenant.member.campaigns

    def issue_request(
        self, draft: PassDraft | None = None, *, revision: int = 0, validate_only: bool = False
    ) -> pb.IssuePassRequest:
        """A request to issue a pass."""
        return pb.IssuePassRequest(
            template_id=self.template_id,
            revision=revision,
            draft=draft or small_draft(),
            meta=meta(validate_only=validate_only),
        )

    def batch_request(
        self, drafts: Sequence[PassDraft], *, atomic: bool = False, validate_only: bool = False
    ) -> pb.BatchIssuePassesRequest:
        """A request to issue several."""
        return pb.BatchIssuePassesRequest(
            template_id=self.template_id,
            drafts=drafts,
            atomic=atomic,
            meta=meta(validate_only=validate_only),
        )

    async def issue(self, draft: PassDraft | None = None, *, revision: int = 0) -> Pass:
        """Issues a pass; gives the answer."""
        request = self.issue_request(draft, revision=revision)
        return (await self.passes.IssuePass(request)).wallet_pass

    async def get(self, wallet_pass: Pass) -> Pass:
        """The whole pass as it is now."""
        return (await self.passes.GetPass(pb.GetPassRequest(ref=by_id(wallet_pass)))).wallet_pass

    async def update(self, wallet_pass: Pass, *paths: str, wanted: Pass, etag: str = "") -> Pass:
        """Changes what `paths` name to what `wanted` holds; gives the answer."""
        request = update_request(wallet_pass, *paths, wanted=wanted, etag=etag)
        return (await self.passes.UpdatePass(request)).wallet_pass

    async def bundle(self, wallet_pass: Pass) -> bytes:
        """The pass's .pkpass."""
        request = pb.GetPassBundleRequest(ref=by_id(wallet_pass))
        return (await self.passes.GetPassBundle(request)).bundle


def update_request(
    wallet_pass: Pass, *paths: str, wanted: Pass, etag: str = "", validate_only: bool = False
) -> pb.UpdatePassRequest:
    """A request to change what `paths` name to what `wanted` holds."""
    request = pb.UpdatePassRequest(
        ref=by_id(wallet_pass),
        wallet_pass=wanted,
        etag=etag,
        meta=meta(validate_only=validate_only),
    )
    request.update_mask.paths.extend(paths)
    return request


def _master_key_of(database_url: str) -> bytes:
    # A database belongs to its first master key, whoever opens a service on it.
    return hashlib.sha256(database_url.encode()).digest()


def service_settings(database_url: str) -> Settings:
    """Settings of a service on this database."""
    return Settings.model_validate(
        {
            "database_url": database_url,
            "redis_url": "redis://127.0.0.1:1/0",
            "master_key": base64.b64encode(_master_key_of(database_url)).decode(),
            "operator_key": secrets.token_urlsafe(32),
            "public_url": WEB_SERVICE_URL,
            "database": DatabasePool(min_connections=1, max_connections=8, require_durable=False),
            "limits": Limits(drain_seconds=5.0, signing_threads=2),
        }
    )


@asynccontextmanager
async def open_service(
    database_url: str, *, clock: Clock | None = None, settings: Settings | None = None
) -> AsyncIterator[Service]:
    """Serves on two free ports of the loopback. `settings`: of an earlier service on the same
    database, to be the same one again."""
    settings = settings or service_settings(database_url)
    with ExitStack() as held:
        ports = [reserve_port(held) for _ in range(2)]
        api_address, admin_address = (f"127.0.0.1:{port}" for port in ports)
        async with (
            open_api(
                settings,
                api_port=ports[0],
                admin_port=ports[1],
                clock=clock,
                registry=CollectorRegistry(),
            ) as services,
            open_channel(api_address) as api,
            open_channel(admin_address) as admin,
        ):
            yield Service(
                settings=settings,
                services=services,
                api_address=api_address,
                admin_address=admin_address,
                api=api,
                admin=admin,
            )
