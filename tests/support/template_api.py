"""Program and template services on a real grpc.aio server over one test's database."""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import CollectorRegistry

from passmill.dev.authority import IssuedCertificate
from passmill.domain.api_keys import new_api_key
from passmill.domain.callers import Caller, Scope, internal_caller, operator_caller
from passmill.domain.clock import SystemClock
from passmill.domain.ids import SigningIdentityId, TenantId, new_number
from passmill.domain.keyring import Keyring
from passmill.domain.tenants import ApiKey, StoredIdentity, Tenant, TenantState
from passmill.rpc import program_service, template_service
from passmill.rpc.convert_template import ProtoTemplateCodec
from passmill.rpc.door import Door
from passmill.rpc.paging import Pages
from passmill.rpc.places import Places, RequestBytes
from passmill.rpc.program_service import ProgramServicer
from passmill.rpc.status import RequestValidator
from passmill.rpc.template_service import TemplateServicer
from passmill.signing.identities import IdentityCache
from passmill.signing.native import SigningIdentity
from passmill.signing.revisions import RevisionCache
from passmill.store.api_keys import insert_api_key
from passmill.store.database import Database, open_database
from passmill.store.signing_identities import IdentityReader, insert_identity, set_active
from passmill.store.tenants import insert_tenant
from passmill.telemetry.metrics import Metrics
from passmill.usecases.archive_program import ArchiveProgram
from passmill.usecases.archive_template import ArchiveTemplate
from passmill.usecases.authenticate import Authenticate
from passmill.usecases.create_program import CreateProgram
from passmill.usecases.create_template import CreateTemplate
from passmill.usecases.load_revision import LoadRevision, RevisionReader
from passmill.usecases.mutation import Mutator
from passmill.usecases.preview_pass import PreviewPass
from passmill.usecases.publish_template import PublishTemplate
from passmill.usecases.update_program import UpdateProgram
from passmill.usecases.update_template import UpdateTemplate
from passmill.usecases.upload_asset import UploadAsset
from passmill.v1 import program_service_pb2, template_service_pb2
from passmill.v1.program_service_pb2_grpc import ProgramServiceStub
from passmill.v1.request_meta_pb2 import RequestMeta
from passmill.v1.template_service_pb2_grpc import TemplateServiceStub

if TYPE_CHECKING:  # these exist for type checkers only
    from passmill.v1.program_service_pb2_grpc import ProgramServiceAsyncStub
    from passmill.v1.template_service_pb2_grpc import TemplateServiceAsyncStub

WEB_SERVICE_URL: Final = "https://passes.example.com/wallet"
CALL_SECONDS: Final = 20.0
_PROGRAM: Final = program_service_pb2.DESCRIPTOR.services_by_name["ProgramService"]
_TEMPLATE: Final = template_service_pb2.DESCRIPTOR.services_by_name["TemplateService"]


def meta(*, validate_only: bool = False) -> RequestMeta:
    """A new request id."""
    return RequestMeta(request_id=str(uuid.uuid4()), validate_only=validate_only)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One API key's view of the server."""

    tenant_id: TenantId
    programs: "ProgramServiceAsyncStub"
    templates: "TemplateServiceAsyncStub"


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateApi:
    """The server, and what makes tenants for it."""

    address: str
    database: Database
    keyring: Keyring
    load_revision: LoadRevision
    revisions: RevisionCache

    def caller(self, tenant_id: TenantId) -> Caller:
        """The service's own work inside a tenant."""
        return internal_caller(tenant_id, deadline=_deadline())

    async def add_tenant(self) -> TenantId:
        """A new tenant."""
        tenant = Tenant(
            tenant_id=TenantId(new_number()),
            display_name="Test",
            state=TenantState.ACTIVE,
            serial_key=secrets.token_bytes(16),
            reference_key=secrets.token_bytes(24),
            create_time=datetime.now(UTC),
        )
        async with self.database.transaction(operator_caller(deadline=_deadline())) as tx:
            await insert_tenant(tx, tenant)
        return tenant.tenant_id

    @asynccontextmanager
    async def member(
        self, *, tenant_id: TenantId | None = None, scopes: Iterable[Scope] = Scope
    ) -> AsyncIterator[Member]:
        """A client with a new API key of a tenant, a new one unless it is given."""
        tenant_id = tenant_id or await self.add_tenant()
        new_key = new_api_key()
        api_key = ApiKey(
            tenant_id=tenant_id,
            key_id=new_key.key_id,
            secret_hash=new_key.secret_hash,
            display_name="Test",
            scopes=frozenset(scopes),
            create_time=datetime.now(UTC),
            expire_time=None,
            revoke_time=None,
        )
        async with self.database.transaction(self.caller(tenant_id)) as tx:
            await insert_api_key(tx, api_key)
        options = [("grpc.use_local_subchannel_pool", 1)]
        interceptors = [_Credential(f"Bearer {new_key.text}")]
        async with grpc.aio.insecure_channel(
            self.address, options=options, interceptors=interceptors
        ) as channel:
            yield Member(
                tenant_id=tenant_id,
                programs=ProgramServiceStub(channel),
                templates=TemplateServiceStub(channel),
            )

    async def add_identity(self, tenant_id: TenantId, issued: IssuedCertificate) -> None:
        """Stores a signing identity and makes it the one that signs its pass type."""
        now = datetime.now(UTC)
        identity = SigningIdentity.from_pem(
            issued.certificate_pem,
            issued.private_key_pem,
            password=None,
            intermediates=[issued.wwdr_pem],
            now=int(now.timestamp()),
        )
        certificate = identity.certificate
        stored = StoredIdentity(
            signing_identity_id=SigningIdentityId(new_number()),
            pass_type_identifier=certificate.pass_type_identifier,
            team_identifier=certificate.team_identifier,
            fingerprint=certificate.fingerprint_sha256,
            leaf_der=certificate.leaf_der,
            intermediate_der=certificate.intermediate_der,
            wrapped_key=identity.wrap(wrapping_key=self.keyring.wrapping_key),
            valid_from=datetime.fromtimestamp(certificate.not_before, UTC),
            expire_time=datetime.fromtimestamp(certificate.not_after, UTC),
            is_active=False,
            create_time=now,
        )
        async with self.database.transaction(self.caller(tenant_id)) as tx:
            assert await insert_identity(tx, stored)
            await set_active(
                tx,
                stored.signing_identity_id,
                pass_type_identifier=stored.pass_type_identifier,
            )


