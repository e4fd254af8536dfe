"""Rows of entries and balances: how they are written, many at once, and what is read of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from passmill.domain.ledger import (
    AccountId,
    Balance,
    EntryId,
    EntryKind,
    LedgerEntry,
    NewEntry,
)
from passmill.store.database import Transaction, columns

ENTRY_COLUMNS: Final = (
    "entry_id, account_id, unit, sequence, kind, amount, balance_after, request_id,"
    " reversed_entry_id, hold_id, reference, venue, expire_time, occur_time, create_time,"
    " scanner_id"
)
BALANCE_COLUMNS: Final = "version, balance, held, earned, next_expire_time"


class KeysTaken(Exception):
    """Somebody has just posted to other accounts under keys of these. To be tried again, in another
    transaction."""


async def open_balances(tx: Transaction, keys: Sequence[tuple[AccountId, str]]) -> None:
    """Makes these balances (account, unit), of 0, as far as they do not exist."""
    ordered = sorted(set(keys))
    await tx.execute(
        "INSERT INTO balances (tenant_id, account_id, unit, version, balance, held, earned)"
        " SELECT $1, u.*, 0, 0, 0, 0 FROM unnest($2::uuid[], $3::text[]) AS u"
        " ON CONFLICT DO NOTHING",
        tx.tenant_id,
        [account_id for account_id, _ in ordered],
        [unit for _, unit in ordered],
    )


async def insert_entries(tx: Transaction, made: Sequence[LedgerEntry]) -> None:
    """Adds entries, of one time of posting, whose balances are locked. KeysTaken."""
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
            each.scanner_id,
        )
        for each in made
    ]
    inserted = await tx.execute(
        """
        INSERT INTO ledger_entries (
            tenant_id, account_id, unit, sequence, kind, amount, balance_after, entry_id,
            request_id, reference, venue, expire_time, occur_time, scanner_id, create_time)
        SELECT $1, u.*, $2
        FROM unnest($3::uuid[], $4::text[], $5::int[], $6::smallint[], $7::bigint[], $8::bigint[],
            $9::uuid[], $10::uuid[], $11::text[], $12::text[], $13::timestamptz[],
            $14::timestamptz[], $15::uuid[]) AS u
        ON CONFLICT (tenant_id, request_id) DO NOTHING
        """,
        tx.tenant_id,
        made[0].create_time,
        *columns(rows, 13),
    )
    if inserted < len(made):
        raise KeysTaken


async def write_balances(tx: Transaction, balances: Sequence[Balance]) -> None:
    """Writes balances, which are locked, as they are after their entries; what is held stays."""
    rows = [
        (
            each.account_id,
            each.unit,
            each.version,
            each.balance,
            each.earned,
            each.next_expire_time,
        )
        for each in balances
    ]
    await tx.execute(
        # An INSERT that always meets its row: key by key, whatever the planner knew.
        """
        INSERT INTO balances (tenant_id, account_id, unit, version, balance, earned,
            next_expire_time, held)
        SELECT $1, u.*, 0
        FROM unnest($2::uuid[], $3::text[], $4::int[], $5::bigint[], $6::bigint[],
            $7::timestamptz[]) AS u
        ON CONFLICT (tenant_id, account_id, unit) DO UPDATE SET version = EXCLUDED.version,
            balance = EXCLUDED.balance, earned = EXCLUDED.earned,
            next_expire_time = EXCLUDED.next_expire_time
        """,
        tx.tenant_id,
        *columns(rows, 6),
    )


def balance_of(account_id: AccountId, unit: str, row: asyncpg.Record) -> Balance:
    """A row of balances."""
    return Balance(
        account_id=account_id,
        unit=unit,
        version=row["version"],
        balance=row["balance"],
        held=row["held"],
        earned=row["earned"],
        next_expire_time=row["next_expire_time"],
    )


def made_of(
    draft: NewEntry, entry_id: EntryId, *, sequence: int, balance_after: int, now: datetime
) -> LedgerEntry:
    """The entry that a draft becomes."""
    return LedgerEntry(
        entry_id=entry_id,
        account_id=draft.account_id,
        unit=draft.unit,
        sequence=sequence,
        kind=draft.kind,
        amount=draft.amount,
        balance_after=balance_after,
        request_id=draft.request_id,
        reversed_entry_id=draft.reversed_entry_id,
        hold_id=draft.hold_id,
        reference=draft.reference,
        venue=draft.venue,
        expire_time=draft.expire_time,
        occur_time=draft.occur_time,
        create_time=now,
        scanner_id=draft.scanner_id,
    )


def entry_of(row: asyncpg.Record) -> LedgerEntry:
    """A row of entries."""
    return LedgerEntry(
        entry_id=row["entry_id"],
        account_id=row["account_id"],
        unit=row["unit"],
        sequence=row["sequence"],
        kind=EntryKind(row["kind"]),
        amount=row["amount"],
        balance_after=row["balance_after"],
        request_id=row["request_id"],
        reversed_entry_id=row["reversed_entry_id"],
        hold_id=row["hold_id"],
        reference=row["reference"],
        venue=row["venue"],
        expire_time=row["expire_time"],
        occur_time=row["occur_time"],
        create_time=row["create_time"],
        scanner_id=row["scanner_id"],
    )
