"""Campaigns: what they do, to whom, how they go on, and where they are in their life."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from passmill.domain.claims import LinkPlan
from passmill.domain.ids import CampaignId, ProgramId, RevisionId, StreamId, TemplateId
from passmill.errors import AppError, Reason

SHARD_RECIPIENTS: Final = 5_000
# Of stored recipients: what a worker holds of a shard, however much each of them carries.
SHARD_BYTES: Final = 16 << 20
# From so many tried recipients on, a share of failures says something.
HALT_AFTER_TRIED: Final = 100


class CampaignState(enum.IntEnum):
    """Stored as its number; the same numbers as in the protocol."""

    DRAFT = 1
    SCHEDULED = 2
    RUNNING = 3
    PAUSED = 4
    CANCELLING = 5
    CANCELLED = 6
    SUCCEEDED = 7
    PARTIALLY_FAILED = 8
    FAILED = 9

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self >= CampaignState.CANCELLED


class Priority(enum.IntEnum):
    """Stored as its number."""

    LOW = 1
    NORMAL = 2
    HIGH = 3

    @property
    def stride(self) -> int:
        """How far apart the turns of its shards are; a normal campaign's are 4 apart."""
        return {Priority.LOW: 16, Priority.NORMAL: 4, Priority.HIGH: 1}[self]


class ActionKind(enum.IntEnum):
    """Stored as its number."""

    ISSUE = 1
    UPDATE = 2
    VOID = 3
    NOTIFY = 4


class StreamState(enum.IntEnum):
    """Stored as its number."""

    OPEN = 1
    FINALIZED = 2


class ShardKind(enum.IntEnum):
    """What a shard does. Stored as its number."""

    ACT = 1
    RETRY = 2  # only those of its recipients that failed, or whose passes others held
    VOID_ISSUED = 3


class ShardState(enum.IntEnum):
    """Stored as its number."""

    WAITING = 1
    QUEUED = 2
    DONE = 3
    SKIPPED = 4


