"""Templates and their revisions at rest. Contents are bytes here; a codec knows what they say."""

from __future__ import annotations

from typing import Final

import asyncpg

from passmill import errors
from passmill.domain.ids import ProgramId, RevisionId, TemplateId
from passmill.domain.template_life import (
    Template,
    TemplateCodec,
    TemplateRevision,
    TemplateState,
)
from passmill.domain.templates import TemplateContent
from passmill.domain.templates.sharing import policy_to_json
from passmill.store.database import Transaction

_SELECT: Final = (
    "SELECT template_id, program_id, display_name, draft, version, latest_revision, state,"
    " create_time, update_time FROM templates"
)
_SELECT_BARE: Final = _SELECT.replace(" draft,", "")
_SELECT_REVISION: Final = (
    "SELECT r.revision_id, r.template_id, t.program_id, r.number, r.content,"
    " r.pass_type_identifier, r.team_identifier, r.web_service_url, r.publish_time"
    " FROM template_revisions r"
    " JOIN templates t ON t.tenant_id = r.tenant_id AND t.template_id = r.template_id"
)
_SELECT_BARE_REVISION: Final = _SELECT_REVISION.replace(" r.content,", "")


async def insert_template(tx: Transaction, template: Template, *, draft: bytes) -> None:
    """Writes a new template with its first draft."""
    await tx.execute(
        "INSERT INTO templates (tenant_id, template_id, program_id, display_name, version,"
        " latest_revision, state, create_time, update_time, draft)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tx.tenant_id,
        template.template_id,
        template.program_id,
        template.display_name,
        template.version,
        template.latest_revision,
        template.state,
        template.create_time,
        template.update_time,
        draft,
    )


async def get_template(
    tx: Transaction, template_id: TemplateId, *, codec: TemplateCodec
) -> Template:
    """The template with its draft. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND template_id = $2",
        tx.tenant_id,
        template_id,
    )
    return _existing(row, codec)


async def get_bare_template(tx: Transaction, template_id: TemplateId) -> Template:
    """The template without its draft. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT_BARE + " WHERE tenant_id = $1 AND template_id = $2", tx.tenant_id, template_id
    )
    if row is None:
        raise errors.not_found("template")
    return _template(row, None)


async def lock_template(
    tx: Transaction, template_id: TemplateId, *, codec: TemplateCodec
) -> Template:
    """As `get_template`; nobody else changes it before this transaction ends."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND template_id = $2 FOR UPDATE",
        tx.tenant_id,
        template_id,
    )
    return _existing(row, codec)


async def lock_bare_template(tx: Transaction, template_id: TemplateId) -> Template:
    """As `get_bare_template`; nobody else changes it before this transaction ends."""
    row = await tx.fetch_one(
        _SELECT_BARE + " WHERE tenant_id = $1 AND template_id = $2 FOR UPDATE",
        tx.tenant_id,
        template_id,
    )
    if row is None:
        raise errors.not_found("template")
    return _template(row, None)


async def list_templates(
    tx: Transaction, *, program_id: ProgramId | None, after: TemplateId | None, at_most: int
) -> list[Template]:
    """Templates without drafts by id, which is by age, those after `after` only; of one program
    when it is given."""
    rows = await tx.fetch(
        _SELECT_BARE + " WHERE tenant_id = $1 AND ($2::uuid IS NULL OR program_id = $2)"
        " AND ($3::uuid IS NULL OR template_id > $3) ORDER BY template_id LIMIT $4",
        tx.tenant_id,
        program_id,
        after,
        at_most,
    )
    return [_template(row, None) for row in rows]


async def write_template(
    tx: Transaction, template: Template, *, draft: bytes | None = None
) -> None:
    """Writes what can change of a template locked in this transaction; None leaves the draft."""
    await tx.execute(
        "UPDATE templates SET display_name = $3, draft = coalesce($4, draft), version = $5,"
        " latest_revision = $6, state = $7, update_time = $8"
        " WHERE tenant_id = $1 AND template_id = $2",
        tx.tenant_id,
        template.template_id,
        template.display_name,
        draft,
        template.version,
        template.latest_revision,
        template.state,
        template.update_time,
    )


async def insert_revision(tx: Transaction, revision: TemplateRevision, *, content: bytes) -> None:
    """Writes a revision for good; the role of the application has no right to change it."""
    await tx.execute(
        "INSERT INTO template_revisions (tenant_id, revision_id, template_id, number, content,"
        " pass_type_identifier, team_identifier, web_service_url, publish_time, sharing)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tx.tenant_id,
        revision.revision_id,
        revision.template_id,
        revision.number,
        content,
        revision.pass_type_identifier,
        revision.team_identifier,
        revision.web_service_url,
        revision.publish_time,
        None if revision.content is None else policy_to_json(revision.content.sharing),
    )


async def get_revision(
    tx: Transaction, revision_id: RevisionId, *, codec: TemplateCodec
) -> TemplateRevision:
    """The revision with its content. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT_REVISION + " WHERE r.tenant_id = $1 AND r.revision_id = $2",
        tx.tenant_id,
        revision_id,
    )
    if row is None:
        raise errors.not_found("template revision")
    return _revision(row, codec.decode(row["content"]))


