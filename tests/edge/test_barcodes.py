"""What the edge, which has no key, serves of passes with barcodes that can be checked."""

from __future__ import annotations

import pytest

from passmill.domain.templates import BarcodeKind
from passmill.usecases.read_barcode import ReadCode
from passmill.v1.wallet_pass_pb2 import Pass
from tests.edge.rig import Edge, hold
from tests.support.barcodes import Till, barcode_card, rotate
from tests.support.bundles import verify
from tests.support.service import Club, authority
from tests.support.small_card import value

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("kind", list(BarcodeKind))
async def test_the_edge_serves_what_was_signed(edge: Edge, club: Club, kind: BarcodeKind) -> None:
    """The edge renders the very bundle that was signed, after changes and a rotation too, and its
    barcode names the pass."""
    await club.tenant.publish(club.template_id, barcode_card(kind))
    held = await hold(club)
    for points in (11, 12):
        answer = await edge.client.get(held.path, headers=held.authorization)
        assert answer.status_code == 200
        assert answer.content == await club.bundle(held.wallet_pass)
        [barcode] = verify(answer.content, authority())["barcodes"]
        read = await Till(club.tenant).read(barcode["message"])
        assert isinstance(read, ReadCode)
        assert str(read.pass_id) == held.wallet_pass.pass_id
        await rotate(club.tenant)
        wanted = Pass(values={"points": value(points)})
        await club.update(held.wallet_pass, "values.points", wanted=wanted)
