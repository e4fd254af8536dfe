"""Say what a campaign would do, and do none of it: how many it is about, what would change on the
first ten passes, and what their lock screens would say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, assert_never

from passmill.domain.apple.field_changes import compare_fields
from passmill.domain.barcodes import SAMPLE_SEAL
from passmill.domain.callers import Caller
from passmill.domain.campaigns import (
    Campaign,
    IssueAction,
    NotifyAction,
    RecipientStream,
    Shard,
    ShardKind,
    ShardState,
    UpdateAction,
    VoidAction,
)
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, SigningIdentityId, new_uuid
from passmill.domain.passes import Holder, PassState, WalletPass, next_signing_time
from passmill.domain.reference_ids import ReferenceNumber
from passmill.domain.template_life import TemplateCodec
from passmill.domain.values import values_from_json
from passmill.errors import AppError, not_found
from passmill.signing.revisions import LoadedRevision
from passmill.store import campaigns, changed_passes, recipient_streams
from passmill.store.balance_units import ledger_slots
from passmill.store.database import Database, Transaction
from passmill.store.passes import ListedPass
from passmill.usecases.alterations import (
    Alter,
    Revisions,
    altered_by_notice,
    altered_by_roll_back,
    altered_by_update,
    altered_by_voiding,
)
from passmill.usecases.changed_pass import make_change
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import PassContents, TenantContent, size_refused
from passmill.usecases.segment_pages import open_segment
from passmill.usecases.shard_targets import (
    Target,
    read_issued_targets,
    read_targets,
    read_undo_targets,
)
from passmill.usecases.start_campaign import parse_campaign_id

_PREVIEWS: Final = 10
_LOOKED_AT_ONCE: Final = 1_000
_MAX_LOOKS: Final = 20  # at streams that begin with recipients who were refused
_TOKEN: Final = re.compile(rb'"authenticationToken":"[^"\\]*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """A field that would change on `count` of the passes looked at; the message is one of
    theirs."""

    key: str
    count: int
    lock_screen_message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PassPreview:
    """A pass as it would be. `pass_id` None: it is yet to be issued. `pass_json` is empty where
    `reason` says why there would be none: an error's reason and message."""

    external_id: str
    pass_id: PassId | None
    pass_json: bytes
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPreview:
    """What a campaign would do. `recipients`: the valid ones, or passes that its segment would
    choose now; `unchanged`: of those looked at."""

    recipients: int
    invalid: int
    unchanged: int
    changes: Sequence[FieldChange]
    previews: Sequence[PassPreview]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Audience:
    recipients: int
    invalid: int
    targets: Sequence[Target]


