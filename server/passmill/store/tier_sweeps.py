"""Up to when tiers of programs were looked at, and who earned what is no longer counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from passmill.domain.ids import ProgramId, TenantId
from passmill.domain.ledger import AccountId, EntryKind
from passmill.store.database import Transaction


async def begin_sweeps(tx: Transaction, program_id: ProgramId, *, now: datetime) -> None:
    """From now on a program's tiers are looked at, if they were not."""
    await tx.execute(
        "INSERT INTO tier_sweeps (tenant_id, program_id, sweep_time) VALUES ($1, $2, $3)"
        " ON CONFLICT DO NOTHING",
        tx.tenant_id,
        program_id,
        now,
    )


async def find_sweeps(tx: Transaction, *, before: datetime) -> list[tuple[TenantId, ProgramId]]:
    """Programs of all tenants last looked at before this time. The caller is an operator."""
    rows = await tx.fetch(
        "SELECT tenant_id, program_id FROM tier_sweeps WHERE sweep_time < $1"
        " ORDER BY tenant_id, program_id",
        before,
    )
    return [(row["tenant_id"], row["program_id"]) for row in rows]


async def lock_sweep(tx: Transaction, program_id: ProgramId) -> datetime | None:
    """Up to when the program was looked at; None when somebody is looking."""
    found: datetime | None = await tx.fetch_value(
        "SELECT sweep_time FROM tier_sweeps WHERE tenant_id = $1 AND program_id = $2"
        " FOR UPDATE SKIP LOCKED",
        tx.tenant_id,
        program_id,
    )
    return found


async def end_sweep(tx: Transaction, program_id: ProgramId, sweep_time: datetime) -> None:
    """Notes up to when a locked program was looked at."""
    await tx.execute(
        "UPDATE tier_sweeps SET sweep_time = $3 WHERE tenant_id = $1 AND program_id = $2",
        tx.tenant_id,
        program_id,
        sweep_time,
    )


async def earners_between(
    tx: Transaction, unit: str, since: datetime, until: datetime
) -> list[AccountId]:
    """Accounts that earned some of a unit then, `until` itself left out."""
    rows = await tx.fetch(
        "SELECT DISTINCT account_id FROM ledger_entries WHERE tenant_id = $1 AND unit = $2"
        " AND kind = $3 AND occur_time >= $4 AND occur_time < $5",
        tx.tenant_id,
        unit,
        EntryKind.EARN,
        since,
        until,
    )
    return [row["account_id"] for row in rows]


async def earned_by_each(
    tx: Transaction, account_ids: Sequence[AccountId], unit: str, since: datetime
) -> dict[AccountId, int]:
    """What each earned at this time or later, and was not taken back; nobody who earned nothing."""
    rows = await tx.fetch(
        """
        SELECT e.account_id, sum(e.amount)::bigint AS earned
        FROM unnest($2::uuid[]) AS u(account_id), LATERAL (
            SELECT account_id, amount FROM ledger_entries AS l
            WHERE tenant_id = $1 AND account_id = u.account_id AND unit = $3 AND kind = $4
                AND occur_time >= $5 AND NOT EXISTS (
                    SELECT FROM ledger_entries AS r
                    WHERE r.tenant_id = $1 AND r.reversed_entry_id = l.entry_id)
            OFFSET 0  -- so that it is done for one account after the other, by the key
        ) AS e
        GROUP BY e.account_id
        """,
        tx.tenant_id,
        account_ids,
        unit,
        EntryKind.EARN,
        since,
    )
    return {row["account_id"]: row["earned"] for row in rows}
