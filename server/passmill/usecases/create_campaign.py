"""Make a campaign: what it does is pinned here, to whom is said by recipients or a segment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, assert_never

from passmill.domain.callers import Caller
from passmill.domain.campaigns import (
    Campaign,
    CampaignAction,
    CampaignState,
    Definition,
    IssueAction,
    NotifyAction,
    PinnedRevision,
    Priority,
    RolloutPlan,
    Segment,
    UpdateAction,
    VoidAction,
)
from passmill.domain.claims import LinkPlan
from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import CampaignId, TemplateId, new_uuid
from passmill.domain.passes import Holder, PassDraft
from passmill.domain.segments import check_conditions, check_tiers
from passmill.domain.template_life import TemplateCodec
from passmill.domain.templates import TemplateContent, tells_changes
from passmill.domain.values import InvalidValue, SlotType, Value, admit_value
from passmill.errors import AppError, FieldError, Reason, invalid_field
from passmill.signing.revisions import LoadedRevision
from passmill.store.campaigns import get_campaign, insert_campaign
from passmill.store.database import Database, Transaction
from passmill.store.outbox import insert_event
from passmill.store.programs import get_program
from passmill.store.segments import read_ladders, read_revision_slots
from passmill.store.templates import get_bare_template
from passmill.usecases.campaign_view import CampaignView, view_campaign
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.pass_content import check_draft


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedIssue:
    """Issue from a template's revision; 0 means the newest. `links`: to be made to the passes."""

    template_id: str
    revision: int
    links: LinkPlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedUpdate:
    """Move a template's passes to a revision, 0 meaning the newest, and set values.

    `problems`: of values that could not even be read.
    """

    template_id: str
    revision: int
    values: Mapping[str, Value]
    problems: Sequence[FieldError] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedNotice:
    """Show a message by a text slot of a template's passes."""

    template_id: str
    slot: str
    message: str


WantedAction: TypeAlias = WantedIssue | WantedUpdate | VoidAction | WantedNotice


