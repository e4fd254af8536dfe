"""Between templates, revisions and assets and proto/passmill/v1/template_service.proto."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from passmill import errors
from passmill.domain.assets import Asset
from passmill.domain.ids import TemplateId, parse_uuid
from passmill.domain.template_life import Template, TemplateRevision, TemplateState
from passmill.domain.templates import Finding, TemplateContent
from passmill.errors import invalid_field
from passmill.rpc.convert_template import (
    BadProto,
    content_from_proto,
    content_to_proto,
    finding_to_proto,
)
from passmill.v1 import template_pb2, template_service_pb2

_STATES: Final[Mapping[TemplateState, template_service_pb2.Template.State.ValueType]] = {
    TemplateState.ACTIVE: template_service_pb2.Template.STATE_ACTIVE,
    TemplateState.ARCHIVED: template_service_pb2.Template.STATE_ARCHIVED,
}


def content_from(message: template_pb2.TemplateContent, *, path: str) -> TemplateContent:
    """The content that stands at `path` in a request. AppError INVALID_FIELD."""
    try:
        return content_from_proto(message)
    except BadProto as error:
        raise invalid_field(f"{path}.{error.path}", error.message) from None


def template_to_proto(template: Template) -> template_service_pb2.Template:
    """A template for the wire, with the draft when it has been read."""
    message = template_service_pb2.Template(
        template_id=str(template.template_id),
        program_id=str(template.program_id),
        display_name=template.display_name,
        content=None if template.draft is None else content_to_proto(template.draft),
        latest_revision=template.latest_revision,
        state=_STATES[template.state],
        etag=template.etag,
    )
    message.create_time.FromDatetime(template.create_time)
    message.update_time.FromDatetime(template.update_time)
    return message


def revision_to_proto(revision: TemplateRevision) -> template_service_pb2.TemplateRevision:
    """A revision for the wire, with the content when it has been read."""
    message = template_service_pb2.TemplateRevision(
        template_id=str(revision.template_id),
        revision=revision.number,
        content=None if revision.content is None else content_to_proto(revision.content),
        pass_type_identifier=revision.pass_type_identifier,
        team_identifier=revision.team_identifier,
    )
    message.publish_time.FromDatetime(revision.publish_time)
    return message


def asset_to_proto(asset: Asset) -> template_service_pb2.Asset:
    """An asset for the wire."""
    return template_service_pb2.Asset(
        asset_id=asset.asset_id,
        width=asset.width,
        height=asset.height,
        size_bytes=asset.size_bytes,
    )


def findings_to_proto(findings: Sequence[Finding]) -> list[template_pb2.Finding]:
    """Findings for the wire, in their order."""
    return [finding_to_proto(finding) for finding in findings]


def template_id_from(text: str) -> TemplateId:
    """The id that a request names. AppError NOT_FOUND when it spells none."""
    parsed = parse_uuid(text)
    if parsed is None:
        raise errors.not_found("template")
    return TemplateId(parsed)
