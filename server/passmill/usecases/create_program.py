"""Making a program."""

from __future__ import annotations

import json

from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import ProgramId, new_uuid
from passmill.domain.programs import Program, ProgramState
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import insert_program
from passmill.usecases.mutation import Answer, Mutation, Mutator


class CreateProgram:
    """Makes a program of the caller's tenant."""

    __slots__ = ("_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[Program], *, display_name: str, pass_type_identifier: str
    ) -> Answer:
        """Answers with the program. AppError INVALID_FIELD.

        `pass_type_identifier` needs no certificate yet: publishing does.
        """
        name = admit_display_name(display_name, path="display_name")
        now = self._clock.now()
        program = Program(
            program_id=ProgramId(new_uuid()),
            display_name=name,
            pass_type_identifier=pass_type_identifier,
            state=ProgramState.ACTIVE,
            version=1,
            create_time=now,
            update_time=now,
        )

        async def work(tx: Transaction) -> Program:
            await insert_program(tx, program)
            detail = json.dumps({"program_id": str(program.program_id)})
            await insert_event(tx, kind="program.created", pass_ids=[], detail=detail, now=now)
            return program

        return await self._mutator.run(mutation, work)
