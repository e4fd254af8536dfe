"""Making a template."""

from __future__ import annotations

import json

from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import ProgramId, TemplateId, new_uuid
from passmill.domain.template_life import Template, TemplateCodec, TemplateState
from passmill.domain.templates import TemplateContent
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import get_program
from passmill.store.templates import insert_template
from passmill.usecases.lint_draft import LintedTemplate, lint_draft
from passmill.usecases.mutation import Answer, Mutation, Mutator


class CreateTemplate:
    """Makes a template of a program, with its first draft."""

    __slots__ = ("_clock", "_codec", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock, codec: TemplateCodec) -> None:
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
            await insert_template(tx, template, draft=self._codec.encode(content))
            detail = json.dumps({"template_id": str(template.template_id)})
            await insert_event(tx, kind="template.created", pass_ids=[], detail=detail, now=now)
            findings = await lint_draft(tx, content, program.pass_type_identifier)
            return LintedTemplate(template=template, findings=findings)

        return await self._mutator.run(mutation, work)
