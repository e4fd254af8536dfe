"""Ending a program."""

from __future__ import annotations

import json
from dataclasses import replace

from passmill.domain.clock import Clock
from passmill.domain.ids import ProgramId
from passmill.domain.programs import Program, ProgramState
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import lock_program, write_program
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer, Mutation, Mutator


class ArchiveProgram:
    """Ends issuing from a program; its passes live on."""

    __slots__ = ("_clock", "_load_revision", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock, load_revision: LoadRevision) -> None:
        self._mutator = mutator
        self._clock = clock
        self._load_revision = load_revision

    async def __call__(self, mutation: Mutation[Program], *, program_id: ProgramId) -> Answer:
        """Answers with the program; one that is archived stays as it is. AppError NOT_FOUND."""

        async def work(tx: Transaction) -> Program:
            program = await lock_program(tx, program_id)
            if program.state is ProgramState.ARCHIVED:
                return program
            now = self._clock.now()
            archived = replace(
                program,
                state=ProgramState.ARCHIVED,
                version=program.version + 1,
                update_time=now,
            )
            await write_program(tx, archived)
            detail = json.dumps({"program_id": str(program_id)})
            await insert_event(tx, kind="program.archived", pass_ids=[], detail=detail, now=now)
            return archived

        answer = await self._mutator.run(mutation, work)
        self._load_revision.forget()
        return answer
