"""Cards with barcodes that can be checked, and a till that reads them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from passmill.domain.clock import Clock, SystemClock
from passmill.domain.templates import (
    Barcode,
    BarcodeFormat,
    BarcodeKind,
    Slot,
    SlotType,
    TemplateContent,
)
from passmill.usecases.barcode_keys import BarcodeKeys
from passmill.usecases.read_barcode import ReadBarcode, ReadCode, RefusedCode
from passmill.usecases.tenant_numbers import TenantNumbers
from passmill.v1 import admin_service_pb2 as admin
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.bundles import verify
from tests.support.service import Club, Service, Tenant, authority, meta
from tests.support.small_card import small_card


def barcode_card(
    kind: BarcodeKind | None = BarcodeKind.SIGNED, *, expires: str = ""
) -> TemplateContent:
    """The small card with the service's own barcode. `expires`: "{ends}" is a slot of its own."""
    card = small_card(Slot(name="remark", type=SlotType.TEXT))
    ends = (Slot(name="ends", type=SlotType.INSTANT),) if expires == "{ends}" else ()
    return replace(
        card,
        slots=(*card.slots, *ends),
        barcodes=(Barcode(format=BarcodeFormat.QR, message="{pass.barcode}"),),
        barcode_kind=kind,
        expires=expires,
    )


class Till:
    """Reads barcodes of a tenant, and knows of its keys what it has just read."""

    def __init__(self, tenant: Tenant, *, clock: Clock | None = None) -> None:
        self._tenant = tenant
        self._clock = clock or SystemClock()

    async def read(self, text: str, *, after: timedelta = timedelta()) -> ReadCode | RefusedCode:
        """What a scanned text is, so long from now."""
        services = self._tenant.service.services
        clock = _Later(self._clock, after)
        read_barcode = ReadBarcode(
            keys=BarcodeKeys(database=services.database, keyring=services.keyring, clock=clock),
            numbers=TenantNumbers(database=services.database),
            tokens=services.keyring.pass_tokens,
            clock=clock,
        )
        return await read_barcode(self._tenant.caller, text)


class _Later:
    def __init__(self, clock: Clock, span: timedelta) -> None:
        self._clock = clock
        self._span = span

    def now(self) -> datetime:
        return self._clock.now() + self._span


async def shown_barcode(club: Club, wallet_pass: Pass) -> str:
    """What the barcode of a pass says, in a bundle that is proved."""
    [barcode] = verify(await club.bundle(wallet_pass), authority())["barcodes"]
    return str(barcode["message"])


async def rotate(tenant: Tenant) -> admin.BarcodeKey:
    """A new barcode key of the tenant."""
    request = admin.RotateBarcodeKeyRequest(meta=meta())
    return (await tenant.member.admin.RotateBarcodeKey(request)).barcode_key


async def revoke(tenant: Tenant, barcode_key_id: str) -> admin.BarcodeKey:
    """A barcode key of the tenant, revoked."""
    request = admin.RevokeBarcodeKeyRequest(barcode_key_id=barcode_key_id, meta=meta())
    return (await tenant.member.admin.RevokeBarcodeKey(request)).barcode_key


async def keys_of(tenant: Tenant) -> list[admin.BarcodeKey]:
    """The tenant's barcode keys."""
    listing = admin.ListBarcodeKeysRequest()
    return list((await tenant.member.admin.ListBarcodeKeys(listing)).barcode_keys)


async def add_barcode_club(service: Service, kind: BarcodeKind | None = BarcodeKind.SIGNED) -> Club:
    """A tenant that issues passes with such barcodes."""
    return await service.add_club(barcode_card(kind))
