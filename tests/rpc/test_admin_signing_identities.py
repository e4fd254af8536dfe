"""Signing identities through AdminService, and that no secret is kept or told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
import pytest
import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from passmill.dev.authority import IssuedCertificate, KeyType, ThrowawayAuthority
from passmill.domain.callers import internal_caller
from passmill.domain.ids import TenantId, new_uuid
from passmill.v1 import admin_service_pb2 as pb
from tests.support.admin_api import (
    AdminApi,
    check,
    dump,
    list_identities,
    meta,
    moment,
    open_admin_api,
    upload,
    upload_request,
)
from tests.support.postgres import Database

PASSWORD = "correct-horse-battery"


@pytest.fixture(scope="module")
def authority() -> ThrowawayAuthority:
    """One authority for the module: making RSA keys takes time."""
    return ThrowawayAuthority(now=datetime.now(UTC))


@pytest.fixture(scope="module")
def issued(authority: ThrowawayAuthority) -> IssuedCertificate:
    """A pass certificate as it should be."""
    return authority.issue_pass_certificate(now=datetime.now(UTC))


@pytest.fixture(scope="module")
def other(authority: ThrowawayAuthority) -> IssuedCertificate:
    """A second certificate of the same pass type and team, as a renewal is."""
    return authority.issue_pass_certificate(now=datetime.now(UTC), key_type=KeyType.P256)


@pytest.fixture
async def api(database: Database) -> AsyncIterator[AdminApi]:
    """The servers over this test's database."""
    async with open_admin_api(database.url) as opened:
        yield opened


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.P256])
@pytest.mark.parametrize("source", ["pem", "encrypted pem", "p12", "p12 with intermediate"])
async def test_uploaded_identity_is_told_and_can_sign(
    api: AdminApi, authority: ThrowawayAuthority, key_type: KeyType, source: str
) -> None:
    """Every way to bring a certificate gives the identity with what the certificate says, as the
    `cryptography` library reads it, and the check signs with it."""
    _, client = await api.tenant_admin()
    issued = authority.issue_pass_certificate(now=api.clock.now(), key_type=key_type, nfc=True)
    request = pb.UploadSigningIdentityRequest(intermediates=[issued.wwdr_der], meta=meta())
    match source:
        case "pem":
            request.pem.certificate = issued.certificate_pem
            request.pem.private_key = issued.private_key_pem
        case "encrypted pem":
            request.pem.certificate = issued.certificate_pem
            request.pem.private_key = issued.encrypted_private_key_pem(PASSWORD)
            request.pem.password = PASSWORD
        case "p12":
            request.pkcs12.content = issued.pkcs12(PASSWORD)
            request.pkcs12.password = PASSWORD
        case _:
            request.pkcs12.content = issued.pkcs12(PASSWORD, with_intermediate=True)
            request.pkcs12.password = PASSWORD
            del request.intermediates[:]
    sent = await client.send("UploadSigningIdentity", request)
    identity = pb.UploadSigningIdentityResponse.FromString(sent.content).signing_identity
    certificate = issued.certificate
    assert identity.pass_type_identifier == issued.pass_type_identifier
    assert identity.team_identifier == issued.team_identifier
    assert identity.organization == "Example Coffee Ltd"
    assert int(identity.certificate_serial_number, 16) == certificate.serial_number
    assert identity.fingerprint_sha256 == _fingerprint(issued)
    assert identity.key_algorithm == ("P-256" if key_type is KeyType.P256 else "RSA-2048")
    assert identity.nfc_capable
    assert moment(identity.valid_from) == certificate.not_valid_before_utc
    assert moment(identity.expire_time) == certificate.not_valid_after_utc
    assert identity.state == pb.SigningIdentity.STATE_INACTIVE
    assert await list_identities(client) == [identity]
    found = await check(client, identity)
    assert (found.usable, found.problem, found.days_left) == (True, "", 394)
    assert found.signing_identity == identity


def _fingerprint(issued: IssuedCertificate) -> str:
    return issued.certificate.fingerprint(hashes.SHA256()).hex()


YEAR = timedelta(days=365)


def _uploaded(authority: ThrowawayAuthority, **wrong: Any) -> pb.UploadSigningIdentityRequest:
    """An upload of a certificate that is wrong in this way."""
    arguments: dict[str, Any] = {"now": datetime.now(UTC), "key_type": KeyType.P256} | wrong
    return upload_request(authority.issue_pass_certificate(**arguments))


def _p12(content: bytes, password: str) -> pb.UploadSigningIdentityRequest:
    return pb.UploadSigningIdentityRequest(
        pkcs12=pb.Pkcs12(content=content, password=password), meta=meta()
    )


