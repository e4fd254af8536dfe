"""Answers already given, kept by request id so that a repeated request gets the same one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from passmill.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What was answered to which request. `fingerprint` tells the request's body, `answer` is the
    serialized message."""

    request_id: UUID
    method: str
    fingerprint: bytes
    answer: bytes


async def claim_request(
    tx: Transaction, *, request_id: UUID, method: str, fingerprint: bytes, now: datetime
) -> StoredAnswer | None:
    """Takes a request id for this transaction: None when it is new, else what was answered before.

    Waits for another transaction that holds the same id, and sees its answer when it commits.
    """
    claimed = await tx.execute(
        """
        INSERT INTO request_answers
            (tenant_id, request_id, method, fingerprint, answer, create_time)
        VALUES ($1, $2, $3, $4, '', $5) ON CONFLICT DO NOTHING
        """,
        tx.tenant_id,
        request_id,
        method,
        fingerprint,
        now,
    )
    if claimed:
        return None
    found = await find_answers(tx, [request_id])
    return found[request_id]


async def find_answers(tx: Transaction, request_ids: Sequence[UUID]) -> dict[UUID, StoredAnswer]:
    """The answers kept under these ids, by id."""
    rows = await tx.fetch(
        "SELECT request_id, method, fingerprint, answer FROM request_answers"
        " WHERE tenant_id = $1 AND request_id = ANY($2)",
        tx.tenant_id,
        request_ids,
    )
    return {
        row["request_id"]: StoredAnswer(
            request_id=row["request_id"],
            method=row["method"],
            fingerprint=row["fingerprint"],
            answer=row["answer"],
        )
        for row in rows
    }


async def keep_answer(tx: Transaction, *, request_id: UUID, answer: bytes) -> None:
    """Writes the answer to a request claimed in this transaction."""
    await tx.execute(
        "UPDATE request_answers SET answer = $3 WHERE tenant_id = $1 AND request_id = $2",
        tx.tenant_id,
        request_id,
        answer,
    )


async def delete_answers_before(tx: Transaction, moment: datetime, *, at_most: int) -> int:
    """Forgets answers of any tenant older than `moment`; gives how many.

    For an operator's transaction: others reach their own tenant's alone.
    """
    return await tx.execute(
        """
        DELETE FROM request_answers WHERE (tenant_id, request_id) IN (
            SELECT tenant_id, request_id FROM request_answers WHERE create_time < $1 LIMIT $2)
        """,
        moment,
        at_most,
    )
