"""AdminService: what holds for every method, tenants, and lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg
import grpc
import pytest
from google.protobuf.message import Message

from passmill.dev.authority import IssuedCertificate, KeyType, ThrowawayAuthority
from passmill.rpc.admin_service import RULES
from passmill.v1 import admin_service_pb2 as pb
from passmill.v1 import api_scope_pb2
from tests.support.admin_api import (
    SERVICE,
    AdminApi,
    AdminClient,
    dump,
    meta,
    moment,
    open_admin_api,
    upload,
    upload_request,
)
from tests.support.postgres import Database

T = TypeVar("T")


@pytest.fixture(scope="module")
def authority() -> ThrowawayAuthority:
    """One authority for the module: making RSA keys takes time."""
    return ThrowawayAuthority(now=datetime.now(UTC))


@pytest.fixture(scope="module")
def issued(authority: ThrowawayAuthority) -> IssuedCertificate:
    """A pass certificate as it should be."""
    return authority.issue_pass_certificate(now=datetime.now(UTC))


@pytest.fixture
async def api(database: Database) -> AsyncIterator[AdminApi]:
    """The servers over this test's database."""
    async with open_admin_api(database.url) as opened:
        yield opened


# ---- every method ----


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A tenant with a key, two identities and a barcode key, for requests to name."""

    tenant_id: str
    key_id: str
    identity_id: str
    barcode_key_id: str
    other: IssuedCertificate


def requests(world: World, tenant_id: str) -> dict[str, Message]:
    """A request of each method that is fine within `world`, naming this tenant."""
    return {
        "CreateTenant": pb.CreateTenantRequest(display_name="New", meta=meta()),
        "SetTenantState": pb.SetTenantStateRequest(
            tenant_id=tenant_id or world.tenant_id, state=pb.Tenant.STATE_SUSPENDED, meta=meta()
        ),
        "GetTenant": pb.GetTenantRequest(tenant_id=tenant_id),
        "ListTenants": pb.ListTenantsRequest(),
        "CreateApiKey": pb.CreateApiKeyRequest(
            tenant_id=tenant_id,
            display_name="New",
            scopes=[api_scope_pb2.API_SCOPE_READ],
            meta=meta(),
        ),
        "RevokeApiKey": pb.RevokeApiKeyRequest(
            tenant_id=tenant_id, key_id=world.key_id, meta=meta()
        ),
        "ListApiKeys": pb.ListApiKeysRequest(tenant_id=tenant_id),
        "UploadSigningIdentity": upload_request(world.other, tenant_id=tenant_id, activate=True),
        "CheckSigningIdentity": pb.CheckSigningIdentityRequest(
            tenant_id=tenant_id, signing_identity_id=world.identity_id
        ),
        "ListSigningIdentities": pb.ListSigningIdentitiesRequest(tenant_id=tenant_id),
        "ActivateSigningIdentity": pb.ActivateSigningIdentityRequest(
            tenant_id=tenant_id, signing_identity_id=world.identity_id, meta=meta()
        ),
        "RotateBarcodeKey": pb.RotateBarcodeKeyRequest(tenant_id=tenant_id, meta=meta()),
        "RevokeBarcodeKey": pb.RevokeBarcodeKeyRequest(
            tenant_id=tenant_id, barcode_key_id=world.barcode_key_id, meta=meta()
        ),
        "ListBarcodeKeys": pb.ListBarcodeKeysRequest(tenant_id=tenant_id),
    }


METHODS = [method.name for method in SERVICE.methods]
MUTATIONS = [name for name in METHODS if RULES[name].mutates]
OPERATORS_ONLY = [name for name in METHODS if RULES[name].operator_only]
TENANTS_TOO = [name for name in METHODS if not RULES[name].operator_only]


@pytest.fixture(scope="module")
def other(authority: ThrowawayAuthority) -> IssuedCertificate:
    """A second certificate of the same pass type and team, as a renewal is."""
    return authority.issue_pass_certificate(now=datetime.now(UTC), key_type=KeyType.P256, nfc=True)


@pytest.fixture
async def world(api: AdminApi, issued: IssuedCertificate, other: IssuedCertificate) -> World:
    """One tenant with what each method needs."""
    tenant = await api.operator.create_tenant()
    key = await api.operator.create_api_key(tenant.tenant_id)
    identity = await upload(api.operator, issued, tenant_id=tenant.tenant_id)
    rotate = pb.RotateBarcodeKeyRequest(tenant_id=tenant.tenant_id, meta=meta())
    rotated = await api.operator.send("RotateBarcodeKey", rotate)
    barcode_key = pb.RotateBarcodeKeyResponse.FromString(rotated.content).barcode_key
    return World(
        tenant_id=tenant.tenant_id,
        key_id=key.api_key.key_id,
        identity_id=identity.signing_identity_id,
        barcode_key_id=barcode_key.barcode_key_id,
        other=other,
    )


def test_every_method_has_a_request_here(issued: IssuedCertificate) -> None:
    """A method added to the proto is added to these tests."""
    nothing = World(tenant_id="1", key_id="k", identity_id="1", barcode_key_id="1", other=issued)
    assert set(requests(nothing, "1")) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
async def test_operator_may_call_it_inside_a_tenant(
    api: AdminApi, world: World, method: str
) -> None:
    """Each method answers an operator who names the tenant."""
    await api.operator.send(method, requests(world, world.tenant_id)[method])


@pytest.mark.parametrize("method", TENANTS_TOO)
async def test_tenant_may_call_it_for_itself(api: AdminApi, world: World, method: str) -> None:
    """An admin key need not name its tenant and may, with the same effect."""
    created = await api.operator.create_api_key(world.tenant_id)
    client = api.client(f"Bearer {created.secret_key}")
    for tenant_id in ("", world.tenant_id):
        request = requests(world, tenant_id)[method]
        if method == "UploadSigningIdentity" and tenant_id:
            assert (await client.refusal(method, request)).reason == "ALREADY_EXISTS"
        else:
            await client.send(method, request)


@pytest.mark.parametrize("method", MUTATIONS)
async def test_repeated_request_gets_the_first_answer(
    api: AdminApi, database: Database, world: World, method: str
) -> None:
    """The same bytes again give byte for byte the same answer and change nothing more, even a year
    later; another body under the same id is refused."""
    request = requests(world, world.tenant_id)[method]
    first = await api.operator.send(method, request)
    assert not first.is_replayed
    rows = await dump(database)
    api.clock.advance(timedelta(days=800))
    second = await api.operator.send(method, request)
    assert second.is_replayed
    assert second.content == first.content
    changed = requests(world, world.tenant_id)[method]
    changed.meta.request_id = request.meta.request_id  # type: ignore[attr-defined]
    if not _change(changed):
        changed.meta.validate_only = True  # type: ignore[attr-defined]
    assert (await api.operator.refusal(method, changed)).reason == "REQUEST_ID_REUSED"
    assert await dump(database) == rows


def _change(request: Message) -> bool:
    if "display_name" in request.DESCRIPTOR.fields_by_name:
        request.display_name = "Another"  # type: ignore[attr-defined]
        return True
    return False


@pytest.mark.parametrize("method", MUTATIONS)
async def test_validate_only_leaves_nothing(
    api: AdminApi, database: Database, world: World, method: str
) -> None:
    """A dry run gives an answer and changes no row; the same request id then does it."""
    request = requests(world, world.tenant_id)[method]
    request.meta.validate_only = True  # type: ignore[attr-defined]
    rows = await dump(database)
    assert (await api.operator.send(method, request)).content
    assert await dump(database) == rows
    request.meta.validate_only = False  # type: ignore[attr-defined]
    sent = await api.operator.send(method, request)
    assert not sent.is_replayed
    assert await dump(database) != rows


async def test_foreign_tenant_is_not_found(api: AdminApi, database: Database, world: World) -> None:
    """To every method another tenant's admin gets the same bytes for a tenant that is foreign,
    unknown or no id at all, and NOT_FOUND for foreign things in its own; nothing changes."""
    _, stranger = await api.tenant_admin()
    rows = await dump(database)
    for method in TENANTS_TOO:
        refused = [
            await stranger.refusal(method, requests(world, tenant_id)[method])
            for tenant_id in (world.tenant_id, "4611686018427387904", "x", "-1", "1" * 40)
        ]
        assert {each.code for each in refused} == {grpc.StatusCode.NOT_FOUND}, method
        assert len({each.bytes_ for each in refused}) == 1, method
    unknown = replace(world, key_id="a" * 12, identity_id="12345", barcode_key_id="32768")
    malformed = replace(world, key_id="a\x00\u202e", identity_id="a'b", barcode_key_id="-1")
    for method in (
        "RevokeApiKey",
        "CheckSigningIdentity",
        "ActivateSigningIdentity",
        "RevokeBarcodeKey",
    ):
        refused = [
            await stranger.refusal(method, requests(named, "")[method])
            for named in (world, unknown, malformed)
        ]
        assert {each.reason for each in refused} == {"NOT_FOUND"}, method
        assert len({each.bytes_ for each in refused}) == 1, method
    assert await dump(database) == rows


async def test_operator_is_told_of_unknown_tenants(
    api: AdminApi, database: Database, world: World
) -> None:
    """An operator's unknown and malformed tenants are NOT_FOUND alike, also where a list would be
    empty; leaving the tenant out is an error that names the field."""
    rows = await dump(database)
    for method in set(METHODS) - {"CreateTenant", "ListTenants"}:
        for tenant_id in ("4611686018427387904", "x"):
            refused = await api.operator.refusal(method, requests(world, tenant_id)[method])
            assert refused.reason == "NOT_FOUND", method
        if method not in {"SetTenantState", "CheckSigningIdentity"}:
            unnamed = await api.operator.refusal(method, requests(world, "")[method])
            assert (unnamed.reason, unnamed.fields) == ("INVALID_FIELD", {"tenant_id"}), method
    assert await dump(database) == rows


async def test_scope_admin_is_needed(api: AdminApi, database: Database, world: World) -> None:
    """A key with every other scope is refused, with what it lacks, before anything is looked at;
    even one with all scopes may not call what is for operators, not for its own tenant."""
    scopes = (
        api_scope_pb2.API_SCOPE_ISSUE,
        api_scope_pb2.API_SCOPE_READ,
        api_scope_pb2.API_SCOPE_REDEEM,
    )
    lesser = await api.operator.create_api_key(world.tenant_id, scopes=scopes)
    full = await api.operator.create_api_key(world.tenant_id)
    rows = await dump(database)
    for key, methods in ((lesser, METHODS), (full, OPERATORS_ONLY)):
        client = api.client(f"Bearer {key.secret_key}")
        for method in methods:
            refused = await client.refusal(method, requests(world, "")[method])
            assert refused.code is grpc.StatusCode.PERMISSION_DENIED, method
            assert refused.reason == "SCOPE_MISSING", method
            lacking = "operator" if method in OPERATORS_ONLY else "admin"
            assert refused.metadata == {"scope": lacking}, method
    assert await dump(database) == rows


async def test_operators_key_opens_no_other_port(api: AdminApi, world: World) -> None:
    """Where API keys alone are known, the operator's key is an unknown one."""
    client = api.public_client(api.operator.credential)
    for method in METHODS:
        refused = await client.refusal(method, requests(world, world.tenant_id)[method])
        assert refused.reason == "UNAUTHENTICATED", method