def _truncated(authority: ThrowawayAuthority) -> pb.UploadSigningIdentityRequest:
    issued = authority.issue_pass_certificate(now=datetime.now(UTC))
    return _p12(issued.pkcs12(PASSWORD, with_intermediate=True)[:-100], PASSWORD)


def _wrong_password(authority: ThrowawayAuthority) -> pb.UploadSigningIdentityRequest:
    issued = authority.issue_pass_certificate(now=datetime.now(UTC))
    return _p12(issued.pkcs12(PASSWORD, with_intermediate=True), "wrong")


def _other_key(authority: ThrowawayAuthority) -> pb.UploadSigningIdentityRequest:
    request = _uploaded(authority)
    request.pem.private_key = _uploaded(authority).pem.private_key
    return request


def _issued_by(
    authority: ThrowawayAuthority, *intermediates: bytes
) -> pb.UploadSigningIdentityRequest:
    request = _uploaded(authority)
    del request.intermediates[:]
    request.intermediates.extend(intermediates)
    return request


BAD_UPLOADS: Mapping[
    str, tuple[Callable[[ThrowawayAuthority], pb.UploadSigningIdentityRequest], str]
] = {
    "truncated": (_truncated, "UNREADABLE_PKCS12"),
    "no PKCS#12": (lambda _: _p12(b"not a file of this kind", ""), "UNREADABLE_PKCS12"),
    "wrong password": (_wrong_password, "WRONG_PASSWORD"),
    "expired": (
        lambda a: _uploaded(a, now=datetime.now(UTC) - YEAR, validity=YEAR / 2),
        "EXPIRED",
    ),
    "not yet valid": (lambda a: _uploaded(a, now=datetime.now(UTC) + YEAR), "NOT_YET_VALID"),
    "other key": (_other_key, "KEY_MISMATCH"),
    "other generation": (
        lambda a: _issued_by(a, ThrowawayAuthority(now=datetime.now(UTC)).wwdr_pem),
        "ISSUER_NOT_FOUND",
    ),
    "no intermediate": (_issued_by, "ISSUER_NOT_FOUND"),
    "root as intermediate": (lambda a: _issued_by(a, a.root_der), "ISSUER_NOT_FOUND"),
    "expired intermediate": (
        lambda a: _issued_by(
            a,
            a.issue_intermediate(now=datetime.now(UTC) - YEAR, validity=YEAR / 2).public_bytes(
                Encoding.PEM
            ),
        ),
        "INTERMEDIATE_EXPIRED",
    ),
    "no team": (lambda a: _uploaded(a, team_identifier=None), "NO_TEAM_IDENTIFIER"),
    "two pass types": (
        lambda a: _uploaded(a, subject_uid="pass.example.other"),
        "PASS_TYPE_IDENTIFIER_MISMATCH",
    ),
    "no pass type": (
        lambda a: _uploaded(a, extension_identifier=None),
        "NO_PASS_TYPE_EXTENSION",
    ),
    "no usage": (lambda a: _uploaded(a, usages=()), "EXTENDED_KEY_USAGE_MISSING"),
    "short key": (lambda a: _uploaded(a, key_type=KeyType.RSA_1024), "UNSUPPORTED_KEY"),
    "other curve": (lambda a: _uploaded(a, key_type=KeyType.P384), "UNSUPPORTED_KEY"),
    "forged": (lambda a: _uploaded(a, signed_by_authority=False), "ISSUER_SIGNATURE_INVALID"),
}


async def test_identity_that_does_not_hold_together_is_refused(
    api: AdminApi, database: Database, authority: ThrowawayAuthority
) -> None:
    """Each fault is refused with its cause and advice, without the password; nothing is stored, so
    the same request id may be used for the right file."""
    _, client = await api.tenant_admin()
    rows = await dump(database)
    for name, (build, cause) in BAD_UPLOADS.items():
        request = build(authority)
        refused = await client.refusal("UploadSigningIdentity", request)
        is_expired = cause in {"EXPIRED", "NOT_YET_VALID", "INTERMEDIATE_EXPIRED"}
        assert refused.metadata == {"cause": cause}, name
        assert refused.reason == (
            "SIGNING_IDENTITY_EXPIRED" if is_expired else "INVALID_SIGNING_IDENTITY"
        )
        assert len(refused.message) > 20
        assert PASSWORD not in refused.message
    assert await dump(database) == rows
    good = _uploaded(authority)
    good.meta.request_id = request.meta.request_id
    await client.send("UploadSigningIdentity", good)


