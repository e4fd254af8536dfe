"""Changing a template's draft."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import TemplateId
from passmill.domain.template_life import Template, TemplateCodec
from passmill.domain.templates import TemplateContent
from passmill.errors import etag_mismatch
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import get_program
from passmill.store.templates import lock_template, write_template
from passmill.usecases.lint_draft import LintedTemplate, lint_draft
from passmill.usecases.mutation import Answer, Mutation, Mutator


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateEdit:
    """What a template shall be called and say."""

    display_name: str
    content: TemplateContent


# Gives the edit for the template as it is, draft and all; may raise AppError.
TemplateEditor: TypeAlias = Callable[[Template], TemplateEdit]


class UpdateTemplate:
    """Changes a draft; published revisions stay as they are."""

    __slots__ = ("_clock", "_codec", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock, codec: TemplateCodec) -> None:
        self._mutator = mutator
        self._clock = clock
        self._codec = codec

    async def __call__(
        self,
        mutation: Mutation[LintedTemplate],
        *,
        template_id: TemplateId,
        etag: str,
        edit: TemplateEditor,
    ) -> Answer:
        """Answers with the template and what the lint says of its draft now.

        `edit` is asked while the template is locked, so that two changes of different parts both
        stay. `etag`: the one expected, empty for whichever it has.
        AppError NOT_FOUND, TEMPLATE_ARCHIVED, ETAG_MISMATCH, INVALID_FIELD.
        """

        async def work(tx: Transaction) -> LintedTemplate:
            template = await lock_template(tx, template_id, codec=self._codec)
            if etag and etag != template.etag:
                raise etag_mismatch("template")
            template.require_active()
            wanted = edit(template)
            now = self._clock.now()
            changed = replace(
                template,
                display_name=admit_display_name(wanted.display_name, path="template.display_name"),
                draft=wanted.content,
                version=template.version + 1,
                update_time=now,
            )
            await write_template(tx, changed, draft=self._codec.encode(wanted.content))
            detail = json.dumps({"template_id": str(template_id)})
            await insert_event(tx, kind="template.updated", pass_ids=[], detail=detail, now=now)
            program = await get_program(tx, template.program_id)
            findings = await lint_draft(tx, wanted.content, program.pass_type_identifier)
            return LintedTemplate(template=changed, findings=findings)

        return await self._mutator.run(mutation, work)
