"""Many entries posted at once: what `post_entry` does to one, in a handful of statements.

The balances are locked, so what is reckoned here from them is so. Whether a key is new is decided
by the unique index alone, as ever; should it know better than what was read, all is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from passmill.domain.ids import new_uuid
from passmill.domain.ledger import (
    AccountId,
    Balance,
    EntryId,
    EntryRefusal,
    LedgerEntry,
    NewEntry,
    Posted,
)
from passmill.store.database import Transaction, columns
from passmill.store.holds import lock_balance
from passmill.store.ledger import ENTRY_COLUMNS, balance_of, entry_of, made_of, open_balances


class KeysTaken(Exception):
    """Somebody has just posted to other accounts under keys of these. To be tried again, in another
    transaction."""


async def post_entries(
    tx: Transaction, drafts: Sequence[NewEntry], *, now: datetime
) -> list[Posted]:
    """What came of each, in this order, in which those of one account and unit are posted too; as
    `post_entry` says of one. None takes another back, captures a hold or frees any. KeysTaken."""
    keys = sorted({(each.account_id, each.unit) for each in drafts})
    await open_balances(tx, keys)
    balances = await _lock_balances(tx, keys, now=now)
    known = await _find_entries(tx, [each.request_id for each in drafts])
    posted: list[Posted] = []
    made: list[LedgerEntry] = []
    for draft in drafts:
        outcome = _reckon(draft, balances[draft.account_id, draft.unit], known, now=now)
        if outcome.entry is not None and not outcome.is_repeated:
            made.append(outcome.entry)
            known[draft.request_id] = outcome.entry
            balances[draft.account_id, draft.unit] = outcome.balance
        posted.append(outcome)
    if made:
        await _insert_entries(tx, made)
        moved = {(each.account_id, each.unit) for each in made}
        await _write_balances(tx, [balances[key] for key in sorted(moved)])
    return posted


def _reckon(
    draft: NewEntry, before: Balance, known: dict[UUID, LedgerEntry], *, now: datetime
) -> Posted:
    kept = known.get(draft.request_id)
    if kept is not None:
        if kept.is_of(draft):
            return Posted(balance=before, entry=kept, is_repeated=True)
        return Posted(balance=before, refusal=EntryRefusal.REQUEST_ID_REUSED)
    if refusal := before.refusal_of(draft):
        return Posted(balance=before, refusal=refusal)
    after = replace(
        before,
        version=before.version + 1,
        balance=before.balance + draft.amount,
        earned=before.earned + draft.earned,
    )
    entry = made_of(
        draft, EntryId(new_uuid()), sequence=after.version, balance_after=after.balance, now=now
    )
    return Posted(balance=after, entry=entry)


async def _lock_balances(
    tx: Transaction, keys: Sequence[tuple[AccountId, str]], *, now: datetime
) -> dict[tuple[AccountId, str], Balance]:
    rows = await tx.fetch(
        # One by one in this order, whatever the planner knew of the table when it made the plan.
        """
        SELECT u.account_id, u.unit, b.version, b.balance, b.held, b.earned
        FROM unnest($2::uuid[], $3::text[]) AS u(account_id, unit), LATERAL (
            SELECT version, balance, held, earned FROM balances
            WHERE tenant_id = $1 AND account_id = u.account_id AND unit = u.unit
            FOR UPDATE
        ) AS b
        """,
        tx.tenant_id,
        *columns(keys, 2),
    )
    balances = {
        (row["account_id"], row["unit"]): balance_of(row["account_id"], row["unit"], row)
        for row in rows
    }
    for (account_id, unit), balance in balances.items():
        if balance.held:  # part of it perhaps for payments whose time is over
            balances[account_id, unit] = await lock_balance(tx, account_id, unit, now=now)
    return balances


async def _find_entries(tx: Transaction, request_ids: Sequence[UUID]) -> dict[UUID, LedgerEntry]:
    # Under the balances' locks, so whoever posted to them before has committed.
    rows = await tx.fetch(
        f"SELECT {ENTRY_COLUMNS} FROM ledger_entries"  # noqa: S608 - names of ours
        " WHERE tenant_id = $1 AND request_id = ANY($2)",
        tx.tenant_id,
        request_ids,
    )
    return {row["request_id"]: entry_of(row) for row in rows}


async def _insert_entries(tx: Transaction, made: Sequence[LedgerEntry]) -> None:
    rows = [
        (
            each.account_id,
            each.unit,
            each.sequence,
            each.kind,
            each.amount,
            each.balance_after,
            each.entry_id,
            each.request_id,
            each.reference,
            each.venue,
            each.expire_time,
            each.occur_time,
        )
        for each in made
    ]
    inserted = await tx.execute(
        """
        INSERT INTO ledger_entries (
            tenant_id, account_id, unit, sequence, kind, amount, balance_after, entry_id,
            request_id, reference, venue, expire_time, occur_time, create_time)
        SELECT $1, u.*, $2
        FROM unnest($3::uuid[], $4::text[], $5::int[], $6::smallint[], $7::bigint[], $8::bigint[],
            $9::uuid[], $10::uuid[], $11::text[], $12::text[], $13::timestamptz[],
            $14::timestamptz[]) AS u
        ON CONFLICT (tenant_id, request_id) DO NOTHING
        """,
        tx.tenant_id,
        made[0].create_time,
        *columns(rows, 12),
    )
    if inserted < len(made):
        raise KeysTaken


async def _write_balances(tx: Transaction, balances: Sequence[Balance]) -> None:
    rows = [
        (each.account_id, each.unit, each.version, each.balance, each.earned) for each in balances
    ]
    await tx.execute(
        # An INSERT that always meets its row: key by key, as above.
        """
        INSERT INTO balances (tenant_id, account_id, unit, version, balance, earned, held)
        SELECT $1, u.*, 0
        FROM unnest($2::uuid[], $3::text[], $4::int[], $5::bigint[], $6::bigint[]) AS u
        ON CONFLICT (tenant_id, account_id, unit) DO UPDATE SET version = EXCLUDED.version,
            balance = EXCLUDED.balance, earned = EXCLUDED.earned
        """,
        tx.tenant_id,
        *columns(rows, 5),
    )
