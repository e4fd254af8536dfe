"""Stays at venues at rest."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from passmill.domain.ids import PassId
from passmill.domain.redemptions import CheckIn, CheckInId
from passmill.domain.scanners import ScannerId
from passmill.domain.venues import VenueId
from passmill.store.database import Transaction
from passmill.store.pass_origins import origin_of

_COLUMNS: Final = "check_in_id, venue_id, in_time, out_time, is_offline"


async def check_in(
    tx: Transaction,
    stay: CheckIn,
    *,
    scanner_id: ScannerId | None,
    staff: str,
    now: datetime,
) -> bool:
    """Begins a stay; False when the pass is at the venue already. Of two at once one gets in."""
    return (
        await tx.execute(
            "INSERT INTO check_ins (tenant_id, check_in_id, pass_id, venue_id, in_scanner_id,"  # noqa: S608 - a name of ours
            " in_staff, in_time, is_offline, create_time)"
            f" VALUES ($1, $2, {origin_of('$3')}, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
            tx.tenant_id,
            stay.check_in_id,
            stay.pass_id,
            stay.venue_id,
            scanner_id,
            staff,
            stay.in_time,
            stay.is_offline,
            now,
        )
        == 1
    )


async def check_out(
    tx: Transaction,
    pass_id: PassId,
    venue_id: VenueId,
    *,
    scanner_id: ScannerId | None,
    staff: str,
    out_time: datetime,
    begun_by: datetime | None = None,
) -> CheckIn | None:
    """Ends the stay of a pass at a venue, None when there is none; with `begun_by` only one that
    had begun then. It ends no sooner than it began: clocks of scanners differ."""
    row = await tx.fetch_one(
        "UPDATE check_ins SET out_time = greatest(in_time, $4), out_scanner_id = $5, out_staff = $6"  # noqa: S608 - our own columns
        f" WHERE tenant_id = $1 AND pass_id = {origin_of('$2')} AND venue_id = $3"
        " AND out_time IS NULL AND ($7::timestamptz IS NULL OR in_time <= $7)"
        f" RETURNING {_COLUMNS}",
        tx.tenant_id,
        pass_id,
        venue_id,
        out_time,
        scanner_id,
        staff,
        begun_by,
    )
    return None if row is None else _check_in(row, pass_id)


async def find_open(tx: Transaction, pass_id: PassId, venue_id: VenueId) -> CheckIn | None:
    """The stay of a pass at a venue that lasts."""
    row = await tx.fetch_one(
        f"SELECT {_COLUMNS} FROM check_ins WHERE tenant_id = $1"  # noqa: S608 - our own columns
        f" AND pass_id = {origin_of('$2')} AND venue_id = $3 AND out_time IS NULL",
        tx.tenant_id,
        pass_id,
        venue_id,
    )
    return None if row is None else _check_in(row, pass_id)


def _check_in(row: asyncpg.Record, pass_id: PassId) -> CheckIn:
    return CheckIn(
        check_in_id=CheckInId(UUID(int=row["check_in_id"].int)),
        pass_id=pass_id,
        venue_id=VenueId(UUID(int=row["venue_id"].int)),
        in_time=row["in_time"],
        out_time=row["out_time"],
        is_offline=row["is_offline"],
    )
