"""Changing a template's draft."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import TemplateId
from passmill.domain.template_life import Template, TemplateCodec
from passmill.domain.templates import Finding, TemplateContent
from passmill.errors import AppError, etag_mismatch
from passmill.store.database import Database, Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import get_program
from passmill.store.templates import get_template, lock_bare_template, write_template
from passmill.usecases.lint_draft import (
    MAX_TRIES,
    DraftMoved,
    LintedTemplate,
    lint_draft,
    read_surroundings,
)
from passmill.usecases.mutation import Answer, Mutation, Mutator


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateEdit:
    """What a template shall be called and say."""

    display_name: str
    content: TemplateContent


# Gives the edit for the template as it is, draft and all, changing nothing; may raise AppError.
TemplateEditor: TypeAlias = Callable[[Template], TemplateEdit]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """All that is slow, done before the transaction. `before`: the template as it was edited."""

    before: Template
    display_name: str
    content: TemplateContent
    draft: bytes
    findings: Sequence[Finding]


class UpdateTemplate:
    """Changes a draft; published revisions stay as they are."""

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
        template_id: TemplateId,
        etag: str,
        edit: TemplateEditor,
    ) -> Answer:
        """Answers with the template and what the lint says of its draft now.

        `edit` is asked again when another change came between, so that two changes of different
        parts both stay; it is called in a thread. `etag`: the one expected, empty for whichever it
        has.
        AppError NOT_FOUND, TEMPLATE_ARCHIVED, ETAG_MISMATCH, INVALID_FIELD.
        """
        for _ in range(MAX_TRIES):
            try:
                prepared = await self._prepare(mutation.caller, template_id, etag, edit)
            except AppError:
                if kept := await self._mutator.replay(mutation):
                    return kept
                raise

            async def work(tx: Transaction, prepared: _Prepared = prepared) -> LintedTemplate:
                return await self._write(tx, prepared)

            try:
                return await self._mutator.run(mutation, work)
            except DraftMoved:
                continue
        raise etag_mismatch("template")

    async def _prepare(
        self, caller: Caller, template_id: TemplateId, etag: str, edit: TemplateEditor
    ) -> _Prepared:
        async with self._database.transaction(caller, read_only=True) as tx:
            before = await get_template(tx, template_id, codec=self._codec)
            if etag and etag != before.etag:
                raise etag_mismatch("template")
            before.require_active()
            program = await get_program(tx, before.program_id)
        wanted = await asyncio.to_thread(edit, before)
        display_name = admit_display_name(wanted.display_name, path="template.display_name")
        async with self._database.transaction(caller, read_only=True) as tx:
            surroundings = await read_surroundings(tx, wanted.content, program.pass_type_identifier)

        def judge() -> _Prepared:
            return _Prepared(
                before=before,
                display_name=display_name,
                content=wanted.content,
                draft=self._codec.encode(wanted.content),
                findings=lint_draft(wanted.content, surroundings),
            )

        return await asyncio.to_thread(judge)

    async def _write(self, tx: Transaction, prepared: _Prepared) -> LintedTemplate:
        template = await lock_bare_template(tx, prepared.before.template_id)
        if template.version != prepared.before.version:
            raise DraftMoved
        template.require_active()
        now = self._clock.now()
        changed = replace(
            template,
            display_name=prepared.display_name,
            draft=prepared.content,
            version=template.version + 1,
            update_time=now,
        )
        await write_template(tx, changed, draft=prepared.draft)
        detail = json.dumps({"template_id": str(template.template_id)})
        await insert_event(tx, kind="template.updated", pass_ids=[], detail=detail, now=now)
        return LintedTemplate(template=changed, findings=prepared.findings)