@asynccontextmanager
async def open_template_api(database_url: str) -> AsyncIterator[TemplateApi]:
    """Serves both services on a free port of the loopback."""
    async with open_database(database_url, min_connections=1, max_connections=8) as database:
        clock = SystemClock()
        keyring = Keyring(secrets.token_bytes(32))
        codec = ProtoTemplateCodec()
        mutator = Mutator(database=database, clock=clock, keyring=keyring)
        validator = RequestValidator()
        pages = Pages(keyring=keyring)
        revisions = RevisionCache(loader=RevisionReader(database=database, codec=codec))
        load_revision = LoadRevision(database=database, cache=revisions)
        identities = IdentityCache(
            loader=IdentityReader(database=database),
            wrapping_key=keyring.wrapping_key,
            clock=clock,
        )
        programs = ProgramServicer(
            database=database,
            pages=pages,
            create_program=CreateProgram(mutator=mutator, clock=clock),
            update_program=UpdateProgram(mutator=mutator, clock=clock),
            archive_program=ArchiveProgram(
                mutator=mutator, clock=clock, load_revision=load_revision
            ),
        )
        templates = TemplateServicer(
            database=database,
            pages=pages,
            validator=validator,
            codec=codec,
            create_template=CreateTemplate(
                database=database, mutator=mutator, clock=clock, codec=codec
            ),
            update_template=UpdateTemplate(
                database=database, mutator=mutator, clock=clock, codec=codec
            ),
            publish_template=PublishTemplate(
                database=database,
                mutator=mutator,
                clock=clock,
                codec=codec,
                load_revision=load_revision,
                web_service_url=WEB_SERVICE_URL,
            ),
            archive_template=ArchiveTemplate(
                mutator=mutator, clock=clock, codec=codec, load_revision=load_revision
            ),
            upload_asset=UploadAsset(mutator=mutator, clock=clock),
            preview_pass=PreviewPass(
                database=database, codec=codec, identities=identities, clock=clock
            ),
        )
        door = Door(
            authenticator=Authenticate(database=database, clock=clock),
            keyring=keyring,
            metrics=Metrics(CollectorRegistry()),
            validator=validator,
            calls=Places(most=100, most_of_key=100),
            streams=Places(most=100, most_of_key=100),
            request_bytes=RequestBytes(most=1 << 28, most_of_key=1 << 28),
        )
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", 8 << 20)])
        server.add_generic_rpc_handlers(
            [
                door.handlers(_PROGRAM, programs, program_service.RULES),
                door.handlers(_TEMPLATE, templates, template_service.RULES),
            ]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield TemplateApi(
                address=f"127.0.0.1:{port}",
                database=database,
                keyring=keyring,
                load_revision=load_revision,
                revisions=revisions,
            )
        finally:
            await server.stop(grace=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a client is told of an error."""

    code: grpc.StatusCode
    reason: str
    message: str
    fields: dict[str, str]


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """The google.rpc.Status of a failed call."""
    packed = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    status = status_pb2.Status.FromString(packed)
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    details: list[AnyMessage] = list(status.details)
    for detail in details:
        detail.Unpack(info)
        detail.Unpack(bad)
    return Refusal(
        code=error.code(),
        reason=info.reason,
        message=status.message,
        fields={each.field: each.description for each in bad.field_violations},
    )


class _Credential(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, header: str) -> None:
        self._header = header

    async def intercept_unary_unary(self, continuation, details, request):  # type: ignore[no-untyped-def]
        metadata = grpc.aio.Metadata(*(details.metadata or ()), ("authorization", self._header))
        return await continuation(
            details._replace(metadata=metadata, timeout=details.timeout or CALL_SECONDS), request
        )


def _deadline() -> float:
    return asyncio.get_running_loop().time() + CALL_SECONDS
