"""Making a template."""

from __future__ import annotations

import asyncio
import json

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import ProgramId, TemplateId, new_uuid
from passmill.domain.template_life import Template, TemplateCodec, TemplateState
from passmill.domain.templates import Finding, TemplateContent
from passmill.errors import AppError
from passmill.store.database import Database, Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import get_program
from passmill.store.templates import insert_template
from passmill.usecases.lint_draft import LintedTemplate, lint_draft, read_surroundings
from passmill.usecases.mutation import Answer, Mutation, Mutator


class CreateTemplate:
    """Makes a template of a program, with its first draft."""

    __slots__ = ("_clock", "_codec", "_database", "_mutator")

    def __init__(
        self, *, database: Database, mutator: Mutator, clock: Clock, codec: TemplateCodec
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._clock = clock
        self._codec = codec

    async def __call__(
        self,
        mutation: Mutation[LintedTemplate],
        *,
        program_id: ProgramId,
        display_name: str,
        content: TemplateContent,
    ) -> Answer:
        """Answers with the template and what the lint says of it, which refuses no draft.

        AppError NOT_FOUND, PROGRAM_ARCHIVED, INVALID_FIELD.
        """
        name = admit_display_name(display_name, path="display_name")
        try:
            draft, findings = await self._prepare(mutation.caller, program_id, content)
        except AppError:
            if kept := await self._mutator.replay(mutation):
                return kept
            raise

        async def work(tx: Transaction) -> LintedTemplate:
            program = await get_program(tx, program_id)
            program.require_active()
            now = self._clock.now()
            template = Template(
                template_id=TemplateId(new_uuid()),
                program_id=program_id,
                display_name=name,
                draft=content,
                version=1,
                latest_revision=0,
                state=TemplateState.ACTIVE,
                create_time=now,
                update_time=now,
            )
            await insert_template(tx, template, draft=draft)
            detail = json.dumps({"template_id": str(template.template_id)})
            await insert_event(tx, kind="template.created", pass_ids=[], detail=detail, now=now)
            return LintedTemplate(template=template, findings=findings)

        return await self._mutator.run(mutation, work)

    async def _prepare(
        self, caller: Caller, program_id: ProgramId, content: TemplateContent
    ) -> tuple[bytes, list[Finding]]:
        async with self._database.transaction(caller, read_only=True) as tx:
            program = await get_program(tx, program_id)
            program.require_active()
            surroundings = await read_surroundings(tx, content, program.pass_type_identifier)

        def judge() -> tuple[bytes, list[Finding]]:
            return self._codec.encode(content), lint_draft(content, surroundings)

        return await asyncio.to_thread(judge)