class FailureKind(enum.IntEnum):
    """Why a recipient was not served. Stored as its number."""

    INVALID = 1
    FAILED = 2
    DUPLICATE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedRevision:
    """The template revision a campaign works with, whatever is published later."""

    template_id: TemplateId
    revision_id: RevisionId
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueAction:
    """Issues a pass to each recipient, and makes a claim link to each where `links` says so."""

    revision: PinnedRevision
    links: LinkPlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAction:
    """Moves passes of the template to the revision and sets `values`, canonical JSON as
    `values_to_json` writes it."""

    revision: PinnedRevision
    values: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidAction:
    """Makes passes unusable."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyAction:
    """Sets the text slot `slot` to `message` on passes of the template, each in its revision."""

    revision: PinnedRevision
    slot: str
    message: str


CampaignAction: TypeAlias = IssueAction | UpdateAction | VoidAction | NotifyAction


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueCondition:
    """What one value must be; each part is a list of, or one, value in its stored JSON form, empty
    when it says nothing."""

    slot: str
    any_of: str = ""
    at_least: str = ""
    less_than: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSeen:
    """When a device that has the pass was last heard of: within these bounds, any time when both
    are None. `never`: passes that no device has, alone or beside those within bounds."""

    since: datetime | None = None
    before: datetime | None = None
    never: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Chooses passes that are not voided; every part that is not None narrows it. `tags`, `tiers`:
    one of them, any when empty."""

    program_id: ProgramId | None = None
    template_id: TemplateId | None = None
    revision: int | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    campaign_id: CampaignId | None = None
    external_id_system: str | None = None
    tags: Sequence[str] = ()
    tiers: Sequence[str] = ()
    last_seen: LastSeen | None = None
    values: Sequence[ValueCondition] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPlan:
    """How a campaign goes on in waves. Shares in parts per million; 0 means: no such step."""

    canary_ppm: int = 0
    canary_seconds: int = 0
    recipients_per_minute: int = 0
    halt_above_failed_ppm: int = 0

    def is_halted(self, *, tried: int, failed: int, is_canary_through: bool = False) -> bool:
        """Whether so many failures stop the campaign. A canary that is through is judged however
        few it was: everybody else is next."""
        return (
            self.halt_above_failed_ppm > 0
            and (is_canary_through or tried >= HALT_AFTER_TRIED)
            and failed * 1_000_000 > self.halt_above_failed_ppm * tried
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What a campaign was made to do; never changes. `segment` None: recipients are loaded."""

    action: CampaignAction
    segment: Segment | None = None
    rollout: RolloutPlan = field(default_factory=RolloutPlan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One campaign as stored. `total` and `invalid` are known when it starts. `is_forgotten`: its
    recipients, and what it changed, are deleted; what it did is still counted."""

    campaign_id: CampaignId
    display_name: str
    definition: Definition
    state: CampaignState
    state_reason: str
    priority: Priority
    version: int
    total: int
    invalid: int
    first_reference: int
    void_issued: bool
    rolls_back: CampaignId | None
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    is_forgotten: bool = False

    @property
    def etag(self) -> str:
        """Changes with each change of state."""
        return f"v{self.version}"

    def require_remembered(self) -> None:
        """AppError CAMPAIGN_STATE when its recipients are deleted."""
        if self.is_forgotten:
            raise AppError(
                reason=Reason.CAMPAIGN_STATE,
                message="The campaign ended so long ago that its recipients are deleted.",
                metadata={"state": self.state.name},
            )

    def require_state(self, *states: CampaignState) -> None:
        """AppError CAMPAIGN_STATE when it is in none of these."""
        if self.state in states:
            return
        wanted = " or ".join(state.name.lower() for state in states)
        raise AppError(
            reason=Reason.CAMPAIGN_STATE,
            message=f"The campaign is {self.state.name.lower()}; this needs one that is {wanted}.",
            metadata={"state": self.state.name},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientStream:
    """An append-only list of recipients with one writer at a time."""

    stream_id: StreamId
    campaign_id: CampaignId
    next_offset: int
    writer_epoch: int
    state: StreamState
    invalid_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Recipients `first_offset` <= offset < `end_offset` of one stream, served in one step.

    `first_position`: of its first recipient among all of the campaign; with the campaign's
    `first_reference` it gives each pass its reference number. `row_offsets`: which of them a retry
    is about; None means all.
    """

    shard_number: int
    kind: ShardKind
    stream_id: StreamId
    first_offset: int
    end_offset: int
    first_position: int
    wave: int
    state: ShardState
    row_offsets: Sequence[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOutcome:
    """What a shard did; kept in its row."""

    succeeded: int
    failed: int
    duplicate: int
    start_time: datetime
    sign_seconds: float
    write_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A recipient that was not served."""

    row_offset: int
    kind: FailureKind
    external_id: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a campaign is, in recipients and shards."""

    total: int
    succeeded: int
    invalid: int
    failed: int
    duplicate: int
    skipped: int
    voided: int
    shards: int
    shards_done: int
    failures: Mapping[str, int]
    # Of the shards that ended over the last seconds.
    rate: float
    estimated_end_time: datetime | None


def end_state(*, succeeded: int, unserved: int) -> CampaignState:
    """How a campaign ended. `unserved`: invalid and failed; a duplicate was served before."""
    if not unserved:
        return CampaignState.SUCCEEDED
    return CampaignState.PARTIALLY_FAILED if succeeded else CampaignState.FAILED


def plan_waves(plan: RolloutPlan, total: int) -> list[tuple[int, timedelta]]:
    """The waves of a campaign of `total` recipients: how many each, and how long after the one
    before it may begin (the first at once)."""
    if total == 0:
        return []
    waves: list[tuple[int, timedelta]] = []
    left = total
    if plan.canary_ppm:
        canary = min(left, max(1, total * plan.canary_ppm // 1_000_000))
        waves.append((canary, timedelta()))
        left -= canary
    size = plan.recipients_per_minute or left
    while left:
        count = min(size, left)
        gap = timedelta(minutes=1)
        if not waves:
            gap = timedelta()
        elif plan.canary_ppm and len(waves) == 1:
            gap = timedelta(seconds=plan.canary_seconds)
        waves.append((count, gap))
        left -= count
    return waves


def action_kind(action: CampaignAction) -> ActionKind:
    """The number an action is stored by."""
    match action:
        case IssueAction():
            return ActionKind.ISSUE
        case UpdateAction():
            return ActionKind.UPDATE
        case VoidAction():
            return ActionKind.VOID
        case NotifyAction():
            return ActionKind.NOTIFY
