"""Cards whose barcodes are signed, so that a till can check them without the service."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from passmill.demo.club import set_up
from passmill_client import Client, Pass, messages
from tests.pos.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCards:
    """A tenant's template of such cards, and an offer that each may have once. `client`: of a key
    with every scope; `till_key`: of one that may redeem."""

    tenant_id: str
    client: Client
    till_key: str
    template_id: str
    program_id: str
    offer_id: str

    def issue(self) -> tuple[Pass, str]:
        """A pass, and what its barcode says."""
        issued = self.client.issue_pass(self.template_id, values={"points": 0})
        with zipfile.ZipFile(
            io.BytesIO(self.client.get_pass_bundle(pass_id=issued.pass_id))
        ) as bundle:
            [barcode] = json.loads(bundle.read("pass.json"))["barcodes"]
        return issued, str(barcode["message"])

    def add_offer(self, *, max_uses: int = 1) -> str:
        """Another offer."""
        offer = messages.Offer(display_name="Another coffee", max_uses=max_uses)
        return self.client.create_offer(offer, program_id=self.program_id).offer_id

    def uses_of(self, wallet_pass: Pass) -> list[messages.Redemption]:
        """The uses of a pass that stand, the newest first."""
        return list(self.client.list_redemptions(pass_id=wallet_pass.pass_id, only_standing=True))


def cards_of(place: Place) -> SignedCards:
    """Cards of the place's own tenant."""
    return SignedCards(
        tenant_id=place.tenant_id,
        client=place.client,
        till_key=place.till_key,
        template_id=_publish(place.client, place.program_id, place.template_id),
        program_id=place.program_id,
        offer_id=place.offer_id,
    )


@contextmanager
def open_tenant(place: Place) -> Iterator[SignedCards]:
    """Cards of a new tenant of the same service."""
    service = place.service
    club = set_up(
        api_address=service.api_address,
        admin_address=service.admin_address,
        operator_key=service.operator_key,
    )
    owner, till = [
        place.operator.create_api_key(name, tenant_id=club.tenant_id, scopes=scopes).secret_key
        for name, scopes in (
            ("owner", [value for value in messages.ApiScope.values() if value]),
            ("till", [messages.API_SCOPE_REDEEM]),
        )
    ]
    with Client(service.api_address, owner) as client:
        [program] = client.list_programs()
        offer = messages.Offer(display_name="Free coffee")
        yield SignedCards(
            tenant_id=club.tenant_id,
            client=client,
            till_key=till,
            template_id=_publish(client, program.program_id, club.template_id),
            program_id=program.program_id,
            offer_id=client.create_offer(offer, program_id=program.program_id).offer_id,
        )


def _publish(client: Client, program_id: str, template_id: str) -> str:
    content = client.get_template_revision(template_id).content
    content.barcode_kind = messages.BARCODE_KIND_SIGNED
    for barcode in content.barcodes:
        barcode.message = "{pass.barcode}"
    made = client.create_template(program_id, display_name="Signed card", content=content)
    client.publish_template(made.template.template_id, etag=made.template.etag)
    return made.template.template_id
