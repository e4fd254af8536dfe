"""What has ended of balances, at rest: read by the rule of `domain.expiries`, and taken.

The balance is locked before its entries are read, so two who find the same post it once; and the
key that an expiry has says the same, whatever they do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID

from passmill.domain.events import EventKind
from passmill.domain.expiries import Lots, Movement
from passmill.domain.ids import TenantId, new_uuid
from passmill.domain.ledger import (
    AccountId,
    Balance,
    EntryId,
    EntryKind,
    LedgerEntry,
    NewEntry,
)
from passmill.store.accounts import sharing_passes
from passmill.store.balance_jobs import enqueue_show_balances
from passmill.store.database import Transaction, columns
from passmill.store.holds import lock_balance
from passmill.store.ledger_rows import (
    BALANCE_COLUMNS,
    balance_of,
    insert_entries,
    made_of,
    write_balances,
)
from passmill.store.outbox import insert_event

Key: TypeAlias = tuple[AccountId, str]

_BEFORE_ALL: Final = (datetime(1, 1, 1, tzinfo=UTC), 0, UUID(int=0), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DueBalance:
    """A balance of which some may be past its end."""

    tenant_id: TenantId
    key: Key
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Balances, locked, without what has ended; the entries that took it."""

    balances: dict[Key, Balance]
    entries: Sequence[LedgerEntry] = field(default_factory=list)


async def lock_settled(tx: Transaction, keys: Sequence[Key], *, now: datetime) -> Settled:
    """Locks these balances, as far as there are any, ends holds whose time is over, and takes what
    has ended: an entry for each end. What is taken is told, and its passes will show it. KeysTaken
    when somebody has posted under a key that only the service makes."""
    balances = await _lock(tx, keys, now=now)
    due = [balance for balance in balances.values() if balance.is_due(now)]
    if not due:
        return Settled(balances=balances)
    lots = await read_lots(tx, [(each.account_id, each.unit) for each in due])
    made: list[LedgerEntry] = []
    moved: list[Balance] = []
    for before in due:
        key = (before.account_id, before.unit)
        entries, after = _expire(before, lots[key], now=now)
        made += entries
        if after != before:
            moved.append(after)
            balances[key] = after
    if made:
        await insert_entries(tx, made)
    if moved:
        await write_balances(tx, moved)
    if made:
        account_ids = sorted({each.account_id for each in made})
        await insert_event(
            tx,
            kind=EventKind.BALANCE_POSTED,
            pass_ids=await sharing_passes(tx, account_ids),
            detail=json.dumps({}),
            now=now,
        )
        await enqueue_show_balances(tx, account_ids)
    return Settled(balances=balances, entries=made)


async def lock_settled_balance(
    tx: Transaction, account_id: AccountId, unit: str, *, now: datetime
) -> Balance:
    """`lock_settled` of one balance; 0 when nothing was ever posted."""
    settled = await lock_settled(tx, [(account_id, unit)], now=now)
    return settled.balances.get((account_id, unit), Balance(account_id=account_id, unit=unit))


async def read_lots(tx: Transaction, keys: Sequence[Key]) -> dict[Key, Lots]:
    """What is left of these balances, by end; from all their entries."""
    movements: list[list[Movement]] = [[] for _ in keys]
    rows = await tx.fetch(
        """
        SELECT u.place, e.*
        FROM unnest($2::uuid[], $3::text[]) WITH ORDINALITY AS u(account_id, unit, place), LATERAL (
            SELECT entry_id, kind, amount, create_time, expire_time, reversed_entry_id,
                hold_id IS NOT NULL AS is_capture
            FROM ledger_entries
            WHERE tenant_id = $1 AND account_id = u.account_id AND unit = u.unit
            ORDER BY sequence
        ) AS e
        """,
        tx.tenant_id,
        *columns(keys, 2),
    )
    for row in rows:
        movements[row["place"] - 1].append(
            Movement(
                entry_id=row["entry_id"],
                kind=EntryKind(row["kind"]),
                amount=row["amount"],
                post_time=row["create_time"],
                expire_time=row["expire_time"],
                reversed_entry_id=row["reversed_entry_id"],
                is_capture=row["is_capture"],
            )
        )
    return {key: Lots.of(each) for key, each in zip(keys, movements, strict=True)}


