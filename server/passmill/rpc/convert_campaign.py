"""Between proto/passmill/v1/campaign.proto and the campaign domain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from passmill.domain.campaigns import (
    CampaignAction,
    CampaignState,
    IssueAction,
    LastSeen,
    NotifyAction,
    Priority,
    Progress,
    RolloutPlan,
    Segment,
    UpdateAction,
    ValueCondition,
    VoidAction,
)
from passmill.domain.claims import LinkPlan
from passmill.domain.ids import ProgramId, TemplateId, parse_uuid
from passmill.domain.money import Money
from passmill.domain.tags import canonical_tags
from passmill.domain.values import Value, value_to_json
from passmill.errors import invalid_field, not_found
from passmill.rpc.convert_enrolment import max_uses_from
from passmill.rpc.convert_template import (
    value_from_proto,
    value_to_proto,
    values_from_proto,
    values_to_proto,
)
from passmill.rpc.convert_time import time_from, timestamp
from passmill.usecases.campaign_view import CampaignView
from passmill.usecases.create_campaign import WantedAction, WantedIssue, WantedNotice, WantedUpdate
from passmill.usecases.preview_campaign import CampaignPreview
from passmill.usecases.start_campaign import parse_campaign_id
from passmill.v1 import campaign_pb2, campaign_service_pb2, template_pb2

_STATES: Final = {
    state: campaign_pb2.Campaign.State.Value(f"STATE_{state.name}") for state in CampaignState
}
_PRIORITIES: Final = {
    priority: campaign_pb2.Campaign.Priority.Value(f"PRIORITY_{priority.name}")
    for priority in Priority
}


def state_from_proto(number: campaign_pb2.Campaign.State.ValueType) -> CampaignState | None:
    """A state, None for the unspecified one."""
    return next((state for state, each in _STATES.items() if each == number), None)


def priority_from_proto(number: campaign_pb2.Campaign.Priority.ValueType) -> Priority:
    """A priority, the normal one for the unspecified."""
    return next((each for each, value in _PRIORITIES.items() if value == number), Priority.NORMAL)


def action_from_proto(message: campaign_pb2.CampaignAction) -> WantedAction:
    """What a campaign shall do."""
    match message.WhichOneof("action"):
        case "issue":
            issue = message.issue
            return WantedIssue(
                template_id=issue.template_id,
                revision=issue.revision,
                links=_links_from(issue.claim_links) if issue.HasField("claim_links") else None,
            )
        case "update":
            update = message.update
            values, problems = values_from_proto(update.values)
            return WantedUpdate(
                template_id=update.template_id,
                revision=update.revision,
                values=values,
                problems=problems,
            )
        case "void":
            return VoidAction(reason=message.void.reason)
        case _:
            notice = message.notify
            return WantedNotice(
                template_id=notice.template_id, slot=notice.slot, message=notice.message
            )


def _links_from(message: campaign_pb2.CampaignLinks) -> LinkPlan:
    path = "action.issue.claim_links"
    return LinkPlan(
        max_uses=max_uses_from(message, path=path),
        lifetime_days=message.lifetime_days or None,
        expire_time=time_from(message, "expire_time", path=f"{path}.expire_time"),
        source=message.source,
        utm=dict(message.utm),
    )


def segment_from_proto(message: campaign_pb2.Segment) -> Segment:
    """Which passes are meant. AppError NOT_FOUND for an id that is none, INVALID_FIELD for a value
    that cannot be read."""
    program_id = parse_uuid(message.program_id) if message.program_id else None
    template_id = parse_uuid(message.template_id) if message.template_id else None
    if message.program_id and program_id is None:
        raise not_found("program")
    if message.template_id and template_id is None:
        raise not_found("template")
    return Segment(
        program_id=None if program_id is None else ProgramId(program_id),
        template_id=None if template_id is None else TemplateId(template_id),
        revision=message.revision or None,
        created_from=time_from(message, "create_time_from", path="segment.create_time_from"),
        created_before=time_from(message, "create_time_before", path="segment.create_time_before"),
        campaign_id=parse_campaign_id(message.campaign_id) if message.campaign_id else None,
        external_id_system=message.external_id_system or None,
        tags=canonical_tags(message.tags),
        tiers=tuple(message.tiers),
        last_seen=_last_seen(message.last_seen) if message.HasField("last_seen") else None,
        values=tuple(
            _condition(each, path=f"segment.values[{index}]")
            for index, each in enumerate(message.values)
        ),
    )


def _last_seen(message: campaign_pb2.LastSeen) -> LastSeen:
    return LastSeen(
        since=time_from(message, "since", path="segment.last_seen.since"),
        before=time_from(message, "before", path="segment.last_seen.before"),
        never=message.never,
    )


def _condition(message: campaign_pb2.ValueCondition, *, path: str) -> ValueCondition:
    any_of = [
        json.loads(_stored(each, path=f"{path}.any_of[{index}]"))
        for index, each in enumerate(message.any_of)
    ]
    return ValueCondition(
        slot=message.slot,
        any_of=_dump(any_of) if any_of else "",
        at_least=_stored(message.at_least, path=f"{path}.at_least")
        if message.HasField("at_least")
        else "",
        less_than=_stored(message.less_than, path=f"{path}.less_than")
        if message.HasField("less_than")
        else "",
    )


def _stored(message: template_pb2.Value, *, path: str) -> str:
    try:
        return _dump(value_to_json(value_from_proto(message)))
    except ValueError as error:
        raise invalid_field(path, str(error)) from None


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def rollout_from_proto(message: campaign_pb2.RolloutPlan) -> RolloutPlan:
    """How a campaign shall go on."""
    return RolloutPlan(
        canary_ppm=message.canary_ppm,
        canary_seconds=message.canary_seconds,
        recipients_per_minute=message.recipients_per_minute,
        halt_above_failed_ppm=message.halt_above_failed_ppm,
    )


def campaign_to_proto(
    view: CampaignView, *, values: Mapping[str, Value] | None = None
) -> campaign_pb2.Campaign:
    """A campaign for the wire. `values`: of its update action, where they are at hand."""
    campaign, definition = view.campaign, view.campaign.definition
    message = campaign_pb2.Campaign(
        campaign_id=str(campaign.campaign_id),
        display_name=campaign.display_name,
        action=_action_to_proto(definition.action, values or {}),
        state=_STATES[campaign.state],
        priority=_PRIORITIES[campaign.priority],
        state_reason=campaign.state_reason,
        progress=_progress_to_proto(view.progress),
        create_time=timestamp(campaign.create_time),
        etag=campaign.etag,
        recipients_deleted=campaign.is_forgotten,
        rolls_back_campaign_id="" if campaign.rolls_back is None else str(campaign.rolls_back),
    )
    if definition.segment is not None:
        message.segment.CopyFrom(_segment_to_proto(definition.segment))
    if definition.rollout != RolloutPlan():
        message.rollout.CopyFrom(_rollout_to_proto(definition.rollout))
    if campaign.start_time is not None:
        message.start_time.CopyFrom(timestamp(campaign.start_time))
    if campaign.end_time is not None:
        message.end_time.CopyFrom(timestamp(campaign.end_time))
    return message


def _action_to_proto(
    action: CampaignAction, values: Mapping[str, Value]
) -> campaign_pb2.CampaignAction:
    message = campaign_pb2.CampaignAction()
    match action:
        case IssueAction():
            message.issue.template_id = str(action.revision.template_id)
            message.issue.revision = action.revision.number
            if action.links is not None:
                message.issue.claim_links.CopyFrom(_links_to_proto(action.links))
        case UpdateAction():
            message.update.template_id = str(action.revision.template_id)
            message.update.revision = action.revision.number
            for name, value in values_to_proto(values).items():
                message.update.values[name].CopyFrom(value)
        case VoidAction():
            message.void.SetInParent()
            message.void.reason = action.reason
        case NotifyAction():
            message.notify.template_id = str(action.revision.template_id)
            message.notify.slot = action.slot
            message.notify.message = action.message
    return message


def _links_to_proto(plan: LinkPlan) -> campaign_pb2.CampaignLinks:
    message = campaign_pb2.CampaignLinks(
        max_uses=plan.max_uses or 0,
        is_unlimited=plan.max_uses is None,
        source=plan.source,
        utm=plan.utm,
    )
    if plan.lifetime_days is not None:
        message.lifetime_days = plan.lifetime_days
    if plan.expire_time is not None:
        message.expire_time.CopyFrom(timestamp(plan.expire_time))
    return message


def _segment_to_proto(segment: Segment) -> campaign_pb2.Segment:
    message = campaign_pb2.Segment(
        program_id=_text(segment.program_id),
        template_id=_text(segment.template_id),
        revision=segment.revision or 0,
        campaign_id=_text(segment.campaign_id),
        external_id_system=segment.external_id_system or "",
        tags=segment.tags,
        tiers=segment.tiers,
        values=[_condition_to_proto(each) for each in segment.values],
    )
    if segment.last_seen is not None:
        message.last_seen.SetInParent()
        message.last_seen.never = segment.last_seen.never
        if segment.last_seen.since is not None:
            message.last_seen.since.CopyFrom(timestamp(segment.last_seen.since))
        if segment.last_seen.before is not None:
            message.last_seen.before.CopyFrom(timestamp(segment.last_seen.before))
    if segment.created_from is not None:
        message.create_time_from.CopyFrom(timestamp(segment.created_from))
    if segment.created_before is not None:
        message.create_time_before.CopyFrom(timestamp(segment.created_before))
    return message


def _condition_to_proto(condition: ValueCondition) -> campaign_pb2.ValueCondition:
    message = campaign_pb2.ValueCondition(
        slot=condition.slot,
        any_of=[_untyped(each) for each in json.loads(condition.any_of or "[]")],
    )
    if condition.at_least:
        message.at_least.CopyFrom(_untyped(json.loads(condition.at_least)))
    if condition.less_than:
        message.less_than.CopyFrom(_untyped(json.loads(condition.less_than)))
    return message


def _untyped(stored: object) -> template_pb2.Value:
    """A condition's value. Which type a text is of its slot says, and every revision has its own:
    a decimal and an instant are shown as text, which is taken for them too."""
    match stored:
        case bool() | int() | str():
            return value_to_proto(stored)
        case [int(minor_units), str(currency)]:
            return value_to_proto(Money(minor_units=minor_units, currency=currency))
    raise ValueError("a stored condition is no value")


def _rollout_to_proto(plan: RolloutPlan) -> campaign_pb2.RolloutPlan:
    return campaign_pb2.RolloutPlan(
        canary_ppm=plan.canary_ppm,
        canary_seconds=plan.canary_seconds,
        recipients_per_minute=plan.recipients_per_minute,
        halt_above_failed_ppm=plan.halt_above_failed_ppm,
    )


def _progress_to_proto(progress: Progress) -> campaign_pb2.CampaignProgress:
    message = campaign_pb2.CampaignProgress(
        total=progress.total,
        succeeded=progress.succeeded,
        invalid=progress.invalid,
        failed=progress.failed,
        duplicate=progress.duplicate,
        skipped=progress.skipped,
        voided=progress.voided,
        shards=progress.shards,
        shards_done=progress.shards_done,
        rate=progress.rate,
        failures=[
            campaign_pb2.FailureCount(reason=reason, count=count)
            for reason, count in sorted(progress.failures.items(), key=lambda each: -each[1])
        ],
    )
    if progress.estimated_end_time is not None:
        message.estimated_end_time.CopyFrom(timestamp(progress.estimated_end_time))
    return message


def _text(identifier: object) -> str:
    return "" if identifier is None else str(identifier)


def preview_to_proto(preview: CampaignPreview) -> campaign_service_pb2.PreviewCampaignResponse:
    """What a campaign would do, for the wire."""
    return campaign_service_pb2.PreviewCampaignResponse(
        recipients=preview.recipients,
        invalid=preview.invalid,
        unchanged=preview.unchanged,
        changes=[
            campaign_service_pb2.FieldChange(
                key=each.key, count=each.count, lock_screen_message=each.lock_screen_message
            )
            for each in preview.changes
        ],
        previews=[
            campaign_service_pb2.PassPreview(
                external_id=each.external_id,
                pass_id=_text(each.pass_id),
                pass_json=each.pass_json.decode(),
                reason=each.reason,
            )
            for each in preview.previews
        ],
    )
