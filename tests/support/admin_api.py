"""AdminService on real grpc.aio servers over one test's database: the operators' port, and one that
knows API keys alone, as the public port does."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import CollectorRegistry

from passmill.dev.authority import IssuedCertificate
from passmill.domain.api_keys import hash_secret
from passmill.domain.keyring import Keyring
from passmill.rpc.admin_service import RULES, AdminServicer, AdminUseCases
from passmill.rpc.door import REPLAYED_METADATA, Authenticator, Door
from passmill.rpc.paging import Pages
from passmill.rpc.places import Places, RequestBytes
from passmill.rpc.status import RequestValidator
from passmill.store.database import Database, open_database
from passmill.store.signing_identities import IdentityReader
from passmill.telemetry.metrics import Metrics
from passmill.usecases.activate_signing_identity import ActivateSigningIdentity
from passmill.usecases.authenticate import Authenticate, AuthenticateOperator
from passmill.usecases.barcode_keys import BarcodeKeys
from passmill.usecases.check_signing_identity import CheckSigningIdentity
from passmill.usecases.create_api_key import CreateApiKey
from passmill.usecases.create_tenant import CreateTenant
from passmill.usecases.mutation import Mutator
from passmill.usecases.revoke_api_key import RevokeApiKey
from passmill.usecases.revoke_barcode_key import RevokeBarcodeKey
from passmill.usecases.rotate_barcode_key import RotateBarcodeKey
from passmill.usecases.set_tenant_state import SetTenantState
from passmill.usecases.upload_signing_identity import UploadSigningIdentity
from passmill.v1 import admin_service_pb2 as pb
from passmill.v1 import api_scope_pb2
from passmill.v1.request_meta_pb2 import RequestMeta
from tests.support import postgres

SERVICE: Final = pb.DESCRIPTOR.services_by_name["AdminService"]
CALL_SECONDS: Final = 20.0
ALL_SCOPES: Final = (
    api_scope_pb2.API_SCOPE_ISSUE,
    api_scope_pb2.API_SCOPE_READ,
    api_scope_pb2.API_SCOPE_REDEEM,
    api_scope_pb2.API_SCOPE_ADMIN,
)


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


class SetSeconds:
    """Monotonic seconds that a test moves on."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An answer's bytes, and whether the server says they were given before."""

    content: bytes
    is_replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a client is told of an error. `bytes_`: the whole status."""

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: dict[str, str]
    fields: set[str]
    bytes_: bytes = field(repr=False)


class AdminClient:
    """One credential's view of a server."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        credential: str | None,
        *,
        seconds: float | None = CALL_SECONDS,
    ) -> None:
        """`seconds`: each call's deadline, None for none."""
        self._channel = channel
        self._seconds = seconds
        self._metadata = () if credential is None else (("authorization", credential),)
        self.credential = credential

    async def send(self, method: str, request: Message) -> Sent:
        """Calls a method by its name. grpc.aio.AioRpcError when it is refused."""
        callable_: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/{SERVICE.full_name}/{method}"
        )
        call = callable_(
            request.SerializeToString(), timeout=self._seconds, metadata=self._metadata
        )
        content: bytes = await call
        trailing = dict(await call.trailing_metadata())
        return Sent(content=content, is_replayed=trailing.get(REPLAYED_METADATA) == "true")

    async def refusal(self, method: str, request: Message) -> Refusal:
        """Calls a method that must refuse."""
        try:
            sent = await self.send(method, request)
        except grpc.aio.AioRpcError as error:
            return refusal_of(error)
        raise AssertionError(f"{method} was not refused: {sent}")

    async def create_tenant(self, name: str = "Café Ünïted") -> pb.Tenant:
        """A new tenant."""
        request = pb.CreateTenantRequest(display_name=name, meta=meta())
        return pb.CreateTenantResponse.FromString(
            (await self.send("CreateTenant", request)).content
        ).tenant

    async def create_api_key(
        self,
        tenant_id: str = "",
        *,
        scopes: tuple[api_scope_pb2.ApiScope.ValueType, ...] = ALL_SCOPES,
    ) -> pb.CreateApiKeyResponse:
        """A new key."""
        request = pb.CreateApiKeyRequest(
            tenant_id=tenant_id, display_name="till 3", scopes=scopes, meta=meta()
        )
        return pb.CreateApiKeyResponse.FromString(
            (await self.send("CreateApiKey", request)).content
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminApi:
    """Both servers, and what tests look behind them with."""

    channel: grpc.aio.Channel
    public_channel: grpc.aio.Channel
    operator_key: str
    database: Database
    keyring: Keyring
    clock: SetClock
    seconds: SetSeconds

    @property
    def operator(self) -> AdminClient:
        """The operator's client."""
        return AdminClient(self.channel, f"Bearer {self.operator_key}")

    def client(self, credential: str | None) -> AdminClient:
        """A client of the operators' port that sends this `authorization`."""
        return AdminClient(self.channel, credential)

    def public_client(self, credential: str | None) -> AdminClient:
        """A client of the port that knows API keys alone."""
        return AdminClient(self.public_channel, credential)

    async def tenant_admin(self) -> tuple[str, AdminClient]:
        """A new tenant's id and the client of its admin key."""
        tenant = await self.operator.create_tenant()
        created = await self.operator.create_api_key(tenant.tenant_id)
        return tenant.tenant_id, self.client(f"Bearer {created.secret_key}")


def meta(*, validate_only: bool = False) -> RequestMeta:
    """A new request id."""
    return RequestMeta(request_id=str(uuid.uuid4()), validate_only=validate_only)


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
        metadata=dict(info.metadata),
        fields={each.field for each in bad.field_violations},
        bytes_=packed,
    )


