"""Signed barcodes whose pass is not to be taken: what scanners without a network are told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from passmill.domain.barcodes import BarcodeKeyId
from passmill.domain.passes import PassState
from passmill.store.database import Transaction


async def read_voided_hashes(
    tx: Transaction, *, trusted: Sequence[BarcodeKeyId], now: datetime
) -> bytes:
    """The `barcodes.offline_hash` of each pass that is void or over and of which a barcode is about
    that a scanner would take by itself: one of the `trusted` keys that is not over. That of its
    present barcode, or of one that this replaced; 8 bytes each, in their order."""
    hashes: bytes | None = await tx.fetch_value(
        """
        SELECT string_agg(hash, ''::bytea ORDER BY hash) FROM (
            SELECT substring(sha256(uuid_send(pass_id)) FOR 8) AS hash FROM passes
            WHERE tenant_id = $1 AND state = $4 AND barcode_seal IS NOT NULL
                AND seal_not_after(barcode_seal) >= $2 AND seal_key_id(barcode_seal) = ANY($3)
            UNION
            SELECT substring(sha256(uuid_send(r.pass_id)) FOR 8)
            FROM replaced_barcodes r JOIN passes p USING (tenant_id, pass_id)
            WHERE r.tenant_id = $1 AND r.key_id = ANY($3) AND r.not_after >= $2
                AND (p.state = $4 OR p.expire_time < $2 OR seal_not_after(p.barcode_seal) < $2)
        ) AS voided
        """,
        tx.tenant_id,
        now.replace(microsecond=0),  # barcodes end with whole seconds
        trusted,
        PassState.VOIDED,
    )
    return hashes or b""
