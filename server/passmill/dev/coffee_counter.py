"""The coffee club's counter: a venue, a coupon to redeem, scanners, and passes as they are shown
there. For the benches and the tests under fire."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from passmill.dev import coffee_club
from passmill_client import AdminClient, AsyncClient, Client, messages, pass_draft
from passmill_client.messages import Offer, OfferMark, PassRef, TemplateContent

USED_LEVEL: Final = "Used"
"""What a pass shows as its level when the coupon was redeemed."""

_BATCH: Final = 500
_BUNDLES_AT_ONCE: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CoffeeCounter:
    """A counter of a club. `owner_key`: may do everything. `scanners`: their ids and API keys."""

    venue_id: str
    offer_id: str
    template_id: str
    owner_key: str = field(repr=False)
    scanners: Sequence[tuple[str, str]] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPass:
    """A pass in somebody's hand. `barcode`: what a scanner reads from it."""

    pass_id: str
    serial_number: str
    barcode: str


def coupon_card(images: coffee_club.Images) -> TemplateContent:
    """The club's card with a signed barcode, and without its pictures but the icon that there must
    be: bundles are opened by the thousand."""
    content = coffee_club.card_content(
        {place: asset for place, asset in images.items() if place[0] == messages.IMAGE_ROLE_ICON}
    )
    for barcode in content.barcodes:
        barcode.message = "{pass.barcode}"
    content.barcode_kind = messages.BARCODE_KIND_SIGNED
    return content


def open_counter(
    *,
    api_address: str,
    admin_address: str,
    operator_key: str,
    tenant_id: str,
    template_id: str,
    scanners: int,
) -> CoffeeCounter:
    """A venue with so many scanners, and a coupon that each pass of the template may use once."""
    scopes = [
        messages.API_SCOPE_ADMIN,
        messages.API_SCOPE_ISSUE,
        messages.API_SCOPE_READ,
        messages.API_SCOPE_REDEEM,
    ]
    with AdminClient(admin_address, operator_key) as admin:
        owner_key = admin.create_api_key("counter", tenant_id=tenant_id, scopes=scopes).secret_key
    with Client(api_address, owner_key) as client:
        venue_id = client.create_venue("Coffee bar").venue_id
        offer = client.create_offer(
            Offer(
                display_name="Free coffee",
                max_uses=1,
                mark=OfferMark(used_up_values={"level": messages.Value(text=USED_LEVEL)}),
            ),
            program_id=client.get_template(template_id).program_id,
            template_id=template_id,
        )
        return CoffeeCounter(
            venue_id=venue_id,
            offer_id=offer.offer_id,
            template_id=template_id,
            owner_key=owner_key,
            scanners=[_enrol(client, venue_id, number) for number in range(scanners)],
        )


async def issue_shown(client: AsyncClient, template_id: str, count: int) -> list[ShownPass]:
    """Issues so many passes, each to another holder."""
    serial_numbers: dict[str, str] = {}
    for first in range(0, count, _BATCH):
        drafts = [
            pass_draft(name=f"Zoë Ōtani {number}", values={"points": number % 100})
            for number in range(first, min(first + _BATCH, count))
        ]
        answer = await client.batch_issue_passes(template_id, drafts, timeout=60)
        for result in answer.results:
            issued = result.wallet_pass
            serial_numbers[issued.pass_id] = issued.serial_number
    contents = await read_passes(client, list(serial_numbers))
    barcodes = {each["serialNumber"]: each["barcodes"][0]["message"] for each in contents}
    return [
        ShownPass(pass_id=pass_id, serial_number=number, barcode=barcodes[number])
        for pass_id, number in serial_numbers.items()
    ]


async def read_passes(client: AsyncClient, pass_ids: Sequence[str]) -> list[Mapping[str, Any]]:
    """The pass.json of each pass, as a phone gets it now."""
    contents: list[Mapping[str, Any]] = []
    for first in range(0, len(pass_ids), _BUNDLES_AT_ONCE):
        refs = [PassRef(pass_id=each) for each in pass_ids[first : first + _BUNDLES_AT_ONCE]]
        contents += _open(await client.get_passes_bundle(refs, timeout=60))
    return contents


def _enrol(client: Client, venue_id: str, number: int) -> tuple[str, str]:
    rights = [messages.SCANNER_RIGHT_REDEEM]
    code = client.create_scanner_code(venue_id, rights).code
    enrolled = client.enrol_scanner(code, f"Till {number}")
    return enrolled.scanner.scanner_id, enrolled.api_key


def _open(bundle: bytes) -> Iterator[Mapping[str, Any]]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as passes:
        for name in passes.namelist():
            with zipfile.ZipFile(io.BytesIO(passes.read(name))) as one:
                content: Mapping[str, Any] = json.loads(one.read("pass.json"))
                yield content
