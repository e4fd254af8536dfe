"""A sign-up on a pass with a signed barcode."""

from __future__ import annotations

from dataclasses import replace

import pytest

from passmill.domain.templates import Barcode, BarcodeFormat, BarcodeKind
from passmill.usecases.read_barcode import ReadCode
from tests.edge.rig import Edge
from tests.support.barcodes import Till, shown_barcode
from tests.support.sign_up_card import sign_up_card
from tests.support.sign_ups import SignUpClub, fetch, new_token, sign_up

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


@pytest.mark.usefixtures("worker", "service")
async def test_a_sign_up_keeps_the_barcode(edge: Edge, club: SignUpClub) -> None:
    """A holder who signs up keeps the barcode that the pass had, and the edge serves what was
    signed."""
    barcodes = (Barcode(format=BarcodeFormat.QR, message="{pass.barcode}"),)
    card = replace(sign_up_card(), barcodes=barcodes, barcode_kind=BarcodeKind.SIGNED)
    await club.club.tenant.publish(club.club.template_id, card)
    held = await club.issue()
    before = await shown_barcode(club.club, held.wallet_pass)
    assert (await sign_up(edge, held, new_token())).status_code == 200
    assert (await club.get(held)).version == held.wallet_pass.version + 1
    assert await shown_barcode(club.club, held.wallet_pass) == before
    assert (await fetch(edge, held)).content == await club.club.bundle(held.wallet_pass)
    assert isinstance(await Till(club.club.tenant).read(before), ReadCode)
