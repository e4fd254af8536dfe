"""Ending a template."""

from __future__ import annotations

import json
from dataclasses import replace

from passmill.domain.clock import Clock
from passmill.domain.ids import TemplateId
from passmill.domain.template_life import Template, TemplateCodec, TemplateState
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.templates import lock_template, write_template
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer, Mutation, Mutator


class ArchiveTemplate:
    """Ends issuing from a template; its passes live on."""

    __slots__ = ("_clock", "_codec", "_load_revision", "_mutator")

    def __init__(
        self,
        *,
        mutator: Mutator,
        clock: Clock,
        codec: TemplateCodec,
        load_revision: LoadRevision,
    ) -> None:
        self._mutator = mutator
        self._clock = clock
        self._codec = codec
        self._load_revision = load_revision

    async def __call__(self, mutation: Mutation[Template], *, template_id: TemplateId) -> Answer:
        """Answers with the template; one that is archived stays as it is. AppError NOT_FOUND."""

        async def work(tx: Transaction) -> Template:
            template = await lock_template(tx, template_id, codec=self._codec)
            if template.state is TemplateState.ARCHIVED:
                return template
            now = self._clock.now()
            archived = replace(
                template,
                state=TemplateState.ARCHIVED,
                version=template.version + 1,
                update_time=now,
            )
            await write_template(tx, archived)
            detail = json.dumps({"template_id": str(template_id)})
            await insert_event(tx, kind="template.archived", pass_ids=[], detail=detail, now=now)
            return archived

        answer = await self._mutator.run(mutation, work)
        self._load_revision.forget()
        return answer
