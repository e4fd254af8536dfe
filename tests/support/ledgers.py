"""Accounts and entries, as tests post them straight to the store."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.ids import TenantId
from passmill.domain.ledger import AccountId, EntryKind, NewEntry, Posted
from passmill.store.database import Database, open_database
from passmill.store.ledger import post_entry

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def tenant(number: int = 11) -> Caller:
    """Somebody inside a tenant."""
    deadline = asyncio.get_running_loop().time() + 30
    return internal_caller(TenantId(number), deadline=deadline)


@asynccontextmanager
async def pool(url: str, *, connections: int = 4) -> AsyncIterator[Database]:
    """Some connections as the application."""
    async with open_database(url, min_connections=1, max_connections=connections) as opened:
        yield opened


def new_account() -> AccountId:
    """An account that nobody has."""
    return AccountId(uuid.uuid4())


def draft(account_id: AccountId, amount: int, **changes: object) -> NewEntry:
    """An entry of points: earned when positive, else burnt. `changes`: of its fields."""
    fields: dict[str, object] = {
        "account_id": account_id,
        "unit": "points",
        "kind": EntryKind.EARN if amount > 0 else EntryKind.BURN,
        "amount": amount,
        "earned": max(amount, 0),
        "request_id": uuid.uuid4(),
        "occur_time": NOON,
        **changes,
    }
    return NewEntry(**fields)  # type: ignore[arg-type]


async def post(database: Database, entry: NewEntry, *, now: datetime = NOON) -> Posted:
    """Posts an entry in a transaction of its own."""
    async with database.transaction(tenant()) as tx:
        return await post_entry(tx, entry, now=now)
