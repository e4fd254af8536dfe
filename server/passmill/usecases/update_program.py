"""Changing a program."""

from __future__ import annotations

import json
from dataclasses import replace

from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import ProgramId
from passmill.domain.programs import Program
from passmill.errors import etag_mismatch
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import lock_program, write_program
from passmill.usecases.mutation import Answer, Mutation, Mutator


class UpdateProgram:
    """Renames a program, archived or not. Its pass type identifier is in passes that are out."""

    __slots__ = ("_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(
        self,
        mutation: Mutation[Program],
        *,
        program_id: ProgramId,
        display_name: str,
        etag: str,
    ) -> Answer:
        """Answers with the program. `etag`: the one expected, empty for whichever it has.

        AppError NOT_FOUND, ETAG_MISMATCH, INVALID_FIELD.
        """
        name = admit_display_name(display_name, path="program.display_name")

        async def work(tx: Transaction) -> Program:
            program = await lock_program(tx, program_id)
            if etag and etag != program.etag:
                raise etag_mismatch("program")
            now = self._clock.now()
            changed = replace(
                program, display_name=name, version=program.version + 1, update_time=now
            )
            await write_program(tx, changed)
            detail = json.dumps({"program_id": str(program_id)})
            await insert_event(tx, kind="program.updated", pass_ids=[], detail=detail, now=now)
            return changed

        return await self._mutator.run(mutation, work)
