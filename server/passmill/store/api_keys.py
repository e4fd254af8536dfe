"""API keys at rest: what tells them, never their secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg

from passmill import errors
from passmill.domain.callers import Scope
from passmill.domain.ids import TenantId
from passmill.domain.tenants import ApiKey, TenantState
from passmill.store.database import Transaction

_SELECT: Final = (
    "SELECT tenant_id, key_id, secret_hash, display_name, scopes, create_time, expire_time,"
    " revoke_time FROM api_keys"
)


async def insert_api_key(tx: Transaction, api_key: ApiKey) -> None:
    """Writes a new key."""
    await tx.execute(
        "INSERT INTO api_keys (tenant_id, key_id, secret_hash, display_name, scopes, create_time,"
        " expire_time, revoke_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tx.tenant_id,
        api_key.key_id,
        api_key.secret_hash,
        api_key.display_name,
        sorted(api_key.scopes),
        api_key.create_time,
        api_key.expire_time,
        api_key.revoke_time,
    )


async def revoke_api_key(tx: Transaction, key_id: str, *, now: datetime) -> ApiKey:
    """Ends a key, for good; one that was revoked before keeps its time. AppError NOT_FOUND."""
    await tx.execute(
        "UPDATE api_keys SET revoke_time = coalesce(revoke_time, $3)"
        " WHERE tenant_id = $1 AND key_id = $2",
        tx.tenant_id,
        key_id,
        now,
    )
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND key_id = $2", tx.tenant_id, key_id
    )
    if row is None:
        raise errors.not_found("API key")
    return _api_key(row)


async def list_api_keys(
    tx: Transaction, *, after: tuple[datetime, str] | None, at_most: int
) -> list[ApiKey]:
    """Keys by age, oldest first, those after `after` only: the create time and id of the last one
    seen."""
    create_time, key_id = after if after is not None else (None, None)
    rows = await tx.fetch(
        _SELECT + " WHERE tenant_id = $1"
        " AND ($2::timestamptz IS NULL OR (create_time, key_id) > ($2, $3::text))"
        " ORDER BY create_time, key_id LIMIT $4",
        tx.tenant_id,
        create_time,
        key_id,
        at_most,
    )
    return [_api_key(row) for row in rows]


async def find_presented_key(tx: Transaction, key_id: str) -> tuple[ApiKey, TenantState] | None:
    """The key with this id, whosever it is, and the state of its tenant.

    The transaction must have been opened for this `presented_key`; it shows nothing else.
    """
    row = await tx.fetch_one(
        "SELECT api_keys.tenant_id, key_id, secret_hash, api_keys.display_name, scopes,"
        "  api_keys.create_time, expire_time, revoke_time, tenants.state"
        " FROM api_keys JOIN tenants USING (tenant_id) WHERE key_id = $1",
        key_id,
    )
    return None if row is None else (_api_key(row), TenantState(row["state"]))


def _api_key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        tenant_id=TenantId(row["tenant_id"]),
        key_id=row["key_id"],
        secret_hash=row["secret_hash"],
        display_name=row["display_name"],
        scopes=frozenset(Scope(name) for name in row["scopes"]),
        create_time=row["create_time"],
        expire_time=row["expire_time"],
        revoke_time=row["revoke_time"],
    )
