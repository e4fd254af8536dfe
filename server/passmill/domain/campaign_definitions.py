"""How a campaign's definition is stored: JSON that this release and later ones read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from passmill.domain.campaigns import (
    CampaignAction,
    Definition,
    IssueAction,
    LastSeen,
    NotifyAction,
    PinnedRevision,
    RolloutPlan,
    Segment,
    UpdateAction,
    ValueCondition,
    VoidAction,
    action_kind,
)
from passmill.domain.claims import LinkPlan
from passmill.domain.ids import CampaignId, ProgramId, RevisionId, TemplateId


def definition_to_json(definition: Definition) -> str:
    """The stored form."""
    action = definition.action
    stored: dict[str, object] = {"kind": action_kind(action).name.lower()}
    if not isinstance(action, VoidAction):
        stored["revision"] = [
            str(action.revision.template_id),
            action.revision.revision_id,
            action.revision.number,
        ]
    match action:
        case UpdateAction():
            stored["values"] = action.values
        case VoidAction():
            stored["reason"] = action.reason
        case NotifyAction():
            stored |= {"slot": action.slot, "message": action.message}
        case IssueAction():
            if action.links is not None:
                stored["links"] = _links_json(action.links)
    plan = definition.rollout
    return json.dumps(
        {
            "action": stored,
            "segment": None if definition.segment is None else _segment_json(definition.segment),
            "rollout": [
                plan.canary_ppm,
                plan.canary_seconds,
                plan.recipients_per_minute,
                plan.halt_above_failed_ppm,
            ],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def _links_json(plan: LinkPlan) -> dict[str, object]:
    return {
        "max_uses": plan.max_uses,
        "lifetime_days": plan.lifetime_days,
        "expire_time": _moment(plan.expire_time),
        "source": plan.source,
        "utm": dict(plan.utm),
    }


def _segment_json(segment: Segment) -> dict[str, object]:
    return {
        "program_id": _text(segment.program_id),
        "template_id": _text(segment.template_id),
        "revision": segment.revision,
        "created_from": _moment(segment.created_from),
        "created_before": _moment(segment.created_before),
        "campaign_id": _text(segment.campaign_id),
        "external_id_system": segment.external_id_system,
        "tags": list(segment.tags),
        "tiers": list(segment.tiers),
        "last_seen": None if segment.last_seen is None else _last_seen_json(segment.last_seen),
        "values": [
            [each.slot, each.any_of, each.at_least, each.less_than] for each in segment.values
        ],
    }


def _last_seen_json(last_seen: LastSeen) -> list[object]:
    return [_moment(last_seen.since), _moment(last_seen.before), last_seen.never]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _text(identifier: object) -> str | None:
    return None if identifier is None else str(identifier)


def definition_from_json(text: str) -> Definition:
    """What `definition_to_json` wrote. ValueError, KeyError or TypeError for anything else."""
    stored = json.loads(text)
    segment = stored["segment"]
    return Definition(
        action=_action(stored["action"]),
        segment=None if segment is None else _segment(segment),
        rollout=RolloutPlan(
            canary_ppm=stored["rollout"][0],
            canary_seconds=stored["rollout"][1],
            recipients_per_minute=stored["rollout"][2],
            halt_above_failed_ppm=stored["rollout"][3],
        ),
    )


def _action(stored: Mapping[str, Any]) -> CampaignAction:
    if stored["kind"] == "void":
        return VoidAction(reason=stored["reason"])
    revision = _revision(stored["revision"])
    match stored["kind"]:
        case "issue":
            return IssueAction(revision=revision, links=_links(stored.get("links")))
        case "update":
            return UpdateAction(revision=revision, values=stored["values"])
        case "notify":
            return NotifyAction(revision=revision, slot=stored["slot"], message=stored["message"])
        case kind:
            raise ValueError(f"no campaign does {kind!r}")


def _links(stored: Mapping[str, Any] | None) -> LinkPlan | None:
    if stored is None:
        return None
    expire_time = stored["expire_time"]
    return LinkPlan(
        max_uses=stored["max_uses"],
        lifetime_days=stored["lifetime_days"],
        expire_time=None if expire_time is None else datetime.fromisoformat(expire_time),
        source=stored["source"],
        utm=stored["utm"],
    )


def _revision(stored: Sequence[Any]) -> PinnedRevision:
    template_id, revision_id, number = stored
    return PinnedRevision(
        template_id=TemplateId(UUID(template_id)),
        revision_id=RevisionId(revision_id),
        number=number,
    )


def _segment(stored: Mapping[str, Any]) -> Segment:
    def uuid(name: str) -> UUID | None:
        return None if stored[name] is None else UUID(stored[name])

    def time(name: str) -> datetime | None:
        return None if stored[name] is None else datetime.fromisoformat(stored[name])

    program_id, template_id = uuid("program_id"), uuid("template_id")
    campaign_id = uuid("campaign_id")
    return Segment(
        program_id=None if program_id is None else ProgramId(program_id),
        template_id=None if template_id is None else TemplateId(template_id),
        revision=stored["revision"],
        created_from=time("created_from"),
        created_before=time("created_before"),
        campaign_id=None if campaign_id is None else CampaignId(campaign_id),
        external_id_system=stored["external_id_system"],
        tags=tuple(stored.get("tags") or ()),
        tiers=tuple(stored.get("tiers") or ()),
        last_seen=_last_seen(stored.get("last_seen")),
        values=tuple(
            ValueCondition(slot=slot, any_of=any_of, at_least=at_least, less_than=less_than)
            for slot, any_of, at_least, less_than in stored["values"]
        ),
    )


def _last_seen(stored: Sequence[Any] | None) -> LastSeen | None:
    if stored is None:  # also of a campaign made before there was such a filter
        return None
    since, before, never = stored
    return LastSeen(
        since=None if since is None else datetime.fromisoformat(since),
        before=None if before is None else datetime.fromisoformat(before),
        never=never,
    )