async def test_mutations_need_a_deadline(api: AdminApi, database: Database, world: World) -> None:
    """A change without a deadline is refused; reading may go without."""
    rows = await dump(database)
    hasty = AdminClient(api.channel, api.operator.credential, seconds=None)
    for method in METHODS:
        request = requests(world, world.tenant_id)[method]
        if method in MUTATIONS:
            assert (await hasty.refusal(method, request)).reason == "DEADLINE_REQUIRED", method
        else:
            await hasty.send(method, request)
    assert await dump(database) == rows


# ---- tenants ----


async def test_tenants_life(api: AdminApi) -> None:
    """A tenant is made active, read by its operator and by itself, suspended and restarted."""
    tenant = await api.operator.create_tenant("Café Ünïted")
    assert tenant.display_name == "Café Ünïted"
    assert tenant.state == pb.Tenant.STATE_ACTIVE
    assert moment(tenant.create_time) == api.clock.now()
    created = await api.operator.create_api_key(tenant.tenant_id)
    client = api.client(f"Bearer {created.secret_key}")
    for reader, tenant_id in ((api.operator, tenant.tenant_id), (client, "")):
        sent = await reader.send("GetTenant", pb.GetTenantRequest(tenant_id=tenant_id))
        assert pb.GetTenantResponse.FromString(sent.content).tenant == tenant

    for state in (pb.Tenant.STATE_SUSPENDED, pb.Tenant.STATE_ACTIVE):
        request = pb.SetTenantStateRequest(tenant_id=tenant.tenant_id, state=state, meta=meta())
        sent = await api.operator.send("SetTenantState", request)
        assert pb.SetTenantStateResponse.FromString(sent.content).tenant.state == state
        api.seconds.seconds += 4
        if state == pb.Tenant.STATE_SUSPENDED:
            refused = await client.refusal("GetTenant", pb.GetTenantRequest())
            assert refused.code is grpc.StatusCode.PERMISSION_DENIED
            assert refused.reason == "TENANT_SUSPENDED"
            wrong = api.client(f"Bearer {created.secret_key[:-2]}xx")
            refused = await wrong.refusal("GetTenant", pb.GetTenantRequest())
            assert refused.reason == "UNAUTHENTICATED"  # a guesser does not learn the state
        else:
            await client.send("GetTenant", pb.GetTenantRequest())


