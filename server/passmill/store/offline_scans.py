"""Offline scans at rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from passmill.domain.ids import PassId
from passmill.domain.offers import OfferId
from passmill.domain.offline_scans import (
    KeptScan,
    OfflineAction,
    OfflineOutcome,
    OfflineRecord,
    ScanPlace,
)
from passmill.domain.redemptions import RedemptionId
from passmill.domain.scanners import ScannerId
from passmill.domain.scans import RefusalReason
from passmill.domain.venues import VenueId
from passmill.store.database import Transaction

_COLUMNS: Final = (
    "origin, local_sequence, fingerprint, outcome, reason, action, pass_id, offer_id,"
    " redemption_id, staff, scan_time"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanFilter:
    """Which scans to list; every part that is set narrows it."""

    only_conflicts: bool = False
    venue_id: VenueId | None = None
    scanner_id: ScannerId | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


async def insert_scan(
    tx: Transaction,
    record: OfflineRecord,
    *,
    venue_id: VenueId | None,
    conflicting_use_id: RedemptionId | None,
    now: datetime,
) -> None:
    """Keeps a scan and what became of it."""
    await tx.execute(
        "INSERT INTO offline_scans (tenant_id, origin, local_sequence, fingerprint, outcome,"
        " reason, action, pass_id, offer_id, redemption_id, venue_id, staff, scan_time,"
        " create_time, conflicting_use_id)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        tx.tenant_id,
        record.origin,
        record.local_sequence,
        record.fingerprint,
        record.outcome,
        record.reason or "",
        record.action,
        record.pass_id,
        record.offer_id,
        record.redemption_id,
        venue_id,
        record.staff,
        record.scan_time,
        now,
        conflicting_use_id,
    )


async def find_scans(
    tx: Transaction, origin: str, local_sequences: Sequence[int]
) -> dict[int, OfflineRecord]:
    """The scans of one origin that were told before, by their sequence numbers."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM offline_scans"  # noqa: S608 - our own columns
        " WHERE tenant_id = $1 AND origin = $2 AND local_sequence = ANY($3)",
        tx.tenant_id,
        origin,
        local_sequences,
    )
    return {row["local_sequence"]: _record(row) for row in rows}


async def list_scans(
    tx: Transaction, wanted: ScanFilter, *, before: ScanPlace | None, at_most: int
) -> list[KeptScan]:
    """Up to `at_most` scans, those told last first, those before `before` only."""
    conditions = {
        "venue_id = ${}": wanted.venue_id,
        "origin = ${}": None if wanted.scanner_id is None else str(wanted.scanner_id),
        "create_time >= ${}": wanted.created_from,
        "create_time < ${}": wanted.created_before,
    }
    sql = (
        f"SELECT {_COLUMNS}, venue_id, create_time, conflicting_use_id FROM offline_scans"  # noqa: S608 - our own columns
        " WHERE tenant_id = $1"
    )
    arguments: list[object] = [tx.tenant_id]
    for condition, argument in conditions.items():
        if argument is not None:
            arguments.append(argument)
            sql += f" AND {condition.format(len(arguments))}"
    if wanted.only_conflicts:
        sql += f" AND outcome = '{OfflineOutcome.CONFLICT}'"  # the index's very condition
    if before is not None:
        at = len(arguments)
        sql += f" AND (create_time, origin, local_sequence) < (${at + 1}, ${at + 2}, ${at + 3})"
        arguments += [before.create_time, before.origin, before.local_sequence]
    arguments.append(at_most)
    rows = await tx.fetch(
        f"{sql} ORDER BY create_time DESC, origin DESC, local_sequence DESC"
        f" LIMIT ${len(arguments)}",
        *arguments,
    )
    return [
        KeptScan(
            record=_record(row),
            venue_id=None if row["venue_id"] is None else VenueId(_uuid(row["venue_id"])),
            create_time=row["create_time"],
            conflicting_use_id=_redemption_id(row["conflicting_use_id"]),
        )
        for row in rows
    ]


def _record(row: asyncpg.Record) -> OfflineRecord:
    return OfflineRecord(
        origin=row["origin"],
        local_sequence=row["local_sequence"],
        fingerprint=row["fingerprint"],
        action=OfflineAction(row["action"]),
        outcome=OfflineOutcome(row["outcome"]),
        reason=RefusalReason(row["reason"]) if row["reason"] else None,
        pass_id=None if row["pass_id"] is None else PassId(_uuid(row["pass_id"])),
        offer_id=None if row["offer_id"] is None else OfferId(_uuid(row["offer_id"])),
        redemption_id=_redemption_id(row["redemption_id"]),
        staff=row["staff"],
        scan_time=row["scan_time"],
    )


def _redemption_id(stored: UUID | None) -> RedemptionId | None:
    return None if stored is None else RedemptionId(_uuid(stored))


def _uuid(stored: UUID) -> UUID:
    # The driver's own kind of UUID is none of ours.
    return UUID(int=stored.int)
