"""Counter policies at rest."""

from __future__ import annotations

import json
from typing import Final
from uuid import UUID

import asyncpg

from passmill.domain.counter_policies import CounterPolicy, DemandRule, StaffDemand
from passmill.domain.ids import ProgramId
from passmill.domain.offers import UnitAmount
from passmill.store.database import Transaction

_SELECT: Final = (
    "SELECT program_id, demands, photo_slot, tier_slot, attention_slots FROM counter_policies"
)


async def set_policy(tx: Transaction, policy: CounterPolicy) -> None:
    """Writes a program's policy in place of the one before."""
    demands = [
        [rule.demand, rule.at_least and [rule.at_least.unit, rule.at_least.amount]]
        for rule in policy.demands
    ]
    await tx.execute(
        "INSERT INTO counter_policies (tenant_id, program_id, demands, photo_slot, tier_slot,"
        " attention_slots) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (tenant_id, program_id) DO UPDATE SET demands = EXCLUDED.demands,"
        " photo_slot = EXCLUDED.photo_slot, tier_slot = EXCLUDED.tier_slot,"
        " attention_slots = EXCLUDED.attention_slots",
        tx.tenant_id,
        policy.program_id,
        json.dumps(demands),
        policy.photo_slot,
        policy.tier_slot,
        policy.attention_slots,
    )


async def get_policy(tx: Transaction, program_id: ProgramId) -> CounterPolicy:
    """The program's policy; one that demands nothing when none was set."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND program_id = $2", tx.tenant_id, program_id
    )
    return CounterPolicy(program_id=program_id) if row is None else _policy(row)


async def list_policies(tx: Transaction, *, at_most: int) -> list[CounterPolicy]:
    """The policies that were set."""
    rows = await tx.fetch(
        _SELECT + " WHERE tenant_id = $1 ORDER BY program_id LIMIT $2", tx.tenant_id, at_most
    )
    return [_policy(row) for row in rows]


def _policy(row: asyncpg.Record) -> CounterPolicy:
    return CounterPolicy(
        program_id=ProgramId(UUID(int=row["program_id"].int)),
        demands=tuple(
            DemandRule(
                demand=StaffDemand(demand),
                at_least=at_least and UnitAmount(unit=at_least[0], amount=at_least[1]),
            )
            for demand, at_least in json.loads(row["demands"])
        ),
        photo_slot=row["photo_slot"],
        tier_slot=row["tier_slot"],
        attention_slots=tuple(row["attention_slots"]),
    )