async def test_upload_without_or_with_too_large_a_file_is_refused(api: AdminApi) -> None:
    """No source, an empty file and one of more than 64 KiB name their fields."""
    _, client = await api.tenant_admin()
    for request, path in [
        (pb.UploadSigningIdentityRequest(meta=meta()), "source"),
        (_p12(b"", ""), "pkcs12.content"),
        (_p12(bytes(65537), ""), "pkcs12.content"),
    ]:
        refused = await client.refusal("UploadSigningIdentity", request)
        assert (refused.reason, refused.fields) == ("INVALID_FIELD", {path})


async def test_certificate_is_stored_once_for_each_tenant(
    api: AdminApi, database: Database, issued: IssuedCertificate
) -> None:
    """The same certificate again is refused, even at the same moment; others may have it."""
    _, client = await api.tenant_admin()
    requests = [upload_request(issued) for _ in range(4)]
    results = await asyncio.gather(
        *(client.send("UploadSigningIdentity", each) for each in requests), return_exceptions=True
    )
    assert sum(isinstance(each, BaseException) for each in results) == 3
    refused = await client.refusal("UploadSigningIdentity", upload_request(issued))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
    assert len((await dump(database))["signing_identities"]) == 1
    _, other_client = await api.tenant_admin()
    await upload(other_client, issued)


async def test_one_identity_signs_a_pass_type(
    api: AdminApi, issued: IssuedCertificate, other: IssuedCertificate
) -> None:
    """Activating one deactivates the one before, whoever comes at the same moment; another pass
    type is left alone."""
    _, client = await api.tenant_admin()
    elsewhere = ThrowawayAuthority(now=api.clock.now()).issue_pass_certificate(
        now=api.clock.now(), pass_type_identifier="pass.example.tea", key_type=KeyType.P256
    )
    tea = await upload(client, elsewhere, activate=True)
    first = await upload(client, issued, activate=True)
    second = await upload(client, other)
    assert first.state == tea.state == pb.SigningIdentity.STATE_ACTIVE
    for turn in range(6):
        await asyncio.gather(
            *(
                client.send(
                    "ActivateSigningIdentity",
                    pb.ActivateSigningIdentityRequest(
                        signing_identity_id=identity.signing_identity_id, meta=meta()
                    ),
                )
                for identity in ((first, second) if turn % 2 else (second, first))
            )
        )
        states = {each.signing_identity_id: each.state for each in await list_identities(client)}
        assert states[tea.signing_identity_id] == pb.SigningIdentity.STATE_ACTIVE
        assert sorted(states.values()) == [
            pb.SigningIdentity.STATE_INACTIVE,
            pb.SigningIdentity.STATE_ACTIVE,
            pb.SigningIdentity.STATE_ACTIVE,
        ]


async def test_check_tells_what_is_wrong(api: AdminApi, issued: IssuedCertificate) -> None:
    """Days are counted down; an expired identity is not usable, cannot be activated, and the check
    says what to do."""
    _, client = await api.tenant_admin()
    identity = await upload(client, issued)
    expire = issued.certificate.not_valid_after_utc
    for moment_, usable, days in [
        (expire - timedelta(days=7), True, 7),
        (expire, True, 0),
        (expire + timedelta(seconds=1), False, -1),
        (expire + timedelta(days=2), False, -2),
        (issued.certificate.not_valid_before_utc - timedelta(days=1), False, 396),
    ]:
        api.clock.moment = moment_
        found = await check(client, identity)
        assert (found.usable, found.days_left) == (usable, days)
        assert (found.problem == "") is usable
    request = pb.ActivateSigningIdentityRequest(
        signing_identity_id=identity.signing_identity_id, meta=meta()
    )
    refused = await client.refusal("ActivateSigningIdentity", request)
    assert refused.reason == "SIGNING_IDENTITY_EXPIRED"
    assert "Upload" in refused.message


async def test_damaged_or_swapped_key_is_found(
    api: AdminApi, database: Database, issued: IssuedCertificate, other: IssuedCertificate
) -> None:
    """A stored key with a bit flipped, or another identity's in its place, is not usable, as is one
    under a master key that is not this deployment's."""
    _, client = await api.tenant_admin()
    first, second = await upload(client, issued), await upload(client, other)
    connection = await asyncpg.connect(database.url)
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL passmill.operator = 'on'")
            await connection.execute(
                "UPDATE signing_identities SET wrapped_key ="
                " set_byte(wrapped_key, 40, get_byte(wrapped_key, 40) # 1)"
                " WHERE signing_identity_id = $1",
                int(first.signing_identity_id),
            )
            await connection.execute(
                "UPDATE signing_identities SET wrapped_key = (SELECT wrapped_key"
                " FROM signing_identities WHERE signing_identity_id = $1)"
                " WHERE signing_identity_id = $2",
                int(first.signing_identity_id),
                int(second.signing_identity_id),
            )
    finally:
        await connection.close()
    for identity in (first, second):
        found = await check(client, identity)
        assert not found.usable
        assert "master key" in found.problem or "wrapp" in found.problem


