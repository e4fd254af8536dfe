"""Barcode keys at rest: the public half, and the private one wrapped as long as it seals."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import asyncpg

from passmill.domain.barcodes import BarcodeKey, BarcodeKeyId
from passmill.errors import not_found
from passmill.store.database import Transaction

_SELECT: Final = (
    "SELECT key_id, public_key, wrapped_private_key, create_time, retire_time, revoke_time"
    " FROM barcode_keys"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBarcodeKey:
    """A key as it is stored. `wrapped_private_key`: None once it is retired."""

    key: BarcodeKey
    wrapped_private_key: bytes | None = field(repr=False)


async def list_barcode_keys(tx: Transaction) -> list[StoredBarcodeKey]:
    """All keys of the tenant, the oldest first."""
    rows = await tx.fetch(
        _SELECT + " WHERE tenant_id = $1 ORDER BY create_time, key_id", tx.tenant_id
    )
    return [_stored(row) for row in rows]


async def lock_barcode_keys(tx: Transaction) -> None:
    """Keeps others from making, retiring and revoking the tenant's keys until this transaction
    ends."""
    # The rows alone would not do: there may be none yet.
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"barcode_keys/{tx.tenant_id}"
    )


async def retire_active_key(tx: Transaction, *, now: datetime) -> None:
    """Ends the key that seals, if there is one. Its private half is gone for good."""
    await tx.execute(
        "UPDATE barcode_keys SET retire_time = $2, wrapped_private_key = NULL"
        " WHERE tenant_id = $1 AND retire_time IS NULL",
        tx.tenant_id,
        now,
    )


async def insert_barcode_key(tx: Transaction, stored: StoredBarcodeKey) -> None:
    """Writes a new key, which seals from now on. The caller holds the lock, and there is no other
    that seals."""
    await tx.execute(
        "INSERT INTO barcode_keys (tenant_id, key_id, public_key, wrapped_private_key, create_time)"
        " VALUES ($1, $2, $3, $4, $5)",
        tx.tenant_id,
        stored.key.key_id,
        stored.key.public_key,
        stored.wrapped_private_key,
        stored.key.create_time,
    )


async def revoke_barcode_key(tx: Transaction, key_id: BarcodeKeyId, *, now: datetime) -> BarcodeKey:
    """Makes a key prove nothing any more; one that is revoked already stays as it is. AppError
    NOT_FOUND."""
    await tx.execute(
        "UPDATE barcode_keys SET wrapped_private_key = NULL,"
        " retire_time = coalesce(retire_time, $3), revoke_time = coalesce(revoke_time, $3)"
        " WHERE tenant_id = $1 AND key_id = $2",
        tx.tenant_id,
        key_id,
        now,
    )
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND key_id = $2", tx.tenant_id, key_id
    )
    if row is None:
        raise not_found("barcode key")
    return _stored(row).key


def _stored(row: asyncpg.Record) -> StoredBarcodeKey:
    return StoredBarcodeKey(
        key=BarcodeKey(
            key_id=BarcodeKeyId(row["key_id"]),
            public_key=row["public_key"],
            create_time=row["create_time"],
            retire_time=row["retire_time"],
            revoke_time=row["revoke_time"],
        ),
        wrapped_private_key=row["wrapped_private_key"],
    )
