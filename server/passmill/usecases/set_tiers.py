"""Say which tiers a program has."""

from __future__ import annotations

import json
from collections.abc import Sequence

from passmill.domain.balance_units import Tier, admit_tiers
from passmill.domain.clock import Clock
from passmill.domain.ids import ProgramId
from passmill.store.balance_units import list_units, replace_tiers
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import lock_program
from passmill.store.tier_sweeps import begin_sweeps
from passmill.usecases.mutation import Answer, Mutation, Mutator


class SetTiers:
    """Replaces the tiers of a program."""

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[Sequence[Tier]], *, program_id: ProgramId, tiers: Sequence[Tier]
    ) -> Answer:
        """Answers with the tiers. AppError NOT_FOUND (the program), INVALID_FIELD."""

        async def work(tx: Transaction) -> Sequence[Tier]:
            await lock_program(tx, program_id)
            units = {each.unit: each for each in await list_units(tx, program_id)}
            admitted = admit_tiers(tiers, units)
            await replace_tiers(tx, program_id, admitted)
            now = self._clock.now()
            if any(each.within_days for each in admitted):
                await begin_sweeps(tx, program_id, now=now)
            await insert_event(
                tx,
                kind="program.updated",
                pass_ids=[],
                detail=json.dumps({"program_id": str(program_id)}),
                now=now,
            )
            return admitted

        return await self._mutator.run(mutation, work)
