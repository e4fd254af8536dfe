"""API keys through AdminService, and what a credential opens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.v1 import admin_service_pb2 as pb
from passmill.v1 import api_scope_pb2
from tests.support.admin_api import (
    ALL_SCOPES,
    AdminApi,
    Refusal,
    dump,
    meta,
    moment,
    open_admin_api,
)
from tests.support.postgres import Database


@pytest.fixture
async def api(database: Database) -> AsyncIterator[AdminApi]:
    """The servers over this test's database."""
    async with open_admin_api(database.url) as opened:
        yield opened


async def test_api_keys_life(api: AdminApi, database: Database) -> None:
    """A key is shown once, works, is listed without its secret, and is refused within five seconds
    of being revoked."""
    tenant_id, client = await api.tenant_admin()
    expire = api.clock.now() + timedelta(days=30)
    request = pb.CreateApiKeyRequest(
        display_name="till 3",
        scopes=[api_scope_pb2.API_SCOPE_REDEEM, api_scope_pb2.API_SCOPE_ADMIN],
        meta=meta(),
    )
    request.expire_time.FromDatetime(expire)
    sent = await client.send("CreateApiKey", request)
    created = pb.CreateApiKeyResponse.FromString(sent.content)
    key_id = created.api_key.key_id
    assert created.secret_key.startswith(f"pm_{key_id}_")
    assert len(created.secret_key) == 59
    assert created.api_key.display_name == "till 3"
    assert list(created.api_key.scopes) == [
        api_scope_pb2.API_SCOPE_REDEEM,
        api_scope_pb2.API_SCOPE_ADMIN,
    ]
    assert moment(created.api_key.expire_time) == expire
    assert not created.api_key.HasField("revoke_time")

    till = api.client(f"bearer {created.secret_key}")  # the scheme's case is free (RFC 9110)
    listed = await till.send("ListApiKeys", pb.ListApiKeysRequest())
    assert created.api_key in pb.ListApiKeysResponse.FromString(listed.content).api_keys

    revoke = pb.RevokeApiKeyRequest(key_id=key_id, meta=meta())
    revoked = pb.RevokeApiKeyResponse.FromString(
        (await client.send("RevokeApiKey", revoke)).content
    )
    assert moment(revoked.api_key.revoke_time) == api.clock.now()
    api.seconds.seconds += 4
    assert (await till.refusal("GetTenant", pb.GetTenantRequest())).reason == "UNAUTHENTICATED"

    api.clock.advance(timedelta(hours=1))
    again = pb.RevokeApiKeyRequest(key_id=key_id, meta=meta())
    twice = pb.RevokeApiKeyResponse.FromString((await client.send("RevokeApiKey", again)).content)
    assert twice.api_key == revoked.api_key

    kinds = {
        row.split(",")[2] for row in (await dump(database))["outbox"] if f"({tenant_id}," in row
    }
    assert kinds == {"api_key.created", "api_key.revoked"}


async def test_dry_run_shows_no_key_that_does_not_work(api: AdminApi) -> None:
    """A dry run of CreateApiKey gives no secret: it would be one of a key that never was."""
    tenant = await api.operator.create_tenant()
    request = pb.CreateApiKeyRequest(
        tenant_id=tenant.tenant_id,
        display_name="x",
        scopes=ALL_SCOPES,
        meta=meta(validate_only=True),
    )
    sent = await api.operator.send("CreateApiKey", request)
    assert pb.CreateApiKeyResponse.FromString(sent.content).secret_key == ""


async def test_expired_key_is_refused_at_once(api: AdminApi) -> None:
    """Expiry needs no look at the database: a remembered key ends on time."""
    tenant = await api.operator.create_tenant()
    request = pb.CreateApiKeyRequest(
        tenant_id=tenant.tenant_id, display_name="x", scopes=ALL_SCOPES, meta=meta()
    )
    request.expire_time.FromDatetime(api.clock.now() + timedelta(minutes=1))
    sent = await api.operator.send("CreateApiKey", request)
    created = pb.CreateApiKeyResponse.FromString(sent.content)
    client = api.client(f"Bearer {created.secret_key}")
    await client.send("GetTenant", pb.GetTenantRequest())
    api.clock.advance(timedelta(minutes=1))
    refused = await client.refusal("GetTenant", pb.GetTenantRequest())
    assert refused.reason == "UNAUTHENTICATED"