async def with_expired(
    tx: Transaction, balances: Mapping[Key, Balance], *, now: datetime
) -> dict[Key, Balance]:
    """These balances, and how much of each has ended without being taken yet."""
    due = [key for key, balance in balances.items() if balance.is_due(now)]
    if not due:
        return dict(balances)
    lots = await read_lots(tx, due)
    return dict(balances) | {
        key: replace(
            balances[key],
            expired=sum(each.amount for each in lots[key].due(held=balances[key].held, now=now)),
        )
        for key in due
    }


async def find_due(
    tx: Transaction, *, now: datetime, after: DueBalance | None, at_most: int
) -> list[DueBalance]:
    """Balances of all tenants of which some may be past its end, the longest first; from behind
    `after` on. The caller is an operator."""
    start = _BEFORE_ALL if after is None else (after.time, after.tenant_id, *after.key)
    rows = await tx.fetch(
        """
        SELECT tenant_id, account_id, unit, next_expire_time FROM balances
        WHERE next_expire_time <= $1
            AND (next_expire_time, tenant_id, account_id, unit) > ($2, $3, $4, $5)
        ORDER BY next_expire_time, tenant_id, account_id, unit LIMIT $6
        """,
        now,
        *start,
        at_most,
    )
    return [
        DueBalance(
            tenant_id=TenantId(row["tenant_id"]),
            key=(row["account_id"], row["unit"]),
            time=row["next_expire_time"],
        )
        for row in rows
    ]


async def oldest_due(tx: Transaction, *, now: datetime) -> datetime | None:
    """Since when the balance that is due for the longest is, of those of which nothing is held;
    None when none is. The caller is an operator."""
    found: datetime | None = await tx.fetch_value(
        "SELECT next_expire_time FROM balances WHERE next_expire_time <= $1 AND held = 0"
        " ORDER BY next_expire_time LIMIT 1",
        now,
    )
    return found


async def _lock(tx: Transaction, keys: Sequence[Key], *, now: datetime) -> dict[Key, Balance]:
    rows = await tx.fetch(
        # One by one in this order, whatever the planner knew of the table when it made the plan.
        f"""
        SELECT u.account_id, u.unit, b.*
        FROM unnest($2::uuid[], $3::text[]) AS u(account_id, unit), LATERAL (
            SELECT {BALANCE_COLUMNS} FROM balances
            WHERE tenant_id = $1 AND account_id = u.account_id AND unit = u.unit
            FOR UPDATE
        ) AS b
        """,  # noqa: S608 - names of ours
        tx.tenant_id,
        *columns(sorted(keys), 2),
    )
    balances = {
        (row["account_id"], row["unit"]): balance_of(row["account_id"], row["unit"], row)
        for row in rows
    }
    for (account_id, unit), balance in balances.items():
        if balance.held:  # part of it perhaps for payments whose time is over
            balances[account_id, unit] = await lock_balance(tx, account_id, unit, now=now)
    return balances


def _expire(before: Balance, lots: Lots, *, now: datetime) -> tuple[list[LedgerEntry], Balance]:
    """The entries that take what has ended, and the balance after them."""
    expiries = lots.due(held=before.held, now=now)
    after = replace(before, next_expire_time=lots.first_end(expiries))
    made = []
    for expiry in expiries:
        after = replace(after, version=after.version + 1, balance=after.balance - expiry.amount)
        draft = NewEntry(
            account_id=before.account_id,
            unit=before.unit,
            kind=EntryKind.EXPIRE,
            amount=-expiry.amount,
            request_id=expiry.request_id(before.account_id, before.unit),
            occur_time=expiry.end,
            expire_time=expiry.end,
        )
        made.append(
            made_of(
                draft,
                EntryId(new_uuid()),
                sequence=after.version,
                balance_after=after.balance,
                now=now,
            )
        )
    return made, after
