"""How a campaign goes on: its shards are planned once, then queued wave by wave.

`advance` says what is due and does it; it may be called at any time and as often as one likes, with
the campaign locked: after a shard, by a timer, when somebody resumes.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from passmill.domain.campaigns import (
    SHARD_BYTES,
    SHARD_RECIPIENTS,
    Campaign,
    CampaignState,
    IssueAction,
    RecipientStream,
    RolloutPlan,
    Shard,
    ShardKind,
    ShardState,
    plan_waves,
)
from passmill.domain.events import EventKind
from passmill.domain.ids import StreamId
from passmill.errors import AppError, Reason
from passmill.store import campaigns, jobs, recipient_streams, shards, tenants
from passmill.store.database import Transaction
from passmill.store.jobs import JobKind
from passmill.store.recipient_streams import ChunkRun
from passmill.store.shards import ShardGroup
from passmill.usecases.campaign_events import tell

REASON_CANARY = "canary"
REASON_THRESHOLD = "error_threshold"
REASON_STEPS = "too_many_steps"
# Of one campaign: half a billion recipients in full shards, or two months of a wave a minute.
MAX_SHARDS = 100_000


class NextStep(enum.Enum):
    """Where a campaign is after `advance`."""

    GOING_ON = enum.auto()  # shards are queued, or a timer is set
    STOPPED = enum.auto()  # it does not run, or was paused just now
    OVER = enum.auto()  # nothing is left to do


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """The campaign after a step."""

    campaign: Campaign
    step: NextStep


async def plan_and_enqueue(
    tx: Transaction, campaign: Campaign, *, now: datetime, are_compared: bool = False
) -> Campaign:
    """Makes the shards of a campaign whose streams are complete, takes its reference numbers, and
    queues the first wave. The campaign is locked, and stored as running or paused.

    `are_compared`: no recipient comes twice, or those that do are marked. Else a campaign that
    changes passes in several steps has a worker compare them first, and then plan.

    Gives the campaign as it is then. Planned before: only goes on. AppError INVALID_CAMPAIGN as
    `plan_shards`, before anything is written.
    """
    if await shards.last_shard_number(tx, campaign.campaign_id) >= 0:
        return await advance_or_settle(tx, campaign, now=now)
    streams = await recipient_streams.list_streams(tx, campaign.campaign_id)
    cut = await plan_shards(tx, campaign, streams)
    is_issue = isinstance(campaign.definition.action, IssueAction)
    if len(cut) > 1 and not (is_issue or are_compared):
        await jobs.enqueue_campaign_job(tx, campaign.campaign_id, JobKind.COMPARE)
        return campaign
    total = sum(stream.next_offset for stream in streams)
    end_reference = await tenants.take_reference_block(tx, total)
    planned = replace(
        campaign,
        total=total,
        invalid=sum(stream.invalid_count for stream in streams),
        first_reference=end_reference - total,
        version=campaign.version + 1,
    )
    await campaigns.write_campaign(tx, planned)
    await shards.insert_shards(tx, campaign.campaign_id, cut)
    return await advance_or_settle(tx, planned, now=now)


async def plan_or_pause(tx: Transaction, campaign: Campaign, *, now: datetime) -> Campaign:
    """As `plan_and_enqueue`, for recipients that are compared, and for when no caller is there to
    be refused: a campaign of too many steps is paused, with that reason."""
    try:
        return await plan_and_enqueue(tx, campaign, now=now, are_compared=True)
    except AppError as error:
        if error.reason is not Reason.INVALID_CAMPAIGN:
            raise
        return await pause(tx, campaign, reason=REASON_STEPS, now=now)


async def plan_shards(
    tx: Transaction, campaign: Campaign, streams: Sequence[RecipientStream]
) -> list[Shard]:
    """The shards of a campaign with these streams, which are complete. AppError INVALID_CAMPAIGN
    when they would be too many."""
    plan = campaign.definition.rollout
    require_plan(streams, plan)
    runs = await recipient_streams.list_chunk_runs(tx, campaign.campaign_id)
    cut = list(islice(cut_shards(streams, plan, runs), MAX_SHARDS + 1))
    if len(cut) > MAX_SHARDS:
        raise _too_many("The data that the recipients carry makes", "Make several campaigns.")
    return cut


def cut_shards(
    streams: Sequence[RecipientStream],
    plan: RolloutPlan,
    runs: Mapping[StreamId, Sequence[ChunkRun]],
) -> Iterator[Shard]:
    """The shards of a campaign, each of one stream and one wave: at most `SHARD_RECIPIENTS`, in
    chunks of at most `SHARD_BYTES` together, or in one run."""
    total = sum(stream.next_offset for stream in streams)
    sizes = iter([size for size, _ in plan_waves(plan, total)])
    wave, left = -1, 0
    number = position = 0
    for stream in streams:
        offset = 0
        while offset < stream.next_offset:
            if not left:
                wave, left = wave + 1, next(sizes)
            end = offset + min(SHARD_RECIPIENTS, left, stream.next_offset - offset)
            count = _end_by_content(runs[stream.stream_id], offset, end) - offset
            yield Shard(
                shard_number=number,
                kind=ShardKind.ACT,
                stream_id=stream.stream_id,
                first_offset=offset,
                end_offset=offset + count,
                first_position=position,
                wave=wave,
                state=ShardState.WAITING,
            )
            number += 1
            position += count
            offset += count
            left -= count


def _end_by_content(runs: Sequence[ChunkRun], offset: int, end: int) -> int:
    """Where a shard that begins at `offset` must end, at `end` at the latest. Chunks are read
    whole, so one that a shard has a part of counts whole."""
    at = bisect_right(runs, offset, key=lambda run: run.first_offset) - 1
    size = runs[at].content_bytes
    for number in range(at + 1, len(runs)):
        run = runs[number]
        size += run.content_bytes
        if run.first_offset >= end:
            break
        if size > SHARD_BYTES:
            return run.first_offset
    return end


def require_plan(streams: Sequence[RecipientStream], plan: RolloutPlan) -> None:
    """AppError INVALID_CAMPAIGN when the campaign would fall into too many pieces, whatever its
    recipients carry."""
    total = sum(stream.next_offset for stream in streams)
    waves = total // plan.recipients_per_minute if plan.recipients_per_minute else 1
    if waves + total // SHARD_RECIPIENTS + len(streams) > MAX_SHARDS:
        if plan.recipients_per_minute:
            cause = f"at {plan.recipients_per_minute} a minute"
            cure = "Let more go in a minute, or make several campaigns."
        else:
            cause, cure = f"in {len(streams)} streams", "Make several campaigns."
        raise _too_many(f"{total} recipients {cause} are", cure)


def _too_many(cause: str, cure: str) -> AppError:
    return AppError(
        reason=Reason.INVALID_CAMPAIGN, message=f"{cause} more than {MAX_SHARDS} steps. {cure}"
    )


async def begin(tx: Transaction, campaign: Campaign, *, now: datetime) -> Campaign:
    """Starts a campaign that is locked and has not begun; gives it as it is then."""
    begun = replace(
        campaign,
        state=CampaignState.RUNNING,
        state_reason="",
        start_time=now,
        version=campaign.version + 1,
    )
    await campaigns.write_campaign(tx, begun)
    await tell(tx, begun, kind=EventKind.CAMPAIGN_STARTED, now=now)
    if campaign.definition.segment is not None:
        await jobs.enqueue_campaign_job(tx, campaign.campaign_id, JobKind.CHOOSE)
        return begun
    return await plan_and_enqueue(tx, begun, now=now)


async def pause(tx: Transaction, campaign: Campaign, *, reason: str, now: datetime) -> Campaign:
    """Lets no shard begin any more; the campaign is locked. Those at work finish."""
    paused = replace(
        campaign, state=CampaignState.PAUSED, state_reason=reason, version=campaign.version + 1
    )
    await campaigns.write_campaign(tx, paused)
    await shards.hold_queued(tx, campaign.campaign_id)
    await tell(tx, paused, kind=EventKind.CAMPAIGN_PAUSED, now=now)
    return paused


async def advance_or_settle(
    tx: Transaction, campaign: Campaign, *, now: datetime, is_resumed: bool = False
) -> Campaign:
    """As `advance`; when nothing is left to do, has a worker end the campaign."""
    advanced = await advance(tx, campaign, now=now, is_resumed=is_resumed)
    if advanced.step is NextStep.OVER:
        await jobs.enqueue_campaign_job(tx, campaign.campaign_id, JobKind.SETTLE)
    return advanced.campaign


async def advance(
    tx: Transaction, campaign: Campaign, *, now: datetime, is_resumed: bool = False
) -> Advance:
    """Does what is due: pauses the campaign when too much failed or its canary is through, queues
    its next wave, or sets a timer for it. The campaign is locked.

    `is_resumed`: somebody just said that it shall go on.
    """
    if campaign.state not in {CampaignState.RUNNING, CampaignState.CANCELLING}:
        return Advance(campaign=campaign, step=NextStep.STOPPED)
    groups = await shards.summarize_shards(tx, campaign.campaign_id)
    current = next((group for group in groups if group.is_open), None)
    if current is None:
        return Advance(campaign=campaign, step=NextStep.OVER)
    if campaign.state is CampaignState.RUNNING and _is_halted(campaign, groups, current):
        paused = await pause(tx, campaign, reason=REASON_THRESHOLD, now=now)
        return Advance(campaign=paused, step=NextStep.STOPPED)
    if current.waiting:
        wait = _wait(campaign.definition.rollout, groups, current, now)
        if wait is None and not is_resumed:
            paused = await pause(tx, campaign, reason=REASON_CANARY, now=now)
            return Advance(campaign=paused, step=NextStep.STOPPED)
        if wait:
            await jobs.enqueue_campaign_job(tx, campaign.campaign_id, JobKind.SETTLE, delay=wait)
        else:
            await enqueue_wave(tx, campaign, current.wave)
    return Advance(campaign=campaign, step=NextStep.GOING_ON)


async def enqueue_wave(tx: Transaction, campaign: Campaign, wave: int) -> None:
    """Queues the shards of a wave that wait. Each gets its turn: the first is next, the others
    follow at a stride that leaves turns to other campaigns, the more of them the tenant runs."""
    numbers = await shards.queue_waiting(tx, campaign.campaign_id, wave=wave)
    turn = await jobs.queue_turn(tx)
    stride = campaign.priority.stride * max(1, await shards.count_running_campaigns(tx))
    await jobs.enqueue_shards(
        tx,
        campaign.campaign_id,
        numbers,
        turns=[turn + at * stride for at in range(len(numbers))],
    )


def _is_halted(campaign: Campaign, groups: Sequence[ShardGroup], current: ShardGroup) -> bool:
    plan = campaign.definition.rollout
    return plan.is_halted(
        tried=sum(group.unforgiven for group in groups),
        failed=sum(group.unforgiven_failed for group in groups),
        is_canary_through=plan.canary_ppm > 0
        and current.wave == 1
        and current.kind is ShardKind.ACT
        and current.start_time is None,
    )


def _wait(
    plan: RolloutPlan, groups: Sequence[ShardGroup], current: ShardGroup, now: datetime
) -> timedelta | None:
    """How long until a wave may begin; None: until somebody says so."""
    before = next((group for group in groups if group.wave == current.wave - 1), None)
    if current.kind is not ShardKind.ACT or current.start_time is not None or before is None:
        return timedelta()
    if before.start_time is None or before.end_time is None:
        return timedelta()
    due = before.start_time + timedelta(minutes=1)
    if plan.canary_ppm and current.wave == 1:
        if not plan.canary_seconds:
            return None
        due = before.end_time + timedelta(seconds=plan.canary_seconds)
    return max(due - now, timedelta())
