"""Holds: parts of balances set aside for payments under way. The balance's row is locked first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from passmill.domain.ledger import AccountId, Balance, Hold, HoldId, HoldState
from passmill.errors import not_found
from passmill.store.database import Transaction
from passmill.store.ledger_rows import BALANCE_COLUMNS, balance_of

_HOLD: Final = "hold_id, account_id, unit, amount, state, reference, expire_time, create_time"


async def lock_balance(
    tx: Transaction, account_id: AccountId, unit: str, *, now: datetime
) -> Balance:
    """What an account has, nobody else's until the transaction ends; 0 when nothing was ever posted
    (there is no row to lock then, and nothing to hold). Holds whose time is over are ended."""
    balance = await _lock(tx, account_id, unit)
    if balance.held and await free_expired(tx, account_id, unit, now=now):
        balance = await _lock(tx, account_id, unit)
    return balance


async def _lock(tx: Transaction, account_id: AccountId, unit: str) -> Balance:
    row = await tx.fetch_one(
        f"SELECT {BALANCE_COLUMNS} FROM balances"  # noqa: S608 - names of ours
        " WHERE tenant_id = $1 AND account_id = $2 AND unit = $3 FOR UPDATE",
        tx.tenant_id,
        account_id,
        unit,
    )
    if row is None:
        return Balance(account_id=account_id, unit=unit)
    return balance_of(account_id, unit, row)


async def free_expired(tx: Transaction, account_id: AccountId, unit: str, *, now: datetime) -> int:
    """Ends the holds of a balance whose time is over; gives how much that freed. The balance is
    locked."""
    return int(
        await tx.fetch_value(
            """
            WITH ended AS (
                UPDATE holds SET state = $5, end_time = $4
                WHERE tenant_id = $1 AND account_id = $2 AND unit = $3 AND state = 1
                    AND expire_time <= $4
                RETURNING amount
            ), freed AS (
                SELECT coalesce(sum(amount), 0)::bigint AS amount FROM ended
            ), moved AS (
                UPDATE balances AS b SET held = b.held - f.amount FROM freed AS f
                WHERE b.tenant_id = $1 AND b.account_id = $2 AND b.unit = $3 AND f.amount > 0
            )
            SELECT amount FROM freed
            """,
            tx.tenant_id,
            account_id,
            unit,
            now,
            HoldState.EXPIRED,
        )
    )


async def insert_hold(tx: Transaction, hold: Hold) -> bool:
    """Sets aside what the hold says, if so much is available; gives whether it was."""
    return bool(
        await tx.execute(
            """
            WITH moved AS (
                UPDATE balances SET held = held + $5
                WHERE tenant_id = $1 AND account_id = $3 AND unit = $4 AND balance - held >= $5
                RETURNING tenant_id
            )
            INSERT INTO holds (tenant_id, hold_id, account_id, unit, amount, state, reference,
                expire_time, create_time)
            SELECT tenant_id, $2, $3, $4, $5, $6, $7, $8, $9 FROM moved
            """,
            tx.tenant_id,
            hold.hold_id,
            hold.account_id,
            hold.unit,
            hold.amount,
            hold.state,
            hold.reference,
            hold.expire_time,
            hold.create_time,
        )
    )


async def end_hold(tx: Transaction, hold_id: HoldId, state: HoldState, *, now: datetime) -> bool:
    """Ends a hold that is open and whose time is not over; gives whether it did. What was held is
    still counted as held: `post_entry` or `free_held` frees it. The balance is locked."""
    return bool(
        await tx.execute(
            "UPDATE holds SET state = $3, end_time = $4 WHERE tenant_id = $1 AND hold_id = $2"
            " AND state = 1 AND expire_time > $4",
            tx.tenant_id,
            hold_id,
            state,
            now,
        )
    )


async def free_held(tx: Transaction, hold: Hold) -> None:
    """Counts what a hold that has just ended set aside as free."""
    await tx.execute(
        "UPDATE balances SET held = held - $4"
        " WHERE tenant_id = $1 AND account_id = $2 AND unit = $3",
        tx.tenant_id,
        hold.account_id,
        hold.unit,
        hold.amount,
    )


async def get_hold(tx: Transaction, hold_id: HoldId) -> Hold:
    """A hold. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        f"SELECT {_HOLD} FROM holds WHERE tenant_id = $1 AND hold_id = $2",  # noqa: S608
        tx.tenant_id,
        hold_id,
    )
    if row is None:
        raise not_found("hold")
    return _hold(row)


async def list_open_holds(
    tx: Transaction, account_id: AccountId, *, now: datetime
) -> Sequence[Hold]:
    """An account's holds that are open and whose time is not over, the oldest first."""
    rows = await tx.fetch(
        f"SELECT {_HOLD} FROM holds WHERE tenant_id = $1 AND account_id = $2 AND state = 1"  # noqa: S608
        " AND expire_time > $3 ORDER BY create_time, hold_id",
        tx.tenant_id,
        account_id,
        now,
    )
    return [_hold(row) for row in rows]


def _hold(row: asyncpg.Record) -> Hold:
    return Hold(
        hold_id=row["hold_id"],
        account_id=row["account_id"],
        unit=row["unit"],
        amount=row["amount"],
        state=HoldState(row["state"]),
        reference=row["reference"],
        expire_time=row["expire_time"],
        create_time=row["create_time"],
    )
