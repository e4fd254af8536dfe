"""The units and tiers of programs at rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from passmill.domain.balance_units import BalanceRules, BalanceUnit, SalePayment, Tier, UnitKind
from passmill.domain.ids import ProgramId, TemplateId
from passmill.domain.money import Money
from passmill.store.database import Transaction, columns


async def read_rules(tx: Transaction, program_id: ProgramId) -> BalanceRules:
    """All that a program says of balances; nothing for one that does not exist."""
    units = await list_units(tx, program_id)
    tiers = await list_tiers(tx, program_id) if units else []
    return BalanceRules(units={each.unit: each for each in units}, tiers=tiers)


async def ledger_slots(tx: Transaction, template_id: TemplateId) -> frozenset[str]:
    """The slots in which passes of a template's program show balances and tiers: what they show is
    the ledger's."""
    rows = await tx.fetch(
        """
        SELECT u.slot FROM templates t JOIN balance_units u USING (tenant_id, program_id)
        WHERE t.tenant_id = $1 AND t.template_id = $2 AND u.slot <> ''
        UNION
        SELECT r.slot FROM templates t JOIN tiers r USING (tenant_id, program_id)
        WHERE t.tenant_id = $1 AND t.template_id = $2 AND r.slot <> ''
        """,
        tx.tenant_id,
        template_id,
    )
    return frozenset(row["slot"] for row in rows)


async def list_units(tx: Transaction, program_id: ProgramId) -> list[BalanceUnit]:
    """A program's units in the order of their names."""
    rows = await tx.fetch(
        "SELECT program_id, unit, kind, slot, max_share_percent, value_amount, value_minor_units,"
        " value_currency FROM balance_units WHERE tenant_id = $1 AND program_id = $2"
        ' ORDER BY unit COLLATE "C"',
        tx.tenant_id,
        program_id,
    )
    return [_unit(row) for row in rows]


async def write_unit(tx: Transaction, unit: BalanceUnit, *, now: datetime) -> None:
    """Writes a unit, new or changed. Its kind stays what it was."""
    payment = unit.sale_payment
    await tx.execute(
        """
        INSERT INTO balance_units (tenant_id, program_id, unit, kind, slot, max_share_percent,
            value_amount, value_minor_units, value_currency, create_time)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (tenant_id, program_id, unit) DO UPDATE SET slot = EXCLUDED.slot,
            max_share_percent = EXCLUDED.max_share_percent, value_amount = EXCLUDED.value_amount,
            value_minor_units = EXCLUDED.value_minor_units, value_currency = EXCLUDED.value_currency
        """,
        tx.tenant_id,
        unit.program_id,
        unit.unit,
        unit.kind,
        unit.slot,
        payment and payment.max_share_percent,
        payment and payment.amount,
        payment and payment.value.minor_units,
        payment and payment.value.currency,
        now,
    )


async def list_tiers(tx: Transaction, program_id: ProgramId) -> list[Tier]:
    """A program's tiers, the lowest first."""
    rows = await tx.fetch(
        "SELECT tier, unit, at_least, within_days, slot, slot_value FROM tiers"
        " WHERE tenant_id = $1 AND program_id = $2 ORDER BY rank",
        tx.tenant_id,
        program_id,
    )
    return [
        Tier(
            tier=row["tier"],
            unit=row["unit"],
            at_least=row["at_least"],
            within_days=row["within_days"],
            slot=row["slot"],
            slot_value=row["slot_value"],
        )
        for row in rows
    ]


async def replace_tiers(tx: Transaction, program_id: ProgramId, tiers: Sequence[Tier]) -> None:
    """Writes a program's tiers in place of those it had. The program is locked."""
    await tx.execute(
        "DELETE FROM tiers WHERE tenant_id = $1 AND program_id = $2", tx.tenant_id, program_id
    )
    rows = [
        (rank, each.tier, each.unit, each.at_least, each.within_days, each.slot, each.slot_value)
        for rank, each in enumerate(tiers, start=1)
    ]
    await tx.execute(
        "INSERT INTO tiers (tenant_id, program_id, rank, tier, unit, at_least, within_days, slot,"
        " slot_value) SELECT $1, $2, u.* FROM unnest($3::int[], $4::text[], $5::text[],"
        " $6::bigint[], $7::int[], $8::text[], $9::text[]) AS u",
        tx.tenant_id,
        program_id,
        *columns(rows, 7),
    )


def _unit(row: asyncpg.Record) -> BalanceUnit:
    payment = None
    if row["max_share_percent"] is not None:
        payment = SalePayment(
            max_share_percent=row["max_share_percent"],
            amount=row["value_amount"],
            value=Money(minor_units=row["value_minor_units"], currency=row["value_currency"]),
        )
    return BalanceUnit(
        program_id=row["program_id"],
        unit=row["unit"],
        kind=UnitKind(row["kind"]),
        slot=row["slot"],
        sale_payment=payment,
    )
