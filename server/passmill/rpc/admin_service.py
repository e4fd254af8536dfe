"""AdminService: tenants, API keys and signing identities, on the operators' port."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

from google.protobuf.message import Message

from passmill import errors
from passmill.domain.barcodes import LAST_KEY_ID, BarcodeKeyId
from passmill.domain.callers import Scope
from passmill.domain.ids import SigningIdentityId, TenantId, parse_number
from passmill.errors import invalid_field
from passmill.rpc import convert_admin as convert
from passmill.rpc.convert_scopes import scopes_from
from passmill.rpc.convert_time import time_from
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.paging import Pages
from passmill.store.api_keys import list_api_keys
from passmill.store.barcode_keys import list_barcode_keys
from passmill.store.database import Database
from passmill.store.signing_identities import list_identities
from passmill.store.tenants import get_tenant, list_tenants
from passmill.usecases.activate_signing_identity import ActivateSigningIdentity
from passmill.usecases.check_signing_identity import CheckSigningIdentity
from passmill.usecases.create_api_key import CreateApiKey
from passmill.usecases.create_tenant import CreateTenant
from passmill.usecases.mutation import Answer
from passmill.usecases.revoke_api_key import RevokeApiKey
from passmill.usecases.revoke_barcode_key import RevokeBarcodeKey
from passmill.usecases.rotate_barcode_key import RotateBarcodeKey
from passmill.usecases.set_tenant_state import SetTenantState
from passmill.usecases.upload_signing_identity import UploadSigningIdentity
from passmill.v1 import admin_service_pb2 as pb

T = TypeVar("T")

SERVICE: Final = pb.DESCRIPTOR.services_by_name["AdminService"]
RULES: Final[Mapping[str, MethodRule]] = {
    "CreateTenant": MethodRule(scope=Scope.ADMIN, mutates=True, operator_only=True),
    "SetTenantState": MethodRule(scope=Scope.ADMIN, mutates=True, operator_only=True),
    "GetTenant": MethodRule(scope=Scope.ADMIN),
    "ListTenants": MethodRule(scope=Scope.ADMIN, operator_only=True),
    "CreateApiKey": MethodRule(scope=Scope.ADMIN, mutates=True),
    "RevokeApiKey": MethodRule(scope=Scope.ADMIN, mutates=True),
    "ListApiKeys": MethodRule(scope=Scope.ADMIN),
    "UploadSigningIdentity": MethodRule(scope=Scope.ADMIN, mutates=True),
    "CheckSigningIdentity": MethodRule(scope=Scope.ADMIN),
    "ListSigningIdentities": MethodRule(scope=Scope.ADMIN),
    "ActivateSigningIdentity": MethodRule(scope=Scope.ADMIN, mutates=True),
    "RotateBarcodeKey": MethodRule(scope=Scope.ADMIN, mutates=True),
    "RevokeBarcodeKey": MethodRule(scope=Scope.ADMIN, mutates=True),
    "ListBarcodeKeys": MethodRule(scope=Scope.ADMIN),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminUseCases:
    """What the servicer calls."""

    create_tenant: CreateTenant
    set_tenant_state: SetTenantState
    create_api_key: CreateApiKey
    revoke_api_key: RevokeApiKey
    upload_signing_identity: UploadSigningIdentity
    check_signing_identity: CheckSigningIdentity
    activate_signing_identity: ActivateSigningIdentity
    rotate_barcode_key: RotateBarcodeKey
    revoke_barcode_key: RevokeBarcodeKey


class AdminServicer:
    """Decodes, calls a use case or reads a list, encodes."""

    __slots__ = ("_database", "_pages", "_use_cases")

    def __init__(self, *, database: Database, pages: Pages, use_cases: AdminUseCases) -> None:
        self._database = database
        self._pages = pages
        self._use_cases = use_cases

    async def create_tenant(self, request: pb.CreateTenantRequest, call: Call) -> Answer:
        """CreateTenant."""
        mutation = call.mutation(
            request,
            lambda tenant: pb.CreateTenantResponse(tenant=convert.tenant_message(tenant)),
        )
        return await self._use_cases.create_tenant(mutation, display_name=request.display_name)

    async def set_tenant_state(self, request: pb.SetTenantStateRequest, call: Call) -> Answer:
        """SetTenantState."""
        mutation = _inside(call, request.tenant_id).mutation(
            request,
            lambda tenant: pb.SetTenantStateResponse(tenant=convert.tenant_message(tenant)),
        )
        return await self._use_cases.set_tenant_state(
            mutation, state=convert.tenant_state_from(request.state)
        )

    async def get_tenant(self, request: pb.GetTenantRequest, call: Call) -> pb.GetTenantResponse:
        """GetTenant."""
        caller = _inside(call, request.tenant_id).caller
        async with self._database.transaction(caller, read_only=True) as tx:
            tenant = await get_tenant(tx, caller.tenant_id)
        return pb.GetTenantResponse(tenant=convert.tenant_message(tenant))

    async def list_tenants(
        self, request: pb.ListTenantsRequest, call: Call
    ) -> pb.ListTenantsResponse:
        """ListTenants."""
        size = self._pages.size(request.page_size)
        key = self._pages.key(request, request.page_token)
        after = None if key is None else (_time(key[0]), TenantId(int(key[1])))
        async with self._database.transaction(call.caller, read_only=True) as tx:
            found = await list_tenants(tx, after=after, at_most=size + 1)
        shown, token = self._page(
            request, found, size, lambda tenant: (tenant.create_time, tenant.tenant_id)
        )
        return pb.ListTenantsResponse(
            tenants=[convert.tenant_message(tenant) for tenant in shown], next_page_token=token
        )

    async def create_api_key(self, request: pb.CreateApiKeyRequest, call: Call) -> Answer:
        """CreateApiKey."""
        mutation = _inside(call, request.tenant_id).mutation(
            request, convert.created_key_message, holds_secret=True
        )
        return await self._use_cases.create_api_key(
            mutation,
            display_name=request.display_name,
            scopes=scopes_from(request.scopes),
            expire_time=time_from(request, "expire_time"),
        )

    async def revoke_api_key(self, request: pb.RevokeApiKeyRequest, call: Call) -> Answer:
        """RevokeApiKey."""
        mutation = _inside(call, request.tenant_id).mutation(
            request,
            lambda api_key: pb.RevokeApiKeyResponse(api_key=convert.api_key_message(api_key)),
        )
        return await self._use_cases.revoke_api_key(mutation, key_id=_text(request.key_id))

    async def list_api_keys(
        self, request: pb.ListApiKeysRequest, call: Call
    ) -> pb.ListApiKeysResponse:
        """ListApiKeys."""
        caller = _inside(call, request.tenant_id).caller
        size = self._pages.size(request.page_size)
        key = self._pages.key(request, request.page_token)
        after = None if key is None else (_time(key[0]), str(key[1]))
        async with self._database.transaction(caller, read_only=True) as tx:
            await get_tenant(tx, caller.tenant_id)
            found = await list_api_keys(tx, after=after, at_most=size + 1)
        shown, token = self._page(
            request, found, size, lambda api_key: (api_key.create_time, api_key.key_id)
        )
        return pb.ListApiKeysResponse(
            api_keys=[convert.api_key_message(api_key) for api_key in shown],
            next_page_token=token,
        )

    async def upload_signing_identity(
        self, request: pb.UploadSigningIdentityRequest, call: Call
    ) -> Answer:
        """UploadSigningIdentity."""
        mutation = _inside(call, request.tenant_id).mutation(
            request,
            lambda identity: pb.UploadSigningIdentityResponse(
                signing_identity=convert.identity_message(identity)
            ),
        )
        return await self._use_cases.upload_signing_identity(
            mutation,
            source=convert.identity_source_from(request),
            intermediates=list(request.intermediates),
            is_activating=request.activate,
        )

    async def check_signing_identity(
        self, request: pb.CheckSigningIdentityRequest, call: Call
    ) -> pb.CheckSigningIdentityResponse:
        """CheckSigningIdentity."""
        check = await self._use_cases.check_signing_identity(
            _inside(call, request.tenant_id).caller,
            signing_identity_id=_identity_id(request.signing_identity_id),
        )
        return convert.identity_check_message(check)

    async def list_signing_identities(
        self, request: pb.ListSigningIdentitiesRequest, call: Call
    ) -> pb.ListSigningIdentitiesResponse:
        """ListSigningIdentities."""
        caller = _inside(call, request.tenant_id).caller
        size = self._pages.size(request.page_size)
        key = self._pages.key(request, request.page_token)
        after = None if key is None else (_time(key[0]), SigningIdentityId(int(key[1])))
        expire_before = time_from(request, "expire_time_before")
        async with self._database.transaction(caller, read_only=True) as tx:
            await get_tenant(tx, caller.tenant_id)
            found = await list_identities(
                tx, expire_before=expire_before, after=after, at_most=size + 1
            )
        shown, token = self._page(
            request, found, size, lambda each: (each.expire_time, each.signing_identity_id)
        )
        return pb.ListSigningIdentitiesResponse(
            signing_identities=[convert.identity_message(identity) for identity in shown],
            next_page_token=token,
        )

    async def activate_signing_identity(
        self, request: pb.ActivateSigningIdentityRequest, call: Call
    ) -> Answer:
        """ActivateSigningIdentity."""
        mutation = _inside(call, request.tenant_id).mutation(
            request,
            lambda identity: pb.ActivateSigningIdentityResponse(
                signing_identity=convert.identity_message(identity)
            ),
        )
        return await self._use_cases.activate_signing_identity(
            mutation, signing_identity_id=_identity_id(request.signing_identity_id)
        )

    async def rotate_barcode_key(self, request: pb.RotateBarcodeKeyRequest, call: Call) -> Answer:
        """RotateBarcodeKey."""
        mutation = _inside(call, request.tenant_id).mutation(
            request,
            lambda key: pb.RotateBarcodeKeyResponse(barcode_key=convert.barcode_key_message(key)),
        )
        return await self._use_cases.rotate_barcode_key(mutation)

    async def revoke_barcode_key(self, request: pb.RevokeBarcodeKeyRequest, call: Call) -> Answer:
        """RevokeBarcodeKey."""
        mutation = _inside(call, request.tenant_id).mutation(
            request,
            lambda key: pb.RevokeBarcodeKeyResponse(barcode_key=convert.barcode_key_message(key)),
        )
        return await self._use_cases.revoke_barcode_key(
            mutation, key_id=_barcode_key_id(request.barcode_key_id)
        )

    async def list_barcode_keys(
        self, request: pb.ListBarcodeKeysRequest, call: Call
    ) -> pb.ListBarcodeKeysResponse:
        """ListBarcodeKeys."""
        caller = _inside(call, request.tenant_id).caller
        size = self._pages.size(request.page_size)
        key = self._pages.key(request, request.page_token)
        after = None if key is None else (_time(key[0]), int(key[1]))
        async with self._database.transaction(caller, read_only=True) as tx:
            await get_tenant(tx, caller.tenant_id)
            found = [each.key for each in await list_barcode_keys(tx)]
        listed = [
            each for each in found if after is None or (each.create_time, each.key_id) > after
        ]
        shown, token = self._page(
            request, listed[: size + 1], size, lambda each: (each.create_time, each.key_id)
        )
        return pb.ListBarcodeKeysResponse(
            barcode_keys=[convert.barcode_key_message(each) for each in shown],
            next_page_token=token,
        )

    def _page(
        self,
        request: Message,
        found: Sequence[T],
        size: int,
        key: Callable[[T], tuple[datetime, str | int]],
    ) -> tuple[Sequence[T], str]:
        # One more than the page was asked for, to know whether there is a next.
        if len(found) <= size:
            return found, ""
        shown = found[:size]
        time, identifier = key(shown[-1])
        return shown, self._pages.token(request, [time.isoformat(), identifier])


def _inside(call: Call, tenant_id: str) -> Call:
    """The call at work inside the tenant it names: an operator's in any, another's in its own,
    which it may leave out."""
    if call.caller.is_operator:
        if not tenant_id:
            raise invalid_field("tenant_id", "an operator must say which tenant")
        named = parse_number(tenant_id)
        if named is None:
            raise errors.not_found("tenant")
        return replace(call, caller=call.caller.acting_for(TenantId(named)))
    if tenant_id and tenant_id != str(call.caller.tenant_id):
        raise errors.not_found("tenant")
    return call


def _identity_id(text: str) -> SigningIdentityId:
    number = parse_number(text)
    if number is None:
        raise errors.not_found("signing identity")
    return SigningIdentityId(number)


def _barcode_key_id(text: str) -> BarcodeKeyId:
    number = parse_number(text)
    if number is None or number > LAST_KEY_ID:
        raise errors.not_found("barcode key")
    return BarcodeKeyId(number)


def _text(key_id: str) -> str:
    # PostgreSQL takes no NUL, and no key has one.
    if not key_id.isprintable():
        raise errors.not_found("API key")
    return key_id


def _time(text: str | int) -> datetime:
    return datetime.fromisoformat(str(text))
