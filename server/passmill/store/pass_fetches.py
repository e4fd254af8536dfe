"""What of a pass was fetched last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from passmill.domain.ids import PassId, RevisionId, new_uuid
from passmill.store.database import Transaction, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """A content of a pass that some device has: `content_time` is its signing time."""

    pass_id: PassId
    revision_id: RevisionId
    content_time: datetime
    first_time: datetime
    last_time: datetime


async def keep_fetches(tx: Transaction, fetches: Sequence[Fetch]) -> int:
    """Keeps fetches, one a pass, and tells of those that are a pass's first; gives how many these
    are. For a transaction.

    Times of the same content are kept to the minute: phones ask often, and mostly for nothing.
    """
    # In one order, so that two processes never wait for each other in a circle.
    fetches = sorted(fetches, key=lambda each: each.pass_id.bytes)
    first = {
        row["pass_id"]
        for row in await tx.fetch(
            """
            WITH first AS (
                INSERT INTO pass_fetches
                    (tenant_id, pass_id, revision_id, content_time, first_time, last_time)
                SELECT $1, u.* FROM unnest($2::uuid[], $3::bigint[], $4::timestamptz[],
                    $5::timestamptz[], $6::timestamptz[]) AS u
                ON CONFLICT DO NOTHING
                RETURNING pass_id
            ), told AS (
                INSERT INTO outbox (tenant_id, event_id, kind, pass_ids, detail, create_time)
                SELECT $1, $7, 'pass.first_fetched', array_agg(pass_id), '{}', $8
                FROM first HAVING count(*) > 0
            )
            SELECT pass_id FROM first
            """,
            tx.tenant_id,
            *_columns(fetches),
            new_uuid(),
            max(each.last_time for each in fetches),
        )
    }
    again = [each for each in fetches if each.pass_id not in first]
    if again:
        await tx.execute(
            """
            INSERT INTO pass_fetches AS f
                (tenant_id, pass_id, revision_id, content_time, first_time, last_time)
            SELECT $1, u.* FROM unnest($2::uuid[], $3::bigint[], $4::timestamptz[],
                $5::timestamptz[], $6::timestamptz[]) AS u
            ON CONFLICT (tenant_id, pass_id) DO UPDATE
                SET revision_id = EXCLUDED.revision_id, content_time = EXCLUDED.content_time,
                    last_time = greatest(f.last_time, EXCLUDED.last_time)
                WHERE f.content_time < EXCLUDED.content_time
                    OR f.content_time = EXCLUDED.content_time
                        AND f.last_time < EXCLUDED.last_time - interval '1 minute'
            """,
            tx.tenant_id,
            *_columns(again),
        )
    return len(first)


def _columns(fetches: Sequence[Fetch]) -> list[list[object]]:
    return columns(
        [
            (
                each.pass_id,
                each.revision_id,
                each.content_time,
                each.first_time,
                each.last_time,
            )
            for each in fetches
        ],
        5,
    )
