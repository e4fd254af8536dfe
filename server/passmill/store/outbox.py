"""Events written in the transaction of the change they tell of; workers turn them into effects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from passmill.domain.ids import PassId, new_uuid
from passmill.store.database import Transaction


async def insert_event(
    tx: Transaction, *, kind: str, pass_ids: Sequence[PassId], detail: str, now: datetime
) -> None:
    """Records an event of `kind` ("pass.updated") about these passes; `detail` is a JSON object."""
    await tx.execute(
        "INSERT INTO outbox (tenant_id, event_id, kind, pass_ids, detail, create_time)"
        " VALUES ($1, $2, $3, $4, $5, $6)",
        tx.tenant_id,
        new_uuid(),
        kind,
        pass_ids,
        detail,
        now,
    )
