"""`passmill campaign create`: a campaign over passes that there are, chosen by a segment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from passmill.cli.campaign import steering, watching
from passmill.cli.campaign.cells import BadCell, Reading, put_into_slot
from passmill.cli.campaign.errors import CommandFailed
from passmill_client import Client, Value, messages
from passmill_client.values import to_timestamp

_CONDITION = re.compile(r"([a-z][a-z0-9_]*)(>=|<|=)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentOptions:
    """Which passes: everything given narrows it. `where`: conditions such as points>=100."""

    program_id: str
    template_id: str
    revision: int
    issued_from: datetime | None
    issued_before: datetime | None
    campaign_id: str
    external_id_system: str
    tags: Sequence[str]
    tiers: Sequence[str]
    seen_since: datetime | None
    seen_before: datetime | None
    never_seen: bool
    where: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """What is done to them. `set`: slot and value of each --set."""

    action: str
    name: str
    template_id: str
    revision: int
    set: Sequence[tuple[str, str]]
    slot: str
    message: str
    reason: str
    segment: SegmentOptions
    reading: Reading
    priority: messages.Campaign.Priority.ValueType
    rollout: messages.RolloutPlan | None
    start: bool
    watch: bool


def run(client: Client, options: CreateOptions) -> int:
    """Makes the campaign, shows what it would do, and starts it if that was asked for."""
    campaign = client.create_campaign(
        options.name or options.action,
        action=_action(client, options),
        segment=_segment(client, options),
        priority=options.priority,
        rollout=options.rollout,
    )
    campaign_id = campaign.campaign_id
    print(campaign_id)
    if not options.start:
        print("Not started. This is what it would do:")
        steering.preview(client, campaign_id)
        print(f"passmill campaign start {campaign_id} starts it.")
        return 0
    client.start_campaign(campaign_id)
    return watching.run(client, campaign_id) if options.watch else 0


def _action(
    client: Client, options: CreateOptions
) -> messages.UpdateAction | messages.VoidAction | messages.NotifyAction:
    if options.action == "void":
        return messages.VoidAction(reason=options.reason)
    if not options.template_id:
        raise CommandFailed("Give --template: whose passes are meant.")
    if options.action == "notify":
        if not (options.slot and options.message):
            raise CommandFailed("Give --slot, the text slot that carries it, and --message.")
        return messages.NotifyAction(
            template_id=options.template_id, slot=options.slot, message=options.message
        )
    action = messages.UpdateAction(template_id=options.template_id, revision=options.revision)
    if options.set:
        slots = _slots(client, options.template_id, options.revision)
        for name, text in options.set:
            _put(action.values, slots, name, text, options.reading)
    return action


def _segment(client: Client, options: CreateOptions) -> messages.Segment:
    chosen = options.segment
    segment = messages.Segment(
        program_id=chosen.program_id,
        template_id=chosen.template_id or options.template_id,
        revision=chosen.revision,
        create_time_from=to_timestamp(chosen.issued_from),
        create_time_before=to_timestamp(chosen.issued_before),
        campaign_id=chosen.campaign_id,
        external_id_system=chosen.external_id_system,
        tags=chosen.tags,
        tiers=chosen.tiers,
    )
    if chosen.seen_since or chosen.seen_before or chosen.never_seen:
        segment.last_seen.CopyFrom(
            messages.LastSeen(
                since=to_timestamp(chosen.seen_since),
                before=to_timestamp(chosen.seen_before),
                never=chosen.never_seen,
            )
        )
    if segment == messages.Segment() and not chosen.where:
        raise CommandFailed(
            "This would be every pass there is: narrow it, for instance with --in-program."
        )
    if chosen.where:
        if not segment.template_id:
            raise CommandFailed("--where needs --in-template: it says what the values are.")
        slots = _slots(client, segment.template_id, chosen.revision)
        for text in chosen.where:
            _add_condition(segment, text, slots, options.reading)
    return segment


def _add_condition(
    segment: messages.Segment,
    text: str,
    slots: dict[str, messages.Slot],
    reading: Reading,
) -> None:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise CommandFailed(f"--where {text!r}: write SLOT=VALUE, SLOT>=VALUE or SLOT<VALUE.")
    name, operator, cell = found.groups()
    read = messages.UpdateAction()
    _put(read.values, slots, name, cell, reading)
    condition = next((each for each in segment.values if each.slot == name), None)
    if condition is None:
        condition = segment.values.add(slot=name)
    match operator:
        case "=":
            condition.any_of.append(read.values[name])
        case ">=":
            condition.at_least.CopyFrom(read.values[name])
        case _:
            condition.less_than.CopyFrom(read.values[name])


def _put(
    values: Mapping[str, Value],
    slots: dict[str, messages.Slot],
    name: str,
    text: str,
    reading: Reading,
) -> None:
    if name not in slots:
        raise CommandFailed(f"The template has no slot {name!r}. It has: {', '.join(slots)}.")
    try:
        put_into_slot(slots[name], reading)(values, text)
    except BadCell as error:
        raise CommandFailed(f"{name}: {text!r} {error}") from None


def _slots(client: Client, template_id: str, revision: int) -> dict[str, messages.Slot]:
    found = client.get_template_revision(template_id, revision=revision)
    return {slot.name: slot for slot in found.content.slots}