@pytest.mark.parametrize("seconds", [-1, 0, 253402300800, -62135596801])
async def test_keys_that_never_work_are_not_made(api: AdminApi, seconds: int) -> None:
    """An expiry in the past, or outside what a Timestamp may hold, names the field."""
    tenant = await api.operator.create_tenant()
    request = pb.CreateApiKeyRequest(
        tenant_id=tenant.tenant_id,
        display_name="x",
        scopes=ALL_SCOPES,
        expire_time=Timestamp(seconds=seconds),
        meta=meta(),
    )
    refused = await api.operator.refusal("CreateApiKey", request)
    assert (refused.reason, refused.fields) == ("INVALID_FIELD", {"expire_time"})


async def test_every_bad_credential_gets_the_same_answer(api: AdminApi) -> None:
    """None, another scheme, malformed, unknown, wrong, revoked: not told apart, on both ports."""
    tenant_id, client = await api.tenant_admin()
    good = (client.credential or "").removeprefix("Bearer ")
    revoked = await client.create_api_key()
    await client.send(
        "RevokeApiKey", pb.RevokeApiKeyRequest(key_id=revoked.api_key.key_id, meta=meta())
    )
    other_last = "A" if good[-1] != "A" else "B"
    bad = [
        None,
        "",
        "Bearer",
        "Bearer ",
        good,
        f"Basic {good}",
        f"Bearer {good[:-1]}",
        f"Bearer {good}A",
        f"Bearer {good[:-1]}{other_last}",
        f"Bearer {good.upper()}",
        f"Bearer {good} {good}",
        f"Bearer pm_{'a' * 12}_{'A' * 43}",
        f"Bearer pm_aaaaaaaaaa'b_{'A' * 43}",
        f"Bearer {revoked.secret_key}",
        f"Bearer {tenant_id}",
        f"Bearer {'x' * 4000}",
    ]
    answers: list[Refusal] = []
    for credential in bad:
        for client in (api.client(credential), api.public_client(credential)):
            answers.append(await client.refusal("GetTenant", pb.GetTenantRequest()))
    assert {each.code for each in answers} == {grpc.StatusCode.UNAUTHENTICATED}
    assert len({each.bytes_ for each in answers}) == 1
    await api.client(f"Bearer {good}").send("GetTenant", pb.GetTenantRequest())


async def test_known_key_is_asked_about_every_four_seconds(
    api: AdminApi, database: Database
) -> None:
    """What the database said of a key holds for less than five seconds, of an unknown one for one;
    a remembered key's secret is compared all the same."""
    _, client = await api.tenant_admin()
    await client.send("GetTenant", pb.GetTenantRequest())
    wrong = api.client((client.credential or "")[:-2] + "__")
    refused = await wrong.refusal("GetTenant", pb.GetTenantRequest())
    assert refused.reason == "UNAUTHENTICATED"
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL passmill.operator = 'on'")
            await connection.execute("UPDATE api_keys SET revoke_time = now()")
    finally:
        await connection.close()
    api.seconds.seconds += 3.9
    await client.send("GetTenant", pb.GetTenantRequest())
    api.seconds.seconds += 0.1
    refused = await client.refusal("GetTenant", pb.GetTenantRequest())
    assert refused.reason == "UNAUTHENTICATED"


async def test_burst_of_calls_with_one_key(api: AdminApi) -> None:
    """Fifty calls at once with a key not known yet are all answered."""
    _, client = await api.tenant_admin()
    sent = await asyncio.gather(
        *(client.send("GetTenant", pb.GetTenantRequest()) for _ in range(50))
    )
    assert len({each.content for each in sent}) == 1
