"""Publishing a template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from passmill.domain.clock import Clock
from passmill.domain.ids import RevisionId, TemplateId, new_number
from passmill.domain.template_life import Template, TemplateCodec, TemplateRevision
from passmill.domain.templates import Finding, Severity, TemplateContent
from passmill.domain.tenants import StoredIdentity
from passmill.errors import AppError, FieldError, Reason, etag_mismatch
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import get_program
from passmill.store.signing_identities import find_active_identity
from passmill.store.templates import insert_revision, lock_template, write_template
from passmill.usecases.lint_draft import lint_content
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer, Mutation, Mutator


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRevision:
    """A new revision, and the lint's warnings about it."""

    revision: TemplateRevision
    warnings: Sequence[Finding]


class PublishTemplate:
    """Freezes a draft as the template's next revision, together with all that its passes depend on.

    The etag stays: it tells of the draft, which publishing does not change.
    """

    __slots__ = ("_clock", "_codec", "_load_revision", "_mutator", "_web_service_url")

    def __init__(
        self,
        *,
        mutator: Mutator,
        clock: Clock,
        codec: TemplateCodec,
        load_revision: LoadRevision,
        web_service_url: str | None,
    ) -> None:
        """`web_service_url`: where devices ask for updates of passes, None for nowhere."""
        self._mutator = mutator
        self._clock = clock
        self._codec = codec
        self._load_revision = load_revision
        self._web_service_url = web_service_url

    async def __call__(
        self, mutation: Mutation[PublishedRevision], *, template_id: TemplateId, etag: str
    ) -> Answer:
        """Answers with the revision. `etag`: the one expected, empty for whichever it has.

        AppError NOT_FOUND, TEMPLATE_ARCHIVED, PROGRAM_ARCHIVED, ETAG_MISMATCH, NO_SIGNING_IDENTITY;
        TEMPLATE_HAS_ERRORS names every error of the lint.
        """

        async def work(tx: Transaction) -> PublishedRevision:
            template = await lock_template(tx, template_id, codec=self._codec)
            if etag and etag != template.etag:
                raise etag_mismatch("template")
            template.require_active()
            program = await get_program(tx, template.program_id)
            program.require_active()
            identity = await find_active_identity(tx, program.pass_type_identifier)
            content = _draft(template)
            findings = await lint_content(tx, content, identity)
            _require_no_errors(findings)
            if identity is None:
                raise _no_identity(program.pass_type_identifier)
            revision = await self._publish(tx, template, content, identity)
            return PublishedRevision(revision=revision, warnings=findings)

        answer = await self._mutator.run(mutation, work)
        self._load_revision.forget()
        return answer

    async def _publish(
        self,
        tx: Transaction,
        template: Template,
        content: TemplateContent,
        identity: StoredIdentity,
    ) -> TemplateRevision:
        now = self._clock.now()
        revision = TemplateRevision(
            revision_id=RevisionId(new_number()),
            template_id=template.template_id,
            program_id=template.program_id,
            number=template.latest_revision + 1,
            content=content,
            pass_type_identifier=identity.pass_type_identifier,
            team_identifier=identity.team_identifier,
            web_service_url=self._web_service_url,
            publish_time=now,
        )
        await insert_revision(tx, revision, content=self._codec.encode(content))
        published = replace(template, latest_revision=revision.number, update_time=now)
        await write_template(tx, published)
        detail = json.dumps({"template_id": str(template.template_id), "revision": revision.number})
        await insert_event(tx, kind="template.published", pass_ids=[], detail=detail, now=now)
        return revision


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