async def find_numbered_revision(
    tx: Transaction, template_id: TemplateId, number: int, *, codec: TemplateCodec
) -> TemplateRevision | None:
    """A template's revision of that number with its content."""
    row = await tx.fetch_one(
        _SELECT_REVISION + " WHERE r.tenant_id = $1 AND r.template_id = $2 AND r.number = $3",
        tx.tenant_id,
        template_id,
        number,
    )
    return None if row is None else _revision(row, codec.decode(row["content"]))


async def list_revisions(
    tx: Transaction, template_id: TemplateId, *, before: int | None, at_most: int
) -> list[TemplateRevision]:
    """Revisions without contents, newest first, those with a number below `before` only."""
    rows = await tx.fetch(
        _SELECT_BARE_REVISION + " WHERE r.tenant_id = $1 AND r.template_id = $2"
        " AND ($3::int IS NULL OR r.number < $3) ORDER BY r.number DESC LIMIT $4",
        tx.tenant_id,
        template_id,
        before,
        at_most,
    )
    return [_revision(row, None) for row in rows]


async def find_revision_id(
    tx: Transaction, template_id: TemplateId, number: int
) -> RevisionId | None:
    """The id of a template's revision of that number."""
    revision_id = await tx.fetch_value(
        "SELECT revision_id FROM template_revisions"
        " WHERE tenant_id = $1 AND template_id = $2 AND number = $3",
        tx.tenant_id,
        template_id,
        number,
    )
    return None if revision_id is None else RevisionId(revision_id)


def _existing(row: asyncpg.Record | None, codec: TemplateCodec) -> Template:
    if row is None:
        raise errors.not_found("template")
    return _template(row, codec.decode(row["draft"]))


def _template(row: asyncpg.Record, draft: TemplateContent | None) -> Template:
    return Template(
        template_id=TemplateId(row["template_id"]),
        program_id=ProgramId(row["program_id"]),
        display_name=row["display_name"],
        draft=draft,
        version=row["version"],
        latest_revision=row["latest_revision"],
        state=TemplateState(row["state"]),
        create_time=row["create_time"],
        update_time=row["update_time"],
    )


def _revision(row: asyncpg.Record, content: TemplateContent | None) -> TemplateRevision:
    return TemplateRevision(
        revision_id=RevisionId(row["revision_id"]),
        template_id=TemplateId(row["template_id"]),
        program_id=ProgramId(row["program_id"]),
        number=row["number"],
        content=content,
        pass_type_identifier=row["pass_type_identifier"],
        team_identifier=row["team_identifier"],
        web_service_url=row["web_service_url"],
        publish_time=row["publish_time"],
    )
