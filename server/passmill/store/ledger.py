"""The ledger at rest: entries, which are only added, and balances, which are their sums.

Locks are taken in this order: the balance's row (one statement posts under it), its holds, passes.
Whoever posts to several accounts in one transaction goes by account and unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from passmill.domain.ids import new_uuid
from passmill.domain.ledger import (
    LARGEST_BALANCE,
    AccountId,
    Balance,
    EntryId,
    EntryKind,
    EntryRefusal,
    LedgerEntry,
    NewEntry,
    Posted,
    earliest,
)
from passmill.errors import not_found
from passmill.store.database import Transaction
from passmill.store.expiries import lock_settled_balance, with_expired
from passmill.store.ledger_rows import (
    BALANCE_COLUMNS,
    ENTRY_COLUMNS,
    balance_of,
    entry_of,
    made_of,
    open_balances,
)

# Locks the balance, and with it decides: the WHERE says whether there is enough, the unique indexes
# whether it was posted, or taken back, before. Nothing is decided by what was read earlier. Where
# some may have ended it is settled before anything else is taken, but what was held ($15).
_POST: Final = f"""
WITH account AS MATERIALIZED (
    SELECT {BALANCE_COLUMNS} FROM balances
    WHERE tenant_id = $1 AND account_id = $2 AND unit = $3
    FOR UPDATE
), entry AS (
    INSERT INTO ledger_entries (
        tenant_id, account_id, unit, sequence, kind, amount, balance_after, entry_id, request_id,
        reversed_entry_id, hold_id, reference, venue, expire_time, occur_time, create_time,
        scanner_id)
    SELECT $1, $2, $3, version + 1, $4, $5, balance + $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
        $20
    FROM account
    WHERE balance + $5 >= held - $15 AND balance + $5 <= {LARGEST_BALANCE}
        AND ($16::int IS NULL OR version = $16)
        AND ($5 > 0 OR $15 > 0 OR $19::boolean OR next_expire_time IS NULL
            OR next_expire_time > $14)
    ON CONFLICT DO NOTHING
    RETURNING sequence, balance_after
), moved AS (
    UPDATE balances AS b
    SET version = e.sequence, balance = e.balance_after, held = b.held - $15,
        earned = b.earned + $17, next_expire_time = least(b.next_expire_time, $18)
    FROM entry AS e
    WHERE b.tenant_id = $1 AND b.account_id = $2 AND b.unit = $3
)
SELECT a.*, e.sequence, e.balance_after
FROM account AS a LEFT JOIN entry AS e ON true
"""  # noqa: S608 - names and a number of ours


async def post_entry(tx: Transaction, draft: NewEntry, *, now: datetime) -> Posted:
    """Posts an entry, or says why not: INSUFFICIENT_BALANCE, VERSION_MISMATCH, BALANCE_TOO_LARGE,
    ALREADY_REVERSED, REQUEST_ID_REUSED. What was posted under this request id before is given
    again. What has ended is not spent: it is taken first, by entries of its own, and so is what
    the entry itself leaves past its end. The balance is locked until the transaction ends; passes
    are to be locked after it."""
    posted = await _try(tx, draft, now=now)
    if posted is None:
        # Part of it may have ended, or be held for payments whose time is over.
        await lock_settled_balance(tx, draft.account_id, draft.unit, now=now)
        posted = await _try(tx, draft, now=now, is_settled=True)
        assert posted is not None  # noqa: S101 - None asks for what was just done
    elif posted.entry is not None and posted.balance.is_due(now):
        settled = await lock_settled_balance(tx, draft.account_id, draft.unit, now=now)
        posted = replace(posted, balance=settled)
    return posted


async def _try(
    tx: Transaction, draft: NewEntry, *, now: datetime, is_settled: bool = False
) -> Posted | None:
    """None when the balance is to be settled first, and is not."""
    entry_id = new_uuid()
    row = await _post(tx, draft, entry_id, now, is_settled=is_settled)
    if row is None:
        await open_balances(tx, [(draft.account_id, draft.unit)])
        row = await _post(tx, draft, entry_id, now, is_settled=is_settled)
        assert row is not None  # noqa: S101 - it is there now, and rows are never deleted
    before = balance_of(draft.account_id, draft.unit, row)
    if row["sequence"] is not None:
        return Posted(
            balance=Balance(
                account_id=draft.account_id,
                unit=draft.unit,
                version=row["sequence"],
                balance=row["balance_after"],
                held=before.held - draft.freed,
                earned=before.earned + draft.earned,
                next_expire_time=earliest(before.next_expire_time, draft.first_end(now)),
            ),
            entry=made_of(
                draft,
                EntryId(entry_id),
                sequence=row["sequence"],
                balance_after=row["balance_after"],
                now=now,
            ),
        )
    # Under the balance's lock, so whoever posted to it before has committed.
    if kept := await find_entry_of_request(tx, draft.request_id):
        if kept.is_of(draft):
            return Posted(balance=before, entry=kept, is_repeated=True)
        return Posted(balance=before, refusal=EntryRefusal.REQUEST_ID_REUSED)
    if draft.reversed_entry_id is not None and (
        reversal := await find_reversal(tx, draft.reversed_entry_id)
    ):
        return Posted(balance=before, entry=reversal, refusal=EntryRefusal.ALREADY_REVERSED)
    refusal = before.refusal_of(draft)
    is_short = refusal is EntryRefusal.INSUFFICIENT_BALANCE and before.held > 0
    if not is_settled and (is_short or before.is_due(now)):
        return None
    if refusal is None:
        raise RuntimeError("An entry has the place that the balance says is free.")
    return Posted(balance=before, refusal=refusal)


async def _post(
    tx: Transaction, draft: NewEntry, entry_id: UUID, now: datetime, *, is_settled: bool
) -> asyncpg.Record | None:
    return await tx.fetch_one(
        _POST,
        tx.tenant_id,
        draft.account_id,
        draft.unit,
        draft.kind,
        draft.amount,
        entry_id,
        draft.request_id,
        draft.reversed_entry_id,
        draft.hold_id,
        draft.reference,
        draft.venue,
        draft.expire_time,
        draft.occur_time,
        now,
        draft.freed,
        draft.expected_version,
        draft.earned,
        draft.first_end(now),
        is_settled,
        draft.scanner_id,
    )


async def get_balances(
    tx: Transaction, account_ids: Sequence[AccountId], *, now: datetime
) -> dict[tuple[AccountId, str], Balance]:
    """What these accounts have, by account and unit; of units that nothing was posted to there is
    none. What is held for payments whose time is over is free; what has ended is told apart."""
    rows = await tx.fetch(
        """
        SELECT b.account_id, b.unit, b.version, b.balance, b.earned, b.next_expire_time,
            (b.held - coalesce((
                SELECT sum(h.amount) FROM holds h
                WHERE h.tenant_id = b.tenant_id AND h.account_id = b.account_id AND h.unit = b.unit
                    AND h.state = 1 AND h.expire_time <= $3), 0))::bigint AS held
        FROM balances b WHERE b.tenant_id = $1 AND b.account_id = ANY($2)
        """,
        tx.tenant_id,
        account_ids,
        now,
    )
    found = {
        (row["account_id"], row["unit"]): balance_of(row["account_id"], row["unit"], row)
        for row in rows
    }
    return await with_expired(tx, found, now=now)


async def earned_since(tx: Transaction, account_id: AccountId, unit: str, since: datetime) -> int:
    """What was earned at this time or later, and not taken back."""
    return int(
        await tx.fetch_value(
            """
            SELECT coalesce(sum(e.amount), 0)::bigint FROM ledger_entries e
            WHERE e.tenant_id = $1 AND e.account_id = $2 AND e.unit = $3 AND e.kind = $4
                AND e.occur_time >= $5 AND NOT EXISTS (
                    SELECT FROM ledger_entries r
                    WHERE r.tenant_id = e.tenant_id AND r.reversed_entry_id = e.entry_id)
            """,
            tx.tenant_id,
            account_id,
            unit,
            EntryKind.EARN,
            since,
        )
    )


async def get_entry(tx: Transaction, entry_id: EntryId) -> LedgerEntry:
    """An entry by its id. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        f"SELECT {ENTRY_COLUMNS} FROM ledger_entries WHERE tenant_id = $1 AND entry_id = $2",  # noqa: S608
        tx.tenant_id,
        entry_id,
    )
    if row is None:
        raise not_found("entry")
    return entry_of(row)


