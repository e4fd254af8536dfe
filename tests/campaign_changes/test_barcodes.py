"""Campaigns that change passes with barcodes that can be checked."""

from __future__ import annotations

import pytest

from passmill.domain.campaigns import VoidAction
from passmill.domain.templates import BarcodeKind
from passmill.usecases.read_barcode import ReadCode
from tests.support.barcodes import (
    Till,
    add_barcode_club,
    barcode_card,
    keys_of,
    revoke,
    rotate,
    shown_barcode,
)
from tests.support.service import Service
from tests.support.shards import issue_many, open_runner, rows_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_roll_out_renews_barcodes(service: Service) -> None:
    """A campaign that sets values leaves barcodes alone, though the key was rotated; one that moves
    passes to a revision gives them new ones, and one to a revision with handles takes the seals
    away. A voided pass keeps its own."""
    club = await add_barcode_club(service)
    issued = await issue_many(club, 3)
    first = [await shown_barcode(club, each) for each in issued]
    await rotate(club.tenant)
    async with open_runner(service, club) as runner:
        served = await runner.change(await runner.update_action(points=77), rows_of(issued))
        assert (served.succeeded, served.failed) == (3, 0)
        assert [await shown_barcode(club, each) for each in issued] == first
        number = await club.tenant.publish(club.template_id, barcode_card())
        await runner.change(await runner.update_action(number), rows_of(issued))
        second = [await shown_barcode(club, each) for each in issued]
        assert not set(first) & set(second)
        for texts in (first, second):
            for text, each in zip(texts, issued, strict=True):
                read = await Till(club.tenant).read(text)
                assert isinstance(read, ReadCode)
                assert str(read.pass_id) == each.pass_id
        voiding = await runner.begin(
            await runner.draft(VoidAction(reason="gone"), rows_of(issued[:1]))
        )
        await runner.serve(voiding, runner.void)
        assert await shown_barcode(club, issued[0]) == second[0]
        number = await club.tenant.publish(club.template_id, barcode_card(BarcodeKind.HANDLE))
        served = await runner.change(await runner.update_action(number), rows_of(issued[1:]))
        assert served.succeeded == 2
        assert len(await shown_barcode(club, issued[1])) == 22
    rows = await club.tenant.fetch("SELECT barcode_seal IS NULL AS is_bare FROM passes")
    assert sorted(row["is_bare"] for row in rows) == [False, True, True]


async def test_after_a_revocation_any_change_renews(service: Service) -> None:
    """A campaign that sets a value gives passes of a revoked key barcodes that are believed."""
    club = await add_barcode_club(service)
    issued = await issue_many(club, 2)
    [key] = await keys_of(club.tenant)
    await revoke(club.tenant, key.barcode_key_id)
    async with open_runner(service, club) as runner:
        await runner.change(await runner.update_action(points=78), rows_of(issued))
    for each in issued:
        read = await Till(club.tenant).read(await shown_barcode(club, each))
        assert isinstance(read, ReadCode)
