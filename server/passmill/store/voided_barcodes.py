"""Signed barcodes whose pass was made unusable: what scanners without a network are told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from passmill.domain.barcodes import BarcodeKeyId, not_after_of
from passmill.store.database import Transaction


async def read_voided_hashes(
    tx: Transaction, *, revoked: Sequence[BarcodeKeyId], now: datetime
) -> bytes:
    """The `barcodes.offline_hash` of each voided pass whose barcode a scanner would take, 8 bytes
    each, in their order. Left out are those that are over and those of `revoked` keys, which it
    refuses by itself."""
    # A seal is key id (2 bytes) and time (4 bytes, 0 for never), both big-endian: they compare as
    # bytes do.
    hashes: bytes | None = await tx.fetch_value(
        """
        SELECT string_agg(hash, ''::bytea ORDER BY hash) FROM (
            SELECT substring(sha256(uuid_send(pass_id)) FOR 8) AS hash FROM passes
            WHERE tenant_id = $1 AND state = 2 AND barcode_seal IS NOT NULL
                AND (substring(barcode_seal FROM 3 FOR 4) >= $2
                    OR substring(barcode_seal FROM 3 FOR 4) = '\\x00000000')
                AND substring(barcode_seal FOR 2) <> ALL ($3::bytea[])
        ) AS voided
        """,
        tx.tenant_id,
        not_after_of(now).to_bytes(4, "big"),
        [key_id.to_bytes(2, "big") for key_id in revoked],
    )
    return hashes or b""