@dataclass(slots=True, kw_only=True)
class _Collected:
    """What the passes looked at by now gave."""

    unchanged: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    previews: list[PassPreview] = field(default_factory=list)

    def compare(self, before: bytes, after: bytes) -> None:
        """Counts the fields that differ."""
        for each in compare_fields(before, after):
            self.counts[each.key] = self.counts.get(each.key, 0) + 1
            if each.lock_screen_message:
                self.messages.setdefault(each.key, each.lock_screen_message)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A recipient, its pass as it was found, and what is to be done to it."""

    target: Target
    listed: ListedPass | None
    alter: Alter


class PreviewCampaign:
    """The dry run of a campaign, whatever state it is in."""

    def __init__(
        self,
        *,
        database: Database,
        load_revision: LoadRevision,
        contents: PassContents,
        codec: TemplateCodec,
        clock: Clock,
    ) -> None:
        self._database = database
        self._load_revision = load_revision
        self._contents = contents
        self._codec = codec
        self._clock = clock

    async def __call__(self, caller: Caller, *, campaign_id: str) -> CampaignPreview:
        """What it would do. AppError NOT_FOUND; DEADLINE_EXCEEDED when a segment is too large to be
        counted in time."""
        wanted = parse_campaign_id(campaign_id)
        async with self._database.transaction(caller, read_only=True) as tx:
            campaign = await campaigns.get_campaign(tx, wanted)
            audience = await self._audience(tx, campaign)
            found = await changed_passes.read_passes(tx, [t.pass_id for t in audience.targets])
        collected = _Collected()
        action = campaign.definition.action
        if isinstance(action, IssueAction):
            content = await self._contents.of(caller)
            loaded = await self._load_revision.by_id(caller, action.revision.revision_id)
            for target in audience.targets:
                collected.previews.append(_issued(target, loaded, content, self._clock.now()))
        else:
            alter = await self._alter(caller, campaign)
            revisions = await self._revisions(caller, campaign, audience.targets, found)
            content = await self._contents.to_make(caller, revisions.values())
            for target in audience.targets:
                look = _Look(target=target, listed=found.get(target.pass_id), alter=alter)
                collected.previews.append(
                    _changed(look, revisions, content, collected, now=self._clock.now())
                )
        is_compared = isinstance(action, UpdateAction | NotifyAction)
        return CampaignPreview(
            recipients=audience.recipients,
            invalid=audience.invalid,
            unchanged=collected.unchanged if is_compared else 0,
            changes=[
                FieldChange(
                    key=key, count=count, lock_screen_message=collected.messages.get(key, "")
                )
                for key, count in collected.counts.items()
                if is_compared
            ],
            previews=collected.previews,
        )

    async def _audience(self, tx: Transaction, campaign: Campaign) -> _Audience:
        streams = await recipient_streams.list_streams(tx, campaign.campaign_id)
        if campaign.definition.segment is not None and not streams:
            return await self._segment_audience(tx, campaign)
        return _Audience(
            recipients=sum(each.next_offset - each.invalid_count for each in streams),
            invalid=sum(each.invalid_count for each in streams),
            targets=await _first_targets(tx, campaign, streams),
        )

    async def _segment_audience(self, tx: Transaction, campaign: Campaign) -> _Audience:
        now = self._clock.now()
        pages = await open_segment(tx, campaign.definition, codec=self._codec, now=now)
        count = 0
        targets: list[Target] = []
        resume_after: str | None = None
        while True:
            page = await pages.read(tx, resume_after)
            count += len(page.pass_ids)
            targets += [
                Target(row_offset=0, external_id="", pass_id=pass_id)
                for pass_id in page.pass_ids[: _PREVIEWS - len(targets)]
            ]
            resume_after = page.resume_after
            if resume_after is None:
                return _Audience(recipients=count, invalid=0, targets=targets)

    async def _alter(self, caller: Caller, campaign: Campaign) -> Alter:
        if campaign.rolls_back is not None:
            return altered_by_roll_back()
        action = campaign.definition.action
        ledger = frozenset[str]()
        if isinstance(action, UpdateAction | NotifyAction):
            async with self._database.transaction(caller, read_only=True) as tx:
                ledger = await ledger_slots(tx, action.revision.template_id)
        match action:
            case UpdateAction():
                after = await self._load_revision.by_id(caller, action.revision.revision_id)
                return altered_by_update(action, after, ledger)
            case NotifyAction():
                return altered_by_notice(action, ledger)
            case VoidAction():
                return altered_by_voiding(action.reason)
            case IssueAction():
                raise ValueError("What is issued alters nothing.")
            case _:
                assert_never(action)

    async def _revisions(
        self,
        caller: Caller,
        campaign: Campaign,
        targets: Sequence[Target],
        found: Mapping[PassId, ListedPass],
    ) -> Revisions:
        revision_ids = {each.wallet_pass.revision_id for each in found.values()}
        revision_ids |= {each.undo.revision_id for each in targets if each.undo is not None}
        if isinstance(campaign.definition.action, UpdateAction):
            revision_ids.add(campaign.definition.action.revision.revision_id)
        return {each: await self._load_revision.by_id(caller, each) for each in revision_ids}


async def _first_targets(
    tx: Transaction, campaign: Campaign, streams: Sequence[RecipientStream]
) -> list[Target]:
    found: list[Target] = []
    looks = (
        (stream, offset)
        for stream in streams
        for offset in range(0, stream.next_offset, _LOOKED_AT_ONCE)
    )
    for _, (stream, offset) in zip(range(_MAX_LOOKS), looks, strict=False):
        part = Shard(
            shard_number=0,
            kind=ShardKind.ACT,
            stream_id=stream.stream_id,
            first_offset=offset,
            end_offset=min(offset + _LOOKED_AT_ONCE, stream.next_offset),
            first_position=0,
            wave=0,
            state=ShardState.WAITING,
        )
        if campaign.rolls_back is not None:
            part_targets = await read_undo_targets(tx, part)
        elif isinstance(campaign.definition.action, IssueAction):
            part_targets = await read_issued_targets(tx, campaign, part)
        else:
            part_targets = await read_targets(tx, campaign, part)
        found += part_targets.targets[: _PREVIEWS - len(found)]
        if len(found) == _PREVIEWS:
            break
    return found


def _changed(
    look: _Look,
    revisions: Revisions,
    content: TenantContent,
    collected: _Collected,
    *,
    now: datetime,
) -> PassPreview:
    target, listed = look.target, look.listed
    pass_json = b""
    reason = ""
    try:
        if listed is None:
            raise not_found("pass")
        current = listed.wallet_pass
        altered = look.alter(target, listed, revisions)
        shown_now = revisions[current.revision_id].render(
            content.encode(revisions[current.revision_id], current)
        )
        if altered is None:
            collected.unchanged += 1
            pass_json = shown_now
        else:
            changed = make_change(target, current, altered, revisions, content, now=now)
            pass_json = revisions[changed.after.revision_id].render(changed.line)
            collected.compare(shown_now, pass_json)
    except AppError as error:
        reason = str(error)
    return PassPreview(
        external_id=target.external_id,
        pass_id=target.pass_id,
        pass_json=_without_token(pass_json),
        reason=reason,
    )


def _issued(
    target: Target, loaded: LoadedRevision, content: TenantContent, now: datetime
) -> PassPreview:
    values = values_from_json(loaded.content.slots, target.values)
    moment = next_signing_time(now, previous=None)
    # The pass's own numbers are made when it is issued.
    wallet_pass = WalletPass(
        pass_id=PassId(new_uuid()),
        revision_id=loaded.revision.revision_id,
        signing_identity_id=SigningIdentityId(0),
        reference_number=ReferenceNumber(0),
        create_time=moment,
        signing_time=moment,
        expire_time=None
        if target.expire_time is None
        else datetime.fromisoformat(target.expire_time),
        version=1,
        token_generation=0,
        state=PassState.ACTIVE,
        holder=Holder(name=target.name or "", phone=target.phone or ""),
        slot_values=target.values,
        void_reason="",
        digest=b"",
        signature=None,
        # No barcode that could be taken for a real one.
        barcode_seal=SAMPLE_SEAL,
    )
    pass_json = b""
    reason = ""
    try:
        with size_refused(values, path="draft"):
            pass_json = loaded.render(content.encode(loaded, wallet_pass))
    except AppError as error:
        reason = str(error)
    return PassPreview(
        external_id=target.external_id,
        pass_id=None,
        pass_json=_without_token(pass_json),
        reason=reason,
    )


def _without_token(pass_json: bytes) -> bytes:
    # It is the key to the pass's updates; who looks at a preview needs it not.
    return _TOKEN.sub(b'"authenticationToken":""', pass_json, count=1)
