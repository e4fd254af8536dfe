"""Which account the balances of a pass belong to: its own, or one that it has joined."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from passmill.domain.ids import PassId
from passmill.domain.ledger import AccountId
from passmill.store.database import Transaction

_LOCK_SPACE: Final = 0x6C_6467  # apart from other advisory locks
_BUCKETS: Final = 16  # a batch names hundreds of passes, and the server's table of locks is small


async def find_accounts(tx: Transaction, pass_ids: Sequence[PassId]) -> dict[PassId, AccountId]:
    """The account of each of these passes."""
    rows = await tx.fetch(
        "SELECT pass_id, account_id FROM pass_accounts WHERE tenant_id = $1 AND pass_id = ANY($2)",
        tx.tenant_id,
        pass_ids,
    )
    joined = {row["pass_id"]: row["account_id"] for row in rows}
    return {pass_id: joined.get(pass_id, AccountId(pass_id)) for pass_id in pass_ids}


async def settle_accounts(tx: Transaction, pass_ids: Sequence[PassId]) -> dict[PassId, AccountId]:
    """As `find_accounts`, and so until the transaction ends: to be called before anything is posted
    or held, so that nothing goes to an account that its pass is just leaving."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock_shared($1, bucket) FROM unnest($2::int[]) AS bucket",
        _LOCK_SPACE,
        sorted({_bucket(pass_id) for pass_id in pass_ids}),
    )
    return await find_accounts(tx, pass_ids)


async def settle_account(tx: Transaction, pass_id: PassId) -> AccountId:
    """`settle_accounts` of one pass."""
    return (await settle_accounts(tx, [pass_id]))[pass_id]


async def lock_membership(tx: Transaction, pass_ids: Sequence[PassId]) -> None:
    """Lets nobody post for these passes, or settle their accounts, until the transaction ends."""
    await tx.execute(
        "SELECT pg_advisory_xact_lock($1, bucket) FROM unnest($2::int[]) AS bucket",
        _LOCK_SPACE,
        sorted({_bucket(pass_id) for pass_id in pass_ids}),
    )


async def sharing_passes(tx: Transaction, account_ids: Sequence[AccountId]) -> list[PassId]:
    """The passes of these accounts, each with one of its own or joined, in order."""
    rows = await tx.fetch(
        """
        SELECT p.pass_id FROM passes p
        WHERE p.tenant_id = $1 AND p.pass_id = ANY($2)
        UNION
        SELECT a.pass_id FROM pass_accounts a
        WHERE a.tenant_id = $1 AND a.account_id = ANY($2)
        ORDER BY pass_id
        """,
        tx.tenant_id,
        account_ids,
    )
    return [row["pass_id"] for row in rows]


async def insert_pass_account(
    tx: Transaction, pass_id: PassId, account_id: AccountId, *, now: datetime
) -> bool:
    """Lets a pass share an account, unless it has joined one, has entries, or is joined itself;
    gives whether it does. `lock_membership` came before."""
    return bool(
        await tx.execute(
            """
            INSERT INTO pass_accounts (tenant_id, pass_id, account_id, create_time)
            SELECT $1, $2, $3, $4
            WHERE NOT EXISTS (
                    SELECT FROM balances WHERE tenant_id = $1 AND account_id = $2 AND version > 0)
                AND NOT EXISTS (
                    SELECT FROM pass_accounts WHERE tenant_id = $1 AND account_id = $2)
            ON CONFLICT DO NOTHING
            """,
            tx.tenant_id,
            pass_id,
            account_id,
            now,
        )
    )


def _bucket(pass_id: PassId) -> int:
    return pass_id.int % _BUCKETS
