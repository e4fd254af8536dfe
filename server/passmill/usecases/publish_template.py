"""Publishing a template."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import RevisionId, TemplateId, new_number
from passmill.domain.programs import Program
from passmill.domain.template_life import Template, TemplateCodec, TemplateRevision
from passmill.domain.templates import Finding, Severity, TemplateContent
from passmill.domain.tenants import StoredIdentity
from passmill.errors import AppError, FieldError, Reason, etag_mismatch
from passmill.store.assets import find_contents
from passmill.store.database import Database, Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import get_program
from passmill.store.signing_identities import hold_active
from passmill.store.templates import (
    get_template,
    insert_revision,
    lock_bare_template,
    write_template,
)
from passmill.usecases.lint_draft import (
    MAX_TRIES,
    UNKNOWN_TEAM,
    DraftMoved,
    prepare_draft,
    read_surroundings,
)
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer, Mutation, Mutator


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRevision:
    """A new revision, and the lint's warnings about it."""

    revision: TemplateRevision
    warnings: Sequence[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """All that is slow, done before the transaction. `revision` lacks its number and time."""

    template: Template
    identity: StoredIdentity
    revision: TemplateRevision
    content: bytes
    warnings: Sequence[Finding]


class PublishTemplate:
    """Freezes a draft as the template's next revision, together with all that its passes depend on.

    The etag stays: it tells of the draft, which publishing does not change.
    """

    __slots__ = ("_clock", "_codec", "_database", "_load_revision", "_mutator", "_web_service_url")

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        clock: Clock,
        codec: TemplateCodec,
        load_revision: LoadRevision,
        web_service_url: str | None,
    ) -> None:
        """`web_service_url`: where devices ask for updates of passes, None for nowhere."""
        self._database = database
        self._mutator = mutator
        self._clock = clock
        self._codec = codec
        self._load_revision = load_revision
        self._web_service_url = web_service_url

    async def __call__(
        self, mutation: Mutation[PublishedRevision], *, template_id: TemplateId, etag: str
    ) -> Answer:
        """Answers with the revision. `etag`: the one expected, empty for whichever it has.

        The revision is made ready to issue from before it is written: what is published can be
        issued.
        AppError NOT_FOUND, TEMPLATE_ARCHIVED, PROGRAM_ARCHIVED, ETAG_MISMATCH, NO_SIGNING_IDENTITY;
        TEMPLATE_HAS_ERRORS names every error of the lint.
        """
        for _ in range(MAX_TRIES):
            try:
                prepared = await self._prepare(mutation.caller, template_id, etag)
            except AppError:
                if kept := await self._mutator.replay(mutation):
                    return kept
                raise

            async def work(tx: Transaction, prepared: _Prepared = prepared) -> PublishedRevision:
                revision = await self._publish(tx, prepared)
                return PublishedRevision(revision=revision, warnings=prepared.warnings)

            try:
                answer = await self._mutator.run(mutation, work)
            except DraftMoved:
                continue
            self._load_revision.forget()
            return answer
        raise etag_mismatch("template")

    async def _prepare(self, caller: Caller, template_id: TemplateId, etag: str) -> _Prepared:
        async with self._database.transaction(caller, read_only=True) as tx:
            template = await get_template(tx, template_id, codec=self._codec)
            if etag and etag != template.etag:
                raise etag_mismatch("template")
            program = await _require_active(tx, template)
            content = _draft(template)
            surroundings = await read_surroundings(tx, content, program.pass_type_identifier)
            assets = await find_contents(tx, (image.asset_id for image in content.images))
        identity = surroundings.identity
        revision = TemplateRevision(
            revision_id=RevisionId(new_number()),
            template_id=template_id,
            program_id=template.program_id,
            number=0,
            content=content,
            pass_type_identifier=program.pass_type_identifier,
            team_identifier=UNKNOWN_TEAM if identity is None else identity.team_identifier,
            web_service_url=self._web_service_url,
            publish_time=self._clock.now(),
        )

        def judge() -> tuple[bytes, list[Finding]]:
            findings, _ = prepare_draft(revision, surroundings, assets)
            return self._codec.encode(content), findings

        encoded, findings = await asyncio.to_thread(judge)
        _require_no_errors(findings)
        if identity is None:
            raise _no_identity(program.pass_type_identifier)
        return _Prepared(
            template=template,
            identity=identity,
            revision=revision,
            content=encoded,
            warnings=findings,
        )

    async def _publish(self, tx: Transaction, prepared: _Prepared) -> TemplateRevision:
        template = await lock_bare_template(tx, prepared.template.template_id)
        if template.version != prepared.template.version:
            raise DraftMoved
        await _require_active(tx, template)
        # Held, so that no identity of another team is activated before this revision shows.
        if not await hold_active(tx, prepared.identity.signing_identity_id):
            raise DraftMoved
        now = self._clock.now()
        number = template.latest_revision + 1
        revision = replace(prepared.revision, number=number, publish_time=now)
        await insert_revision(tx, revision, content=prepared.content)
        published = replace(template, latest_revision=number, update_time=now)
        await write_template(tx, published)
        detail = json.dumps({"template_id": str(template.template_id), "revision": number})
        await insert_event(tx, kind="template.published", pass_ids=[], detail=detail, now=now)
        return revision


async def _require_active(tx: Transaction, template: Template) -> Program:
    template.require_active()
    program = await get_program(tx, template.program_id)
    program.require_active()
    return program


def _draft(template: Template) -> TemplateContent:
    if template.draft is None:
        raise ValueError("A template is published with its draft.")
    return template.draft


def _require_no_errors(findings: Sequence[Finding]) -> None:
    found = [finding for finding in findings if finding.severity is Severity.ERROR]
    if not found:
        return
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    raise AppError(
        reason=Reason.TEMPLATE_HAS_ERRORS,
        message=f"The draft has errors. content.{found[0].path}: {found[0].message}{more}",
        fields=[FieldError(path=f"content.{each.path}", message=each.message) for each in found],
        metadata={"codes": ",".join(sorted({each.code.value.upper() for each in found})[:16])},
    )


def _no_identity(pass_type_identifier: str) -> AppError:
    return AppError(
        reason=Reason.NO_SIGNING_IDENTITY,
        message=f"No active signing identity for {pass_type_identifier}. Upload its certificate"
        " and key, and activate it.",
        metadata={"pass_type_identifier": pass_type_identifier},
    )
