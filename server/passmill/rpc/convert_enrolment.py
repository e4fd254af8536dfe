"""Between enrolment.proto, enrolment_service.proto and claim links."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from passmill.domain.claim_forms import ClaimAnswers, ClaimField, FieldKind
from passmill.domain.claims import (
    ClaimLink,
    ClaimLinkId,
    ClaimState,
    LinkState,
    Recovery,
    RecoveryChannel,
)
from passmill.domain.ids import parse_uuid
from passmill.errors import invalid_field, not_found
from passmill.rpc.convert_pass import pass_draft_from_proto
from passmill.rpc.convert_time import time_from, timestamp
from passmill.usecases.claim_branding import Branding
from passmill.usecases.create_claim_links import CreatedLink, WantedLink, WantedTemplate
from passmill.v1 import campaign_pb2
from passmill.v1 import enrolment_pb2 as pb

_KINDS: Final[Mapping[FieldKind, pb.ClaimField.Kind.ValueType]] = {
    FieldKind.NAME: pb.ClaimField.KIND_NAME,
    FieldKind.PHONE: pb.ClaimField.KIND_PHONE,
    FieldKind.EMAIL: pb.ClaimField.KIND_EMAIL,
    FieldKind.SLOT: pb.ClaimField.KIND_SLOT,
    FieldKind.CONSENT: pb.ClaimField.KIND_CONSENT,
}
_KIND_OF: Final = {number: kind for kind, number in _KINDS.items()}
_LINK_STATES: Final[Mapping[LinkState, pb.ClaimLink.State.ValueType]] = {
    LinkState.OPEN: pb.ClaimLink.STATE_OPEN,
    LinkState.USED_UP: pb.ClaimLink.STATE_USED_UP,
    LinkState.EXPIRED: pb.ClaimLink.STATE_EXPIRED,
    LinkState.REVOKED: pb.ClaimLink.STATE_REVOKED,
}
CLAIM_STATES: Final[Mapping[ClaimState, pb.ClaimState.ValueType]] = {
    state: pb.ClaimState.Value(f"CLAIM_STATE_{state.name}") for state in ClaimState
}
_CHANNELS: Final[Mapping[RecoveryChannel, pb.ClaimRecovery.Channel.ValueType]] = {
    RecoveryChannel.PHONE: pb.ClaimRecovery.CHANNEL_PHONE,
    RecoveryChannel.EMAIL: pb.ClaimRecovery.CHANNEL_EMAIL,
}


def link_id_from(text: str) -> ClaimLinkId:
    """A link's id. AppError NOT_FOUND for what is none."""
    parsed = parse_uuid(text)
    if parsed is None:
        raise not_found("claim link")
    return ClaimLinkId(parsed)


def wanted_link_from(message: pb.ClaimLinkDraft, *, path: str) -> WantedLink:
    """A link as asked for. AppError INVALID_FIELD."""
    gives: WantedTemplate | str = message.pass_id
    if message.WhichOneof("gives") == "template":
        template = message.template
        gives = WantedTemplate(
            template_id=template.template_id,
            revision=template.revision,
            draft=pass_draft_from_proto(template.draft),
            fields=tuple(_field_from(each) for each in template.fields),
        )
    return WantedLink(
        gives=gives,
        max_uses=max_uses_from(message, path=path),
        once_per_person=message.once_per_person,
        expire_time=time_from(message, "expire_time", path=f"{path}.expire_time"),
        campaign_id=message.campaign_id,
        source=message.source,
        utm=dict(message.utm),
        default_region=message.default_region,
    )


def max_uses_from(
    message: pb.ClaimLinkDraft | campaign_pb2.CampaignLinks, *, path: str
) -> int | None:
    """How often a link can be claimed, None for any number. AppError INVALID_FIELD."""
    if message.is_unlimited and message.max_uses:
        raise invalid_field(f"{path}.max_uses", "must be 0 where is_unlimited is set")
    return None if message.is_unlimited else message.max_uses or 1


def _field_from(message: pb.ClaimField) -> ClaimField:
    return ClaimField(
        kind=_KIND_OF[message.kind],
        name=message.name,
        label=message.label,
        is_required=message.is_required,
    )


def field_to_proto(field: ClaimField) -> pb.ClaimField:
    """A field for the wire."""
    return pb.ClaimField(
        kind=_KINDS[field.kind],
        name=field.name,
        label=field.label,
        is_required=field.is_required,
    )


def link_to_proto(link: ClaimLink, *, now: datetime) -> pb.ClaimLink:
    """A link for the wire, without what is known of its holder."""
    message = pb.ClaimLink(
        link_id=str(link.link_id),
        template_id=str(link.template_id),
        revision=link.revision_number,
        pass_id="" if link.pass_id is None else str(UUID(int=link.pass_id.int)),
        fields=[field_to_proto(each) for each in link.fields],
        max_uses=link.max_uses or 0,
        uses=link.uses,
        once_per_person=link.once_per_person,
        campaign_id="" if link.campaign_id is None else str(link.campaign_id),
        source=link.source,
        utm=link.utm,
        create_time=timestamp(link.create_time),
        state=_LINK_STATES[link.state(now)],
    )
    if link.expire_time is not None:
        message.expire_time.CopyFrom(timestamp(link.expire_time))
    if link.revoke_time is not None:
        message.revoke_time.CopyFrom(timestamp(link.revoke_time))
    return message


def created_link_to_proto(
    created: CreatedLink, *, now: datetime, public_url: str | None
) -> pb.CreatedClaimLink:
    """A link just made, with its address where there is one."""
    return pb.CreatedClaimLink(
        link=link_to_proto(created.link, now=now),
        token=created.token,
        url=claim_url(created.token, public_url),
    )


def claim_url(token: str, public_url: str | None) -> str:
    """The address of a link; '' without a token, or where the service has no address."""
    return f"{public_url}/p/{token}" if token and public_url is not None else ""


def answers_from_proto(message: pb.ClaimAnswers) -> ClaimAnswers:
    """Answers as given."""
    return ClaimAnswers(
        name=message.name,
        phone=message.phone,
        email=message.email,
        values=dict(message.values),
        consents=tuple(message.consents),
    )


def branding_to_proto(branding: Branding, logo: bytes) -> pb.ClaimBranding:
    """How a link looks, for the wire."""
    return pb.ClaimBranding(
        organization_name=branding.organization_name,
        title=branding.title,
        description=branding.description,
        background_color=branding.colors.background,
        foreground_color=branding.colors.foreground,
        label_color=branding.colors.label,
        logo=logo,
    )


def recovery_to_proto(recovery: Recovery | None) -> pb.ClaimRecovery | None:
    """How a holder is reached, for the wire."""
    if recovery is None:
        return None
    return pb.ClaimRecovery(channel=_CHANNELS[recovery.channel], hint=recovery.hint)
