"""Campaigns that issue passes with barcodes that can be checked."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from passmill.domain.barcodes import not_after_of, parse_signed
from passmill.domain.templates import BarcodeKind
from passmill.usecases.read_barcode import ReadCode
from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.campaign_pb2 import Campaign, Recipient
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.support.barcodes import Till, barcode_card, keys_of, shown_barcode
from tests.support.campaign_worker import open_campaign_worker
from tests.support.campaigns import recipient
from tests.support.service import Service
from tests.support.small_card import draft

pytestmark = pytest.mark.asyncio(loop_scope="session")

OWN = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
BY_SLOT = datetime(2032, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("kind", list(BarcodeKind))
async def test_a_campaign_seals_its_passes(service: Service, kind: BarcodeKind) -> None:
    """Each pass of a campaign has a barcode that a till reads, whose token ends with the
    recipient's own date, the slot's, or never; one that was signed once stays as it is."""
    club = await service.add_club(barcode_card(kind, expires="{ends}"))
    dated = draft(points=1)
    dated.expire_time.FromDatetime(OWN)
    rows = [
        Recipient(external_id="own", draft=dated),
        Recipient(external_id="slot", draft=draft(points=1, ends=BY_SLOT)),
        *(recipient(f"m{at}") for at in range(20)),
    ]
    async with open_campaign_worker(service, club) as worker:
        campaign = await worker.loaded(rows, streams=2)
        await worker.start(campaign)
        await worker.serve_due()
        assert (await worker.get(campaign)).state == Campaign.STATE_SUCCEEDED
        results = await worker.campaigns.results(campaign)
    ends = {"own": not_after_of(OWN), "slot": not_after_of(BY_SLOT)}
    for each in results[:4]:
        request = pb.GetPassRequest(ref=PassRef(pass_id=each.pass_id))
        text = await shown_barcode(club, (await club.passes.GetPass(request)).wallet_pass)
        read = await Till(club.tenant).read(text)
        assert isinstance(read, ReadCode)
        assert str(read.pass_id) == each.pass_id
        if kind is BarcodeKind.SIGNED:
            barcode = parse_signed(text)
            assert barcode is not None
            assert barcode.not_after == ends.get(each.external_id, 0)
    seals = await club.tenant.fetch("SELECT DISTINCT barcode_seal FROM passes")
    assert len(seals) == (22 if kind is BarcodeKind.SIGNED else 1)
    assert len(await keys_of(club.tenant)) == (kind is BarcodeKind.SIGNED)