async def find_entry_of_request(tx: Transaction, request_id: UUID) -> LedgerEntry | None:
    """What was posted under this key."""
    row = await tx.fetch_one(
        f"SELECT {ENTRY_COLUMNS} FROM ledger_entries WHERE tenant_id = $1 AND request_id = $2",  # noqa: S608
        tx.tenant_id,
        request_id,
    )
    return None if row is None else entry_of(row)


async def find_reversal(tx: Transaction, entry_id: EntryId) -> LedgerEntry | None:
    """The entry that took this one back."""
    row = await tx.fetch_one(
        f"SELECT {ENTRY_COLUMNS} FROM ledger_entries"  # noqa: S608
        " WHERE tenant_id = $1 AND reversed_entry_id = $2",
        tx.tenant_id,
        entry_id,
    )
    return None if row is None else entry_of(row)


async def list_entries(
    tx: Transaction, account_id: AccountId, unit: str, *, before: int, at_most: int
) -> list[LedgerEntry]:
    """Entries of a smaller sequence than `before`, the newest first."""
    rows = await tx.fetch(
        f"SELECT {ENTRY_COLUMNS} FROM ledger_entries"  # noqa: S608
        " WHERE tenant_id = $1 AND account_id = $2 AND unit = $3 AND sequence < $4"
        " ORDER BY sequence DESC LIMIT $5",
        tx.tenant_id,
        account_id,
        unit,
        before,
        at_most,
    )
    return [entry_of(row) for row in rows]