async def test_tenants_have_keys_of_their_own(api: AdminApi, database: Database) -> None:
    """Each tenant's numbers are made with random keys of 16 and 24 bytes, which no answer shows."""
    tenants = [await api.operator.create_tenant() for _ in range(3)]
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL passmill.operator = 'on'")
            rows = await connection.fetch("SELECT serial_key, reference_key FROM tenants")
    finally:
        await connection.close()
    assert {(len(row["serial_key"]), len(row["reference_key"])) for row in rows} == {(16, 24)}
    assert len({row["serial_key"] for row in rows}) == len(tenants)
    assert len({row["reference_key"] for row in rows}) == len(tenants)


@pytest.mark.parametrize("name", ["", "x" * 101, "a\x00b", "a\x1b[0m", "\u202eevil"])
async def test_names_that_no_one_could_show_are_refused(api: AdminApi, name: str) -> None:
    """Empty, too long, or with control characters: an error naming the field, nothing stored."""
    request = pb.CreateTenantRequest(display_name=name, meta=meta())
    refused = await api.operator.refusal("CreateTenant", request)
    assert (refused.reason, refused.fields) == ("INVALID_FIELD", {"display_name"})


# ---- lists ----


async def test_lists_come_whole_in_pages(api: AdminApi, authority: ThrowawayAuthority) -> None:
    """Pages of two give every tenant, key and identity once, in order, also those made in the same
    moment; the last page has no token."""
    for at in range(5):
        await api.operator.create_tenant(f"Tenant {at}")
        api.clock.advance(timedelta(seconds=at % 2))  # some made at the same time
    api.clock.advance(timedelta(seconds=1))
    tenant_id, client = await api.tenant_admin()
    for _ in range(4):
        await client.create_api_key()
    for days in (30, 10, 20):
        certificate = authority.issue_pass_certificate(
            now=api.clock.now(), validity=timedelta(days=days), key_type=KeyType.P256
        )
        await upload(client, certificate)

    tenants = await _pages(api.operator, "ListTenants", pb.ListTenantsRequest(), _tenants)
    assert {each.display_name for each in tenants[:2]} == {"Tenant 0", "Tenant 1"}
    assert tenants == sorted(
        tenants, key=lambda each: (moment(each.create_time), int(each.tenant_id))
    )
    assert len({each.tenant_id for each in tenants}) == 6
    assert tenants[-1].tenant_id == tenant_id

    keys = await _pages(client, "ListApiKeys", pb.ListApiKeysRequest(), _api_keys)
    assert len({each.key_id for each in keys}) == 5
    assert keys == sorted(keys, key=lambda each: (moment(each.create_time), each.key_id))

    everything = pb.ListSigningIdentitiesRequest()
    identities = await _pages(client, "ListSigningIdentities", everything, _identities)
    left = [moment(each.expire_time) - api.clock.now() for each in identities]
    assert [span.days for span in left] == [9, 19, 29]
    soon = pb.ListSigningIdentitiesRequest()
    soon.expire_time_before.FromDatetime(api.clock.now() + timedelta(days=25))
    assert await _pages(client, "ListSigningIdentities", soon, _identities) == identities[:2]


