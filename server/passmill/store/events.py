"""Events in the order of their transactions, as the outbox holds them.

An event has its transaction's id, and transactions do not commit in the order of their ids. Told is
what is below `pg_snapshot_xmin`, the oldest transaction that may still commit something: below it
nothing can appear any more, so who goes on from a place skips nothing
(https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from passmill.domain.events import BEGINNING, Event, EventKind, EventPage, EventPlace, place_before
from passmill.errors import AppError, Reason
from passmill.store.database import Transaction

# So many events are looked at by one statement, so that a rare kind makes none longer.
WINDOW_EVENTS: Final = 2_000
# A page ends with the event that fills it: an event of a campaign names thousands of passes.
_PAGE_BYTES: Final = 1 << 18
# "events" in ASCII: one process forgets at a time.
_FORGET_LOCK: Final = 0x6576_656E_7473

_KINDS: Final = {kind.value: kind for kind in EventKind}

_READ: Final = """
WITH looked AS MATERIALIZED (
    SELECT event_id, kind, pass_ids, detail, create_time, transaction_id
    FROM outbox
    WHERE tenant_id = $1 AND (transaction_id, event_id) > ($2::text::xid8, $3::uuid)
        AND transaction_id < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY transaction_id, event_id LIMIT $6
), wanted AS (
    SELECT *, row_number() OVER places AS place,
        sum(pg_column_size(pass_ids)) OVER places - pg_column_size(pass_ids) AS bytes_before
    FROM looked WHERE $4::text[] IS NULL OR kind = ANY($4)
    WINDOW places AS (ORDER BY transaction_id, event_id)
), told AS (
    SELECT * FROM wanted WHERE place <= $5 AND bytes_before < $7 ORDER BY place
)
SELECT b.horizon, b.next_id, b.looked, b.wanted, b.last_transaction_id, b.last_event_id,
    f.transaction_id AS forgotten_transaction_id, f.event_id AS forgotten_event_id,
    t.event_id, t.kind, t.pass_ids::text[] AS pass_ids, t.detail, t.create_time,
    t.transaction_id::text::bigint AS transaction_id
FROM (
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon,
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_id,
        (SELECT count(*) FROM looked) AS looked, (SELECT count(*) FROM wanted) AS wanted,
        (SELECT transaction_id::text::bigint FROM looked
            ORDER BY transaction_id DESC, event_id DESC LIMIT 1) AS last_transaction_id,
        (SELECT event_id FROM looked
            ORDER BY transaction_id DESC, event_id DESC LIMIT 1) AS last_event_id
) AS b
LEFT JOIN forgotten_events f ON f.tenant_id = $1
LEFT JOIN told t ON true
ORDER BY t.place
"""


async def newest_place(tx: Transaction) -> EventPlace:
    """Behind all that can be told now."""
    horizon = await tx.fetch_value("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return place_before(horizon)


async def read_events(
    tx: Transaction,
    *,
    after: EventPlace | None,
    kinds: Sequence[EventKind],
    at_most: int,
    window: int = WINDOW_EVENTS,
) -> EventPage:
    """The tenant's next events behind a place, from the oldest kept when it is None, by one
    statement of bounded length. `kinds`: empty for all. A page may be empty though it is not the
    last.

    AppError CURSOR_EXPIRED when events behind the place are forgotten, or it is of a time that this
    database has not come to.
    """
    start = after or BEGINNING
    looked_at = window if kinds else min(window, at_most)
    rows = await tx.fetch(
        _READ,
        tx.tenant_id,
        str(start.transaction_id),
        start.event_id,
        [kind.value for kind in kinds] or None,
        at_most,
        looked_at,
        _PAGE_BYTES,
    )
    bounds = rows[0]
    if after is not None:
        _require_kept(after, bounds)
    events = [_event(row) for row in rows if row["event_id"] is not None]
    if len(events) < bounds["wanted"]:
        return EventPage(events=events, place=events[-1].place, is_last=False)
    if bounds["looked"] == looked_at:
        last = EventPlace(bounds["last_transaction_id"], bounds["last_event_id"])
        return EventPage(events=events, place=last, is_last=False)
    return EventPage(events=events, place=max(start, place_before(bounds["horizon"])), is_last=True)


async def forget_events_before(tx: Transaction, moment: datetime, *, at_most: int) -> int:
    """Deletes events of any tenant older than `moment`, the oldest first, and marks how far they
    are forgotten; gives how many. Does nothing while another process is at it.

    For an operator's transaction: others reach their own tenant's alone.
    """
    if not await tx.fetch_value("SELECT pg_try_advisory_xact_lock($1)", _FORGET_LOCK):
        return 0
    count = await tx.fetch_value(
        """
        WITH gone AS (
            DELETE FROM outbox WHERE (tenant_id, event_id) IN (
                SELECT tenant_id, event_id FROM outbox
                WHERE create_time < $1 ORDER BY create_time LIMIT $2)
            RETURNING tenant_id, transaction_id::text::bigint AS transaction_id, event_id
        ), marked AS (
            INSERT INTO forgotten_events AS f (tenant_id, transaction_id, event_id)
            SELECT DISTINCT ON (tenant_id) tenant_id, transaction_id, event_id FROM gone
            ORDER BY tenant_id, transaction_id DESC, event_id DESC
            ON CONFLICT (tenant_id) DO UPDATE
            SET transaction_id = excluded.transaction_id, event_id = excluded.event_id
            WHERE (excluded.transaction_id, excluded.event_id) > (f.transaction_id, f.event_id)
        )
        SELECT count(*) FROM gone
        """,
        moment,
        at_most,
    )
    return int(count)


def _require_kept(after: EventPlace, bounds: asyncpg.Record) -> None:
    if after.transaction_id >= bounds["next_id"]:
        raise AppError(
            reason=Reason.CURSOR_EXPIRED,
            message="The cursor is of a time that the service was taken back from. Start again"
            " without one, and read anew what the events would have told.",
        )
    transaction_id = bounds["forgotten_transaction_id"]
    if transaction_id is not None and after < (transaction_id, bounds["forgotten_event_id"]):
        raise AppError(
            reason=Reason.CURSOR_EXPIRED,
            message="Events behind the cursor are forgotten. Start again without one, and read anew"
            " what they would have told.",
        )


def _event(row: asyncpg.Record) -> Event:
    return Event(
        place=EventPlace(row["transaction_id"], row["event_id"]),
        kind=_KINDS.get(row["kind"]),
        pass_ids=row["pass_ids"],
        detail=json.loads(row["detail"]),
        create_time=row["create_time"],
    )
