"""AdminService. `tenant_id`: whose, for an operator; left out, it is the caller's own tenant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Unpack

from passmill.v1 import admin_service_pb2 as pb
from passmill.v1 import api_scope_pb2
from passmill_client.call import Call, ChangeOptions, Listing, ReadOptions, call_of, meta_of
from passmill_client.values import to_timestamp

_SERVICE = pb.DESCRIPTOR.services_by_name["AdminService"]


def create_tenant(display_name: str, **options: Unpack[ChangeOptions]) -> Call[pb.Tenant]:
    """Makes a tenant. Operators only."""
    request = pb.CreateTenantRequest(display_name=display_name, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.CreateTenantResponse, lambda answer: answer.tenant, options
    )


def set_tenant_state(
    tenant_id: str, state: pb.Tenant.State.ValueType, **options: Unpack[ChangeOptions]
) -> Call[pb.Tenant]:
    """Stops or restarts a tenant's API keys. Operators only."""
    request = pb.SetTenantStateRequest(tenant_id=tenant_id, state=state, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.SetTenantStateResponse, lambda answer: answer.tenant, options
    )


def get_tenant(*, tenant_id: str = "", **options: Unpack[ReadOptions]) -> Call[pb.Tenant]:
    """Gives one tenant."""
    request = pb.GetTenantRequest(tenant_id=tenant_id)
    return call_of(_SERVICE, request, pb.GetTenantResponse, lambda answer: answer.tenant, options)


