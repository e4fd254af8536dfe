"""Passes that are to be signed: each has an intent from its commit until its signature is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from passmill.domain.ids import PassId, TenantId
from passmill.store.database import Transaction


async def take_intents(
    tx: Transaction, *, older_than: datetime, now: datetime, at_most: int
) -> list[tuple[TenantId, PassId]]:
    """Takes on passes of any tenant whose signature is outstanding since before `older_than`, the
    oldest first. They count as of `now` from then on, so that nobody else takes them on meanwhile,
    and what cannot be signed queues up again behind the others.

    For an operator's transaction: others see their own tenant's alone.
    """
    rows = await tx.fetch(
        """
        WITH taken AS (
            DELETE FROM signing_intents WHERE (tenant_id, pass_id) IN (
                SELECT tenant_id, pass_id FROM signing_intents
                WHERE create_time < $1 ORDER BY create_time LIMIT $3)
            RETURNING tenant_id, pass_id
        )
        INSERT INTO signing_intents (tenant_id, pass_id, create_time)
        SELECT tenant_id, pass_id, $2 FROM taken
        RETURNING tenant_id, pass_id
        """,
        older_than,
        now,
        at_most,
    )
    return [(TenantId(row["tenant_id"]), PassId(UUID(int=row["pass_id"].int))) for row in rows]


async def drop_intents(tx: Transaction, pass_ids: Sequence[PassId]) -> int:
    """Ends the intents of passes that are signed already."""
    return await tx.execute(
        """
        DELETE FROM signing_intents i USING passes p
        WHERE i.tenant_id = $1 AND i.pass_id = ANY($2)
            AND p.tenant_id = i.tenant_id AND p.pass_id = i.pass_id AND p.signature IS NOT NULL
        """,
        tx.tenant_id,
        pass_ids,
    )
