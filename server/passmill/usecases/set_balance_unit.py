"""Say what a program counts."""

from __future__ import annotations

import json

from passmill.domain.balance_units import MOST_UNITS, BalanceUnit, admit_unit
from passmill.domain.clock import Clock
from passmill.errors import invalid_field
from passmill.store.balance_units import list_units, write_unit
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import lock_program
from passmill.usecases.mutation import Answer, Mutation, Mutator


class SetBalanceUnit:
    """Makes or changes a unit of a program."""

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(self, mutation: Mutation[BalanceUnit], unit: BalanceUnit) -> Answer:
        """Answers with the unit. AppError NOT_FOUND (the program), INVALID_FIELD: its parts do not
        fit each other, its kind is another than it was, the program has too many."""
        admit_unit(unit)

        async def work(tx: Transaction) -> BalanceUnit:
            await lock_program(tx, unit.program_id)
            known = {each.unit: each for each in await list_units(tx, unit.program_id)}
            if unit.unit not in known and len(known) >= MOST_UNITS:
                raise invalid_field("balance_unit.unit", f"is one more than {MOST_UNITS}")
            if unit.unit in known and known[unit.unit].kind is not unit.kind:
                raise invalid_field("balance_unit.kind", "cannot be changed")
            now = self._clock.now()
            await write_unit(tx, unit, now=now)
            detail = json.dumps({"program_id": str(unit.program_id), "unit": unit.unit})
            await insert_event(tx, kind="program.updated", pass_ids=[], detail=detail, now=now)
            return unit

        return await self._mutator.run(mutation, work)