async def test_team_of_published_revisions_stays(
    api: AdminApi, issued: IssuedCertificate, authority: ThrowawayAuthority
) -> None:
    """Where revisions were published for a team, another team's certificate of the same pass type
    is stored but not activated: Wallet would refuse every pass signed with it."""
    tenant_id, client = await api.tenant_admin()
    await upload(client, issued, activate=True)
    await _publish_revision(api, TenantId(int(tenant_id)), issued)
    now = api.clock.now()
    moved = authority.issue_pass_certificate(now=now, team_identifier="ZZZZZZZZZZ")
    refused = await client.refusal("UploadSigningIdentity", upload_request(moved, activate=True))
    assert refused.reason == "INVALID_SIGNING_IDENTITY"
    assert refused.metadata == {"cause": "TEAM_CHANGED"}
    assert len(await list_identities(client)) == 1
    identity = await upload(client, moved)
    request = pb.ActivateSigningIdentityRequest(
        signing_identity_id=identity.signing_identity_id, meta=meta()
    )
    refused = await client.refusal("ActivateSigningIdentity", request)
    assert refused.metadata == {"cause": "TEAM_CHANGED"}
    await upload(client, authority.issue_pass_certificate(now=now), activate=True)


async def _publish_revision(api: AdminApi, tenant_id: TenantId, issued: IssuedCertificate) -> None:
    caller = internal_caller(tenant_id, deadline=asyncio.get_running_loop().time() + 20)
    row = new_uuid()
    async with api.database.transaction(caller) as tx:
        await tx.execute(
            "INSERT INTO programs (tenant_id, program_id, display_name, pass_type_identifier,"
            " state, version, create_time, update_time)"
            " VALUES ($1, $2, '', $3, 1, 1, now(), now())",
            tenant_id,
            row,
            issued.pass_type_identifier,
        )
        await tx.execute(
            "INSERT INTO templates (tenant_id, template_id, program_id, display_name, draft,"
            " version, latest_revision, state, create_time, update_time)"
            " VALUES ($1, $2, $2, '', '', 1, 1, 1, now(), now())",
            tenant_id,
            row,
        )
        await tx.execute(
            "INSERT INTO template_revisions (tenant_id, revision_id, template_id, number, content,"
            " pass_type_identifier, team_identifier, publish_time)"
            " VALUES ($1, 1, $2, 1, '', $3, $4, now())",
            tenant_id,
            row,
            issued.pass_type_identifier,
            issued.team_identifier,
        )


# ---- secrets ----


async def test_no_secret_is_stored_or_logged(
    api: AdminApi, database: Database, issued: IssuedCertificate
) -> None:
    """Keys' secrets, passwords and private keys are in no row of any table, though answers are kept
    for replay, and in no log line; what was done is in the audit log."""
    with structlog.testing.capture_logs() as logs:
        tenant_id, client = await api.tenant_admin()
        created = await client.create_api_key()
        request = _p12(issued.pkcs12(PASSWORD, with_intermediate=True), PASSWORD)
        request.activate = True
        await client.send("UploadSigningIdentity", request)
        await client.send("UploadSigningIdentity", request)
        await client.refusal("UploadSigningIdentity", _p12(b"no", PASSWORD))
        await client.send(
            "RevokeApiKey", pb.RevokeApiKeyRequest(key_id=created.api_key.key_id, meta=meta())
        )
    told = str(logs)
    rows = "\n".join(row for table in (await dump(database)).values() for row in table)
    assert tenant_id in rows
    for secret in (created.secret_key.split("_", 2)[2], PASSWORD, api.operator_key):
        assert secret not in rows
        assert secret.encode().hex() not in rows
        assert secret not in told
    assert isinstance(issued.private_key, rsa.RSAPrivateKey)
    numbers = issued.private_key.private_numbers()
    for number in (numbers.p, numbers.q, numbers.d):
        assert f"{number:x}" not in rows
        assert str(number) not in told

    audit = [(each["event"], each["by"]) for each in logs if each["event"] in AUDIT_EVENTS]
    key_id = (client.credential or "").split("_")[1]
    assert audit == [
        ("tenant.created", "operator"),
        ("api_key.created", "operator"),
        ("api_key.created", key_id),
        ("signing_identity.uploaded", key_id),
        ("api_key.revoked", key_id),
    ]
    assert {str(each["tenant_id"]) for each in logs if each["event"] in AUDIT_EVENTS} == {tenant_id}


AUDIT_EVENTS = {
    "tenant.created",
    "tenant.state_set",
    "api_key.created",
    "api_key.revoked",
    "signing_identity.uploaded",
    "signing_identity.activated",
}
