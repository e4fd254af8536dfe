"""Events written in the transaction of the change they tell of; workers turn them into effects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from passmill.domain.ids import PassId, new_uuid
from passmill.store.database import Transaction


async def insert_event(
    tx: Transaction, *, kind: str, pass_ids: Sequence[PassId], detail: str, now: datetime
) -> UUID:
    """Records an event of `kind` ("pass.updated") about these passes and gives its id; `detail` is
    a JSON object."""
    event_id = new_uuid()
    await tx.execute(
        "INSERT INTO outbox (tenant_id, event_id, kind, pass_ids, detail, create_time)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        tx.tenant_id,
        event_id,
        kind,
        pass_ids,
        detail,
        now,
    )
    return event_id
