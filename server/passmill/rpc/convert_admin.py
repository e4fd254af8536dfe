"""Between admin_service.proto's messages and the domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from passmill.domain.barcodes import BarcodeKey
from passmill.domain.tenants import ApiKey, StoredIdentity, Tenant, TenantState
from passmill.rpc.convert_scopes import scope_numbers
from passmill.rpc.convert_time import timestamp
from passmill.signing.identities import certificate_of
from passmill.usecases.check_signing_identity import IdentityCheck
from passmill.usecases.create_api_key import CreatedKey
from passmill.usecases.upload_signing_identity import IdentitySource, PemSource, Pkcs12Source
from passmill.v1 import admin_service_pb2 as pb

_TENANT_STATES: Final[Mapping[pb.Tenant.State.ValueType, TenantState]] = {
    pb.Tenant.STATE_ACTIVE: TenantState.ACTIVE,
    pb.Tenant.STATE_SUSPENDED: TenantState.SUSPENDED,
}
_PB_TENANT_STATES: Final = {state: name for name, state in _TENANT_STATES.items()}


def tenant_state_from(state: pb.Tenant.State.ValueType) -> TenantState:
    """The state asked for; the rules in the proto let only known ones in."""
    return _TENANT_STATES[state]


def identity_source_from(request: pb.UploadSigningIdentityRequest) -> IdentitySource:
    """The identity to upload; the rules in the proto let none through without one."""
    if request.HasField("pkcs12"):
        return Pkcs12Source(content=request.pkcs12.content, password=request.pkcs12.password)
    return PemSource(
        certificate=request.pem.certificate,
        private_key=request.pem.private_key,
        password=request.pem.password,
    )


def tenant_message(tenant: Tenant) -> pb.Tenant:
    """A tenant without the keys of its numbers."""
    return pb.Tenant(
        tenant_id=str(tenant.tenant_id),
        display_name=tenant.display_name,
        state=_PB_TENANT_STATES[tenant.state],
        create_time=timestamp(tenant.create_time),
    )


def api_key_message(api_key: ApiKey) -> pb.ApiKey:
    """A key without what tells its secret."""
    return pb.ApiKey(
        key_id=api_key.key_id,
        display_name=api_key.display_name,
        scopes=scope_numbers(api_key.scopes),
        create_time=timestamp(api_key.create_time),
        expire_time=None if api_key.expire_time is None else timestamp(api_key.expire_time),
        revoke_time=None if api_key.revoke_time is None else timestamp(api_key.revoke_time),
    )


def created_key_message(created: CreatedKey) -> pb.CreateApiKeyResponse:
    """A key with its secret."""
    return pb.CreateApiKeyResponse(
        api_key=api_key_message(created.api_key), secret_key=created.text
    )


def identity_message(identity: StoredIdentity) -> pb.SigningIdentity:
    """An identity's public half; what the table has no column for is read from the certificate."""
    certificate = certificate_of(identity)
    return pb.SigningIdentity(
        signing_identity_id=str(identity.signing_identity_id),
        pass_type_identifier=identity.pass_type_identifier,
        team_identifier=identity.team_identifier,
        organization=certificate.organization,
        certificate_serial_number=certificate.serial_number,
        fingerprint_sha256=identity.fingerprint.hex(),
        key_algorithm=certificate.key_algorithm,
        nfc_capable=certificate.nfc_capable,
        valid_from=timestamp(identity.valid_from),
        expire_time=timestamp(identity.expire_time),
        state=pb.SigningIdentity.STATE_ACTIVE
        if identity.is_active
        else pb.SigningIdentity.STATE_INACTIVE,
        create_time=timestamp(identity.create_time),
    )


def barcode_key_message(key: BarcodeKey) -> pb.BarcodeKey:
    """A barcode key's public half."""
    if key.revoke_time is not None:
        state = pb.BarcodeKey.STATE_REVOKED
    else:
        is_active = key.retire_time is None
        state = pb.BarcodeKey.STATE_ACTIVE if is_active else pb.BarcodeKey.STATE_RETIRED
    return pb.BarcodeKey(
        barcode_key_id=str(key.key_id),
        public_key=key.public_key,
        state=state,
        create_time=timestamp(key.create_time),
        retire_time=None if key.retire_time is None else timestamp(key.retire_time),
        revoke_time=None if key.revoke_time is None else timestamp(key.revoke_time),
    )


def identity_check_message(check: IdentityCheck) -> pb.CheckSigningIdentityResponse:
    """What a check found."""
    return pb.CheckSigningIdentityResponse(
        signing_identity=identity_message(check.identity),
        usable=not check.problem,
        problem=check.problem,
        days_left=check.days_left,
    )