def list_tenants(*, page_size: int = 500, **options: Unpack[ReadOptions]) -> Listing[pb.Tenant]:
    """Lists tenants, oldest first, page by page. Operators only."""

    def page(token: str) -> Call[tuple[Sequence[pb.Tenant], str]]:
        return call_of(
            _SERVICE,
            pb.ListTenantsRequest(page_size=page_size, page_token=token),
            pb.ListTenantsResponse,
            lambda answer: (answer.tenants, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def create_api_key(
    display_name: str,
    *,
    scopes: Iterable[api_scope_pb2.ApiScope.ValueType],
    expire_time: datetime | None = None,
    tenant_id: str = "",
    **options: Unpack[ChangeOptions],
) -> Call[pb.CreateApiKeyResponse]:
    """Makes an API key. The answer's secret_key is shown here and never again."""
    request = pb.CreateApiKeyRequest(
        tenant_id=tenant_id,
        display_name=display_name,
        scopes=scopes,
        expire_time=to_timestamp(expire_time),
        meta=meta_of(options),
    )
    return call_of(_SERVICE, request, pb.CreateApiKeyResponse, lambda answer: answer, options)


def revoke_api_key(
    key_id: str, *, tenant_id: str = "", **options: Unpack[ChangeOptions]
) -> Call[pb.ApiKey]:
    """Ends an API key; calls with it are refused within five seconds."""
    request = pb.RevokeApiKeyRequest(tenant_id=tenant_id, key_id=key_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.RevokeApiKeyResponse, lambda answer: answer.api_key, options
    )


def list_api_keys(
    *, tenant_id: str = "", page_size: int = 500, **options: Unpack[ReadOptions]
) -> Listing[pb.ApiKey]:
    """Lists API keys without their secrets, oldest first, page by page."""

    def page(token: str) -> Call[tuple[Sequence[pb.ApiKey], str]]:
        return call_of(
            _SERVICE,
            pb.ListApiKeysRequest(tenant_id=tenant_id, page_size=page_size, page_token=token),
            pb.ListApiKeysResponse,
            lambda answer: (answer.api_keys, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def upload_signing_identity(
    source: pb.Pkcs12 | pb.PemIdentity,
    *,
    intermediates: Iterable[bytes] = (),
    activate: bool = False,
    tenant_id: str = "",
    **options: Unpack[ChangeOptions],
) -> Call[pb.SigningIdentity]:
    """Checks a certificate and key and stores them, the key encrypted."""
    request = pb.UploadSigningIdentityRequest(
        tenant_id=tenant_id,
        pkcs12=source if isinstance(source, pb.Pkcs12) else None,
        pem=source if isinstance(source, pb.PemIdentity) else None,
        intermediates=intermediates,
        activate=activate,
        meta=meta_of(options),
    )
    return call_of(
        _SERVICE,
        request,
        pb.UploadSigningIdentityResponse,
        lambda answer: answer.signing_identity,
        options,
    )


def check_signing_identity(
    signing_identity_id: str, *, tenant_id: str = "", **options: Unpack[ReadOptions]
) -> Call[pb.CheckSigningIdentityResponse]:
    """Loads a stored identity, checks it against the clock and makes a trial signature."""
    request = pb.CheckSigningIdentityRequest(
        tenant_id=tenant_id, signing_identity_id=signing_identity_id
    )
    return call_of(
        _SERVICE, request, pb.CheckSigningIdentityResponse, lambda answer: answer, options
    )


def list_signing_identities(
    *,
    tenant_id: str = "",
    expire_time_before: datetime | None = None,
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[pb.SigningIdentity]:
    """Lists signing identities, the first to expire first, page by page."""

    def page(token: str) -> Call[tuple[Sequence[pb.SigningIdentity], str]]:
        request = pb.ListSigningIdentitiesRequest(
            tenant_id=tenant_id,
            expire_time_before=to_timestamp(expire_time_before),
            page_size=page_size,
            page_token=token,
        )
        return call_of(
            _SERVICE,
            request,
            pb.ListSigningIdentitiesResponse,
            lambda answer: (answer.signing_identities, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def activate_signing_identity(
    signing_identity_id: str, *, tenant_id: str = "", **options: Unpack[ChangeOptions]
) -> Call[pb.SigningIdentity]:
    """Makes an identity the one that signs its pass type from now on."""
    request = pb.ActivateSigningIdentityRequest(
        tenant_id=tenant_id, signing_identity_id=signing_identity_id, meta=meta_of(options)
    )
    return call_of(
        _SERVICE,
        request,
        pb.ActivateSigningIdentityResponse,
        lambda answer: answer.signing_identity,
        options,
    )


def rotate_barcode_key(
    *, tenant_id: str = "", **options: Unpack[ChangeOptions]
) -> Call[pb.BarcodeKey]:
    """Makes a new key, which signs barcodes from now on."""
    request = pb.RotateBarcodeKeyRequest(tenant_id=tenant_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.RotateBarcodeKeyResponse, lambda answer: answer.barcode_key, options
    )


def revoke_barcode_key(
    barcode_key_id: str, *, tenant_id: str = "", **options: Unpack[ChangeOptions]
) -> Call[pb.BarcodeKey]:
    """Ends a key that may be in wrong hands; barcodes that it signed are refused within five
    seconds."""
    request = pb.RevokeBarcodeKeyRequest(
        tenant_id=tenant_id, barcode_key_id=barcode_key_id, meta=meta_of(options)
    )
    return call_of(
        _SERVICE, request, pb.RevokeBarcodeKeyResponse, lambda answer: answer.barcode_key, options
    )


def list_barcode_keys(
    *, tenant_id: str = "", page_size: int = 500, **options: Unpack[ReadOptions]
) -> Listing[pb.BarcodeKey]:
    """Lists the keys that sign or signed barcodes, oldest first, page by page."""

    def page(token: str) -> Call[tuple[Sequence[pb.BarcodeKey], str]]:
        return call_of(
            _SERVICE,
            pb.ListBarcodeKeysRequest(tenant_id=tenant_id, page_size=page_size, page_token=token),
            pb.ListBarcodeKeysResponse,
            lambda answer: (answer.barcode_keys, answer.next_page_token),
            options,
        )

    return Listing(page=page)
