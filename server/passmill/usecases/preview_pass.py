"""Showing a pass without issuing it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from passmill.domain.apple import PassData, encode_pass_data
from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import RevisionId, TemplateId
from passmill.domain.passes import PassDraft, next_signing_time
from passmill.domain.programs import Program
from passmill.domain.reference_ids import ReferenceNumber, format_reference_id
from passmill.domain.template_life import Template, TemplateCodec, TemplateRevision
from passmill.domain.templates import Finding, TemplateContent
from passmill.domain.templates.placeholders import BARCODE
from passmill.domain.templates.value_rules import sample_texts
from passmill.domain.tenants import StoredIdentity
from passmill.signing.identities import IdentityCache
from passmill.signing.previews import seal_preview
from passmill.signing.revisions import LoadedRevision
from passmill.store.assets import find_contents
from passmill.store.database import Database, Transaction
from passmill.store.programs import get_program
from passmill.store.templates import find_numbered_revision, get_template
from passmill.usecases.lint_draft import (
    UNKNOWN_TEAM,
    Surroundings,
    prepare_draft,
    read_surroundings,
)
from passmill.usecases.load_revision import not_published
from passmill.usecases.pass_content import CheckedDraft, check_draft, size_refused

# Shown where an issued pass has its own: 0000-0000, plainly a sample.
_SAMPLE_REFERENCE: Final = ReferenceNumber(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """`pass_json` is empty when the lint found errors, `bundle` also when nothing can sign it."""

    pass_json: bytes
    bundle: bytes
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is to be shown, as it was read."""

    revision: TemplateRevision
    surroundings: Surroundings
    assets: Mapping[str, bytes]


class PreviewPass:
    """Renders and signs a pass that is recorded nowhere.

    It names no web service, for no device could ask for its updates, and its serial number is
    random, so that it never replaces a pass that was issued.
    """

    __slots__ = ("_clock", "_codec", "_database", "_identities")

    def __init__(
        self,
        *,
        database: Database,
        codec: TemplateCodec,
        identities: IdentityCache,
        clock: Clock,
    ) -> None:
        self._database = database
        self._codec = codec
        self._identities = identities
        self._clock = clock

    async def __call__(
        self, caller: Caller, *, template_id: TemplateId, number: int, draft: PassDraft
    ) -> Preview:
        """A pass of the template's revision `number`, 0 for its draft, as `draft` would fill it.

        AppError NOT_FOUND, REVISION_NOT_PUBLISHED, INVALID_VALUES, SIGNING_IDENTITY_EXPIRED.
        """
        async with self._database.transaction(caller, read_only=True) as tx:
            subject = await self._read(tx, template_id, number)
        findings, loaded = await asyncio.to_thread(
            prepare_draft, subject.revision, subject.surroundings, subject.assets
        )
        if loaded is None:
            return Preview(pass_json=b"", bundle=b"", findings=findings)
        checked = check_draft(loaded, draft, path="draft")
        line = _encode(loaded, checked, draft)
        with size_refused(checked.values, path="draft"):
            pass_json = loaded.render(line)
        bundle = b""
        if (stored := subject.surroundings.identity) is not None:
            identity = await self._identities.load(caller, stored.signing_identity_id)
            bundle = await asyncio.to_thread(
                seal_preview,
                loaded.prepared(is_personalized=False),
                line,
                identity,
                signing_time=next_signing_time(self._clock.now(), previous=None),
            )
        return Preview(pass_json=pass_json, bundle=bundle, findings=findings)

    async def _read(self, tx: Transaction, template_id: TemplateId, number: int) -> _Subject:
        template = await get_template(tx, template_id, codec=self._codec)
        program = await get_program(tx, template.program_id)
        content = template.draft
        if number:
            published = await find_numbered_revision(tx, template_id, number, codec=self._codec)
            content = None if published is None else published.content
        if content is None:
            raise not_published(number)
        surroundings = await read_surroundings(tx, content, program.pass_type_identifier)
        return _Subject(
            revision=self._shown(template, program, content, surroundings.identity),
            surroundings=surroundings,
            assets=await find_contents(tx, (image.asset_id for image in content.images)),
        )

    def _shown(
        self,
        template: Template,
        program: Program,
        content: TemplateContent,
        identity: StoredIdentity | None,
    ) -> TemplateRevision:
        return TemplateRevision(
            revision_id=RevisionId(0),
            template_id=template.template_id,
            program_id=template.program_id,
            number=0,
            content=content,
            pass_type_identifier=program.pass_type_identifier,
            team_identifier=UNKNOWN_TEAM if identity is None else identity.team_identifier,
            web_service_url=None,
            publish_time=self._clock.now(),
        )


def _encode(loaded: LoadedRevision, checked: CheckedDraft, draft: PassDraft) -> bytes:
    pass_data = PassData(
        serial_number=f"PREVIEW-{secrets.token_hex(16).upper()}",
        authentication_token="",
        reference_id=format_reference_id(_SAMPLE_REFERENCE),
        holder_name=checked.holder.name,
        holder_phone=checked.holder.phone,
        expires_at=draft.expire_time,
        barcode=sample_texts(loaded.barcode_kind)[BARCODE],
    )
    return encode_pass_data(pass_data, checked.slot_values)