@asynccontextmanager
async def open_admin_api(database_url: str) -> AsyncIterator[AdminApi]:
    """Serves on two free ports of the loopback."""
    async with open_database(database_url, min_connections=1, max_connections=8) as database:
        clock, seconds = SetClock(), SetSeconds()
        keyring = Keyring(secrets.token_bytes(32))
        operator_key = secrets.token_urlsafe(32)
        authenticate = Authenticate(database=database, clock=clock, monotonic=seconds)
        operators = AuthenticateOperator(
            authenticate=authenticate, operator_key_hash=hash_secret(operator_key)
        )
        servicer = _servicer(database, keyring, clock)
        async with (
            _serve(servicer, operators, keyring) as channel,
            _serve(servicer, authenticate, keyring) as public_channel,
        ):
            yield AdminApi(
                channel=channel,
                public_channel=public_channel,
                operator_key=operator_key,
                database=database,
                keyring=keyring,
                clock=clock,
                seconds=seconds,
            )


def _servicer(database: Database, keyring: Keyring, clock: SetClock) -> AdminServicer:
    mutator = Mutator(database=database, clock=clock, keyring=keyring)
    keys = BarcodeKeys(database=database, keyring=keyring, clock=clock)
    return AdminServicer(
        database=database,
        pages=Pages(keyring=keyring),
        use_cases=AdminUseCases(
            create_tenant=CreateTenant(mutator=mutator, clock=clock),
            set_tenant_state=SetTenantState(mutator=mutator, clock=clock),
            create_api_key=CreateApiKey(mutator=mutator, clock=clock),
            revoke_api_key=RevokeApiKey(mutator=mutator, clock=clock),
            upload_signing_identity=UploadSigningIdentity(
                mutator=mutator, keyring=keyring, clock=clock
            ),
            check_signing_identity=CheckSigningIdentity(
                identities=IdentityReader(database=database), keyring=keyring, clock=clock
            ),
            activate_signing_identity=ActivateSigningIdentity(mutator=mutator, clock=clock),
            rotate_barcode_key=RotateBarcodeKey(
                mutator=mutator, keyring=keyring, keys=keys, clock=clock
            ),
            revoke_barcode_key=RevokeBarcodeKey(
                mutator=mutator, keyring=keyring, keys=keys, clock=clock
            ),
        ),
    )


@asynccontextmanager
async def _serve(
    servicer: AdminServicer, authenticator: Authenticator, keyring: Keyring
) -> AsyncIterator[grpc.aio.Channel]:
    door = Door(
        authenticator=authenticator,
        keyring=keyring,
        metrics=Metrics(CollectorRegistry()),
        validator=RequestValidator(),
        calls=Places(most=100, most_of_key=100),
        streams=Places(most=100, most_of_key=100),
        request_bytes=RequestBytes(most=1 << 28, most_of_key=1 << 28),
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([door.handlers(SERVICE, servicer, RULES)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            yield channel
    finally:
        await server.stop(grace=1)


def upload_request(
    issued: IssuedCertificate, *, tenant_id: str = "", activate: bool = False
) -> pb.UploadSigningIdentityRequest:
    """An upload as PEM."""
    return pb.UploadSigningIdentityRequest(
        tenant_id=tenant_id,
        pem=pb.PemIdentity(certificate=issued.certificate_pem, private_key=issued.private_key_pem),
        intermediates=[issued.wwdr_pem],
        activate=activate,
        meta=meta(),
    )


async def upload(
    client: AdminClient, issued: IssuedCertificate, *, tenant_id: str = "", activate: bool = False
) -> pb.SigningIdentity:
    """Stores an identity."""
    request = upload_request(issued, tenant_id=tenant_id, activate=activate)
    sent = await client.send("UploadSigningIdentity", request)
    return pb.UploadSigningIdentityResponse.FromString(sent.content).signing_identity


async def list_identities(client: AdminClient) -> list[pb.SigningIdentity]:
    """The first page of identities."""
    sent = await client.send("ListSigningIdentities", pb.ListSigningIdentitiesRequest())
    return list(pb.ListSigningIdentitiesResponse.FromString(sent.content).signing_identities)


async def check(
    client: AdminClient, identity: pb.SigningIdentity
) -> pb.CheckSigningIdentityResponse:
    """Checks an identity."""
    request = pb.CheckSigningIdentityRequest(signing_identity_id=identity.signing_identity_id)
    sent = await client.send("CheckSigningIdentity", request)
    return pb.CheckSigningIdentityResponse.FromString(sent.content)


async def dump(database: postgres.Database) -> dict[str, list[str]]:
    """Every row of every table as text, read by the tables' owner with the rules lifted."""
    connection = await asyncpg.connect(database.owner_url)
    try:
        names = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        rows: dict[str, list[str]] = {}
        transaction = connection.transaction()
        await transaction.start()
        for name in (each["tablename"] for each in names):
            await connection.execute(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY")
            found = await connection.fetch(f"SELECT t::text FROM {name} t")  # noqa: S608
            rows[name] = sorted(row[0] for row in found)
        await transaction.rollback()
        return rows
    finally:
        await connection.close()


def moment(timestamp: Timestamp) -> datetime:
    """A Timestamp as an aware time."""
    return timestamp.ToDatetime(tzinfo=UTC)