class CreateCampaign:
    """Makes a draft."""

    __slots__ = ("_clock", "_codec", "_database", "_load_revision", "_mutator")

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        clock: Clock,
        codec: TemplateCodec,
        load_revision: LoadRevision,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._clock = clock
        self._codec = codec
        self._load_revision = load_revision

    async def __call__(
        self,
        mutation: Mutation[CampaignView],
        *,
        display_name: str,
        action: WantedAction,
        segment: Segment | None,
        priority: Priority,
        rollout: RolloutPlan,
    ) -> Answer:
        """The answer with the campaign.

        AppError NOT_FOUND, TEMPLATE_ARCHIVED, PROGRAM_ARCHIVED, REVISION_NOT_PUBLISHED,
        INVALID_VALUES of the action's own values, INVALID_FIELD of its claim links,
        INVALID_CAMPAIGN.
        """
        name = admit_display_name(display_name, path="display_name")
        try:
            definition = Definition(
                action=await self._pin(mutation.caller, action), segment=segment, rollout=rollout
            )
            await self._check_segment(mutation.caller, definition)
        except AppError:
            # What was made stays made, even if the same request would be refused today.
            if kept := await self._mutator.replay(mutation):
                return kept
            raise

        async def work(tx: Transaction) -> CampaignView:
            now = self._clock.now()
            campaign = Campaign(
                campaign_id=CampaignId(new_uuid()),
                display_name=name,
                definition=definition,
                state=CampaignState.DRAFT,
                state_reason="",
                priority=priority,
                version=1,
                total=0,
                invalid=0,
                first_reference=0,
                void_issued=False,
                rolls_back=None,
                create_time=now,
                start_time=None,
                end_time=None,
            )
            await insert_campaign(tx, campaign)
            detail = json.dumps({"campaign_id": str(campaign.campaign_id)})
            await insert_event(tx, kind="campaign.created", pass_ids=[], detail=detail, now=now)
            return await view_campaign(tx, campaign, now=now)

        return await self._mutator.run(mutation, work)

    async def _pin(self, caller: Caller, wanted: WantedAction) -> CampaignAction:
        match wanted:
            case VoidAction():
                return wanted
            case WantedIssue():
                if wanted.links is not None:
                    _check_links(wanted.links, self._clock.now())
                loaded = await self._load(caller, wanted.template_id, wanted.revision)
                return IssueAction(revision=_pinned(loaded), links=wanted.links)
            case WantedUpdate():
                loaded = await self._load(caller, wanted.template_id, wanted.revision)
                draft = PassDraft(
                    holder=Holder(),
                    values=wanted.values,
                    expire_time=None,
                    problems=tuple(wanted.problems),
                )
                checked = check_draft(loaded, draft, path="action.update", partial=True)
                return UpdateAction(revision=_pinned(loaded), values=checked.slot_values)
            case WantedNotice():
                loaded = await self._load(caller, wanted.template_id, 0)
                message = _check_notice(loaded.content, wanted)
                return NotifyAction(revision=_pinned(loaded), slot=wanted.slot, message=message)
            case _:
                assert_never(wanted)

    async def _load(self, caller: Caller, template_id: str, number: int) -> LoadedRevision:
        return await self._load_revision.for_issue(caller, template_id, number)

    async def _check_segment(self, caller: Caller, definition: Definition) -> None:
        segment = definition.segment
        if segment is None:
            return
        async with self._database.transaction(caller, read_only=True) as tx:
            if segment.program_id is not None:
                await get_program(tx, segment.program_id)
            if segment.template_id is not None:
                await get_bare_template(tx, segment.template_id)
            if segment.campaign_id is not None:
                (await get_campaign(tx, segment.campaign_id)).require_remembered()
            slots = await read_revision_slots(
                tx,
                program_id=segment.program_id,
                template_id=segment.template_id,
                number=segment.revision,
                codec=self._codec,
            )
            ladders = await read_ladders(
                tx,
                segment.tiers,
                program_id=segment.program_id,
                template_id=_met_template(definition.action, segment),
            )
        if isinstance(definition.action, IssueAction):
            raise _invalid("segment", "passes are issued to recipients; leave the segment out")
        check_conditions(segment.values, slots)
        check_tiers(segment.tiers, ladders)


def _met_template(action: CampaignAction, segment: Segment) -> TemplateId | None:
    """The one template whose passes can be meant; None where it may be any."""
    if segment.template_id is None and isinstance(action, UpdateAction | NotifyAction):
        return action.revision.template_id
    return segment.template_id


def _pinned(loaded: LoadedRevision) -> PinnedRevision:
    revision = loaded.revision
    return PinnedRevision(
        template_id=revision.template_id, revision_id=revision.revision_id, number=revision.number
    )


def _check_links(plan: LinkPlan, now: datetime) -> None:
    if plan.expire_time is not None and plan.expire_time <= now:
        raise invalid_field("action.issue.claim_links.expire_time", "must be in the future")


def _check_notice(content: TemplateContent, wanted: WantedNotice) -> str:
    """The message to set, where a lock screen would show it."""
    path = "action.notify.slot"
    slot = next((slot for slot in content.slots if slot.name == wanted.slot), None)
    if slot is None:
        raise _invalid(path, "the template has no slot of this name")
    if slot.type is not SlotType.TEXT:
        raise _invalid(path, "the slot does not hold text")
    if not tells_changes(content, slot.name):
        raise _invalid(path, "no field with a change message shows this slot")
    try:
        message = admit_value(slot, wanted.message)
    except InvalidValue as error:
        raise _invalid("action.notify.message", str(error)) from None
    return str(message)


def _invalid(path: str, message: str) -> AppError:
    return AppError(
        reason=Reason.INVALID_CAMPAIGN,
        message=f"{path}: {message}",
        fields=(FieldError(path=path, message=message),),
    )
