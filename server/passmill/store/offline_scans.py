"""Offline scans at rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from passmill.domain.ids import PassId
from passmill.domain.offers import OfferId
from passmill.domain.offline_scans import OfflineAction, OfflineOutcome, OfflineRecord
from passmill.domain.redemptions import RedemptionId
from passmill.domain.scans import RefusalReason
from passmill.domain.venues import VenueId
from passmill.store.database import Transaction


async def insert_scan(
    tx: Transaction, record: OfflineRecord, *, venue_id: VenueId | None, now: datetime
) -> None:
    """Keeps a scan and what became of it."""
    await tx.execute(
        "INSERT INTO offline_scans (tenant_id, origin, local_sequence, fingerprint, outcome,"
        " reason, action, pass_id, offer_id, redemption_id, venue_id, staff, scan_time,"
        " create_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
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
    )


async def find_scans(
    tx: Transaction, origin: str, local_sequences: Sequence[int]
) -> dict[int, OfflineRecord]:
    """The scans of one origin that were told before, by their sequence numbers."""
    rows = await tx.fetch(
        "SELECT local_sequence, fingerprint, outcome, reason, action, pass_id, offer_id,"
        " redemption_id, staff, scan_time FROM offline_scans"
        " WHERE tenant_id = $1 AND origin = $2 AND local_sequence = ANY($3)",
        tx.tenant_id,
        origin,
        local_sequences,
    )
    return {
        row["local_sequence"]: OfflineRecord(
            origin=origin,
            local_sequence=row["local_sequence"],
            fingerprint=row["fingerprint"],
            action=OfflineAction(row["action"]),
            outcome=OfflineOutcome(row["outcome"]),
            reason=RefusalReason(row["reason"]) if row["reason"] else None,
            pass_id=None if row["pass_id"] is None else PassId(UUID(int=row["pass_id"].int)),
            offer_id=None if row["offer_id"] is None else OfferId(UUID(int=row["offer_id"].int)),
            redemption_id=None
            if row["redemption_id"] is None
            else RedemptionId(UUID(int=row["redemption_id"].int)),
            staff=row["staff"],
            scan_time=row["scan_time"],
        )
        for row in rows
    }
