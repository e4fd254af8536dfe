"""Whose pass type it is."""

from __future__ import annotations

from passmill.domain.ids import TenantId
from passmill.store.database import Transaction


async def find_tenants(tx: Transaction, pass_type_identifier: str) -> list[TenantId]:
    """The tenants that have, or had, a certificate of this pass type, in the order of their ids.

    For an operator's transaction: others see their own tenant alone.
    """
    rows = await tx.fetch(
        "SELECT DISTINCT tenant_id FROM signing_identities WHERE pass_type_identifier = $1"
        " ORDER BY tenant_id",
        pass_type_identifier,
    )
    return [TenantId(row["tenant_id"]) for row in rows]
