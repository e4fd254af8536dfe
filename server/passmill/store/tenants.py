"""Tenants at rest."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg

from passmill import errors
from passmill.domain.ids import TenantId
from passmill.domain.tenants import Tenant, TenantState
from passmill.store.database import Transaction

_SELECT: Final = (
    "SELECT tenant_id, display_name, state, serial_key, reference_key, create_time FROM tenants"
)


async def insert_tenant(tx: Transaction, tenant: Tenant) -> None:
    """Writes a new tenant; only an operator may."""
    await tx.execute(
        "INSERT INTO tenants (tenant_id, display_name, state, serial_key, reference_key,"
        " next_reference, create_time) VALUES ($1, $2, $3, $4, $5, 0, $6)",
        tenant.tenant_id,
        tenant.display_name,
        tenant.state,
        tenant.serial_key,
        tenant.reference_key,
        tenant.create_time,
    )


async def get_tenant(tx: Transaction, tenant_id: TenantId) -> Tenant:
    """The tenant. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1",
        tenant_id,
    )
    if row is None:
        raise errors.not_found("tenant")
    return _tenant(row)


async def list_tenants(
    tx: Transaction, *, after: tuple[datetime, TenantId] | None, at_most: int
) -> list[Tenant]:
    """Tenants by age, oldest first, those after `after` only: the create time and id of the last
    one seen."""
    create_time, tenant_id = after if after is not None else (None, None)
    rows = await tx.fetch(
        _SELECT + " WHERE $1::timestamptz IS NULL OR (create_time, tenant_id) > ($1, $2::bigint)"
        " ORDER BY create_time, tenant_id LIMIT $3",
        create_time,
        tenant_id,
        at_most,
    )
    return [_tenant(row) for row in rows]


async def set_state(tx: Transaction, tenant_id: TenantId, state: TenantState) -> Tenant:
    """Writes a tenant's state; gives the tenant as it is now. AppError NOT_FOUND."""
    await tx.execute("UPDATE tenants SET state = $2 WHERE tenant_id = $1", tenant_id, state)
    return await get_tenant(tx, tenant_id)


async def take_reference_block(tx: Transaction, size: int) -> int:
    """Takes `size` indexes from the tenant's counter of reference numbers; gives the end of the
    block: they are `end - size` to `end - 1`. AppError NOT_FOUND."""
    end: int | None = await tx.fetch_value(
        "UPDATE tenants SET next_reference = next_reference + $2 WHERE tenant_id = $1"
        " RETURNING next_reference",
        tx.tenant_id,
        size,
    )
    if end is None:
        raise errors.not_found("tenant")
    return end


def _tenant(row: asyncpg.Record) -> Tenant:
    return Tenant(
        tenant_id=TenantId(row["tenant_id"]),
        display_name=row["display_name"],
        state=TenantState(row["state"]),
        serial_key=row["serial_key"],
        reference_key=row["reference_key"],
        create_time=row["create_time"],
    )