async def _pages(
    client: AdminClient,
    method: str,
    request: Message,
    parse: Callable[[bytes], tuple[list[T], str]],
) -> list[T]:
    """All pages of two."""
    request.page_size = 2  # type: ignore[attr-defined]
    found: list[T] = []
    while True:
        page, token = parse((await client.send(method, request)).content)
        assert 0 < len(page) <= 2
        found += page
        if not token:
            return found
        assert len(page) == 2
        request.page_token = token  # type: ignore[attr-defined]


def _tenants(content: bytes) -> tuple[list[pb.Tenant], str]:
    response = pb.ListTenantsResponse.FromString(content)
    return list(response.tenants), response.next_page_token


def _api_keys(content: bytes) -> tuple[list[pb.ApiKey], str]:
    response = pb.ListApiKeysResponse.FromString(content)
    return list(response.api_keys), response.next_page_token


def _identities(content: bytes) -> tuple[list[pb.SigningIdentity], str]:
    response = pb.ListSigningIdentitiesResponse.FromString(content)
    return list(response.signing_identities), response.next_page_token


async def test_page_tokens_are_bound_to_their_list(api: AdminApi) -> None:
    """A token of another list or filter, a changed one and nonsense are refused as such."""
    tenant_id, client = await api.tenant_admin()
    await client.create_api_key()
    first = await client.send("ListApiKeys", pb.ListApiKeysRequest(page_size=1))
    _, token = _api_keys(first.content)
    again = await client.send("ListApiKeys", pb.ListApiKeysRequest(page_token=token))
    assert len(_api_keys(again.content)[0]) == 1
    for method, request in [
        ("ListSigningIdentities", pb.ListSigningIdentitiesRequest(page_token=token)),
        ("ListApiKeys", pb.ListApiKeysRequest(tenant_id=tenant_id, page_token=token)),
        ("ListApiKeys", pb.ListApiKeysRequest(page_token=token[:-4] + "AAAA")),
        ("ListApiKeys", pb.ListApiKeysRequest(page_token="é")),
        ("ListApiKeys", pb.ListApiKeysRequest(page_token="AAAA")),
    ]:
        assert (await client.refusal(method, request)).reason == "INVALID_PAGE_TOKEN"
