"""Scanners and their codes at rest."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from passmill import errors
from passmill.domain.ids import TenantId
from passmill.domain.scanners import Scanner, ScannerCode, ScannerId, ScannerRight
from passmill.domain.venues import Venue, VenueId
from passmill.store.database import Transaction
from passmill.store.venues import venue_from_row

_SELECT: Final = (
    "SELECT s.scanner_id, s.venue_id, s.display_name, s.rights, s.key_id, s.enrol_time,"
    " s.revoke_time, k.expire_time FROM scanners s JOIN api_keys k USING (tenant_id, key_id)"
)
_CODES_KEPT: Final = timedelta(days=1)


async def insert_scanner(tx: Transaction, scanner: Scanner) -> None:
    """Writes a new scanner."""
    await tx.execute(
        "INSERT INTO scanners (tenant_id, scanner_id, venue_id, display_name, rights, key_id,"
        " enrol_time) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tx.tenant_id,
        scanner.scanner_id,
        scanner.venue_id,
        scanner.display_name,
        sorted(scanner.rights),
        scanner.key_id,
        scanner.enrol_time,
    )


async def require_scanner(tx: Transaction, scanner_id: ScannerId) -> None:
    """AppError NOT_FOUND when there is none with this id."""
    if not await tx.fetch_value(
        "SELECT true FROM scanners WHERE tenant_id = $1 AND scanner_id = $2",
        tx.tenant_id,
        scanner_id,
    ):
        raise errors.not_found("scanner")


async def find_desk(tx: Transaction, key_id: str) -> tuple[Scanner, Venue] | None:
    """The scanner that calls with this key, and where it is; None when the key is none's."""
    row = await tx.fetch_one(
        "SELECT s.scanner_id, s.venue_id, s.display_name AS scanner_name, s.rights, s.key_id,"
        "  s.enrol_time, s.revoke_time, k.expire_time, v.display_name, v.partner, v.create_time"
        " FROM scanners s JOIN venues v USING (tenant_id, venue_id)"
        " JOIN api_keys k USING (tenant_id, key_id)"
        " WHERE s.tenant_id = $1 AND s.key_id = $2",
        tx.tenant_id,
        key_id,
    )
    if row is None:
        return None
    return _scanner(row, display_name=row["scanner_name"]), venue_from_row(row)


async def revoke_scanner(tx: Transaction, scanner_id: ScannerId, *, now: datetime) -> Scanner:
    """Ends a scanner, for good; one that was revoked before keeps its time. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        "UPDATE scanners s SET revoke_time = coalesce(s.revoke_time, $3) FROM api_keys k"
        " WHERE s.tenant_id = $1 AND s.scanner_id = $2 AND k.tenant_id = $1 AND k.key_id = s.key_id"
        " RETURNING s.scanner_id, s.venue_id, s.display_name, s.rights, s.key_id, s.enrol_time,"
        " s.revoke_time, k.expire_time",
        tx.tenant_id,
        scanner_id,
        now,
    )
    if row is None:
        raise errors.not_found("scanner")
    return _scanner(row, display_name=row["display_name"])


async def list_scanners(
    tx: Transaction,
    *,
    venue_id: VenueId | None,
    include_revoked: bool,
    after: ScannerId | None,
    at_most: int,
) -> list[Scanner]:
    """Scanners by id, which is by age, those after `after` only; of one venue, or of all."""
    rows = await tx.fetch(
        _SELECT + " WHERE s.tenant_id = $1 AND s.scanner_id > $2"
        " AND ($3::uuid IS NULL OR s.venue_id = $3) AND ($4 OR s.revoke_time IS NULL)"
        " ORDER BY s.scanner_id LIMIT $5",
        tx.tenant_id,
        after or UUID(int=0),
        venue_id,
        include_revoked,
        at_most,
    )
    return [_scanner(row, display_name=row["display_name"]) for row in rows]


async def insert_code(tx: Transaction, code: ScannerCode) -> None:
    """Writes a new code, and forgets those of the tenant that ended a day ago."""
    await tx.execute(
        "DELETE FROM scanner_codes WHERE tenant_id = $1 AND expire_time < $2",
        tx.tenant_id,
        code.create_time - _CODES_KEPT,
    )
    await tx.execute(
        "INSERT INTO scanner_codes (tenant_id, code_hash, venue_id, rights, create_time,"
        " expire_time) VALUES ($1, $2, $3, $4, $5, $6)",
        tx.tenant_id,
        code.code_hash,
        code.venue_id,
        sorted(code.rights),
        code.create_time,
        code.expire_time,
    )


async def find_code_tenant(tx: Transaction, code_hash: bytes) -> TenantId | None:
    """Whose code this is, None when there is none. The transaction must have been opened for this
    `presented_secret`."""
    tenant_id = await tx.fetch_value(
        "SELECT tenant_id FROM scanner_codes WHERE code_hash = $1", code_hash
    )
    return None if tenant_id is None else TenantId(tenant_id)


async def use_code(
    tx: Transaction, code_hash: bytes, *, now: datetime
) -> tuple[VenueId, frozenset[ScannerRight]] | None:
    """Uses a code up: what it is good for, None when it was used or is over. Of two at once one
    gets it."""
    row = await tx.fetch_one(
        "UPDATE scanner_codes SET use_time = $3 WHERE tenant_id = $1 AND code_hash = $2"
        " AND use_time IS NULL AND expire_time > $3 RETURNING venue_id, rights",
        tx.tenant_id,
        code_hash,
        now,
    )
    if row is None:
        return None
    return VenueId(UUID(int=row["venue_id"].int)), _rights(row["rights"])


def _rights(names: list[str]) -> frozenset[ScannerRight]:
    return frozenset(ScannerRight(name) for name in names)


def _scanner(row: asyncpg.Record, *, display_name: str) -> Scanner:
    return Scanner(
        scanner_id=ScannerId(UUID(int=row["scanner_id"].int)),
        venue_id=VenueId(UUID(int=row["venue_id"].int)),
        display_name=display_name,
        rights=_rights(row["rights"]),
        key_id=row["key_id"],
        enrol_time=row["enrol_time"],
        revoke_time=row["revoke_time"],
        expire_time=row["expire_time"],
    )
