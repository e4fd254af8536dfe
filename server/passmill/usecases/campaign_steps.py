"""How a campaign goes on: its shards are planned once, then queued wave by wave.

`advance` says what is due and does it; it may be called at any time and as often as one likes, with
the campaign locked: after a shard, by a timer, when somebody resumes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from passmill.domain.campaigns import (
    SHARD_RECIPIENTS,
    Campaign,
    CampaignState,
    RecipientStream,
    RolloutPlan,
    Shard,
    ShardKind,
    ShardState,
    plan_waves,
)
from passmill.errors import AppError, Reason
from passmill.store import campaigns, jobs, recipient_streams, shards, tenants
from passmill.store.database import Transaction
from passmill.store.jobs import JobKind
from passmill.store.shards import ShardGroup

REASON_CANARY = "canary"
REASON_THRESHOLD = "error_threshold"
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


async def plan_and_enqueue(tx: Transaction, campaign: Campaign, *, now: datetime) -> Campaign:
    """Makes the shards of a campaign whose streams are complete, takes its reference numbers, and
    queues the first wave. The campaign is locked, and stored as running or paused.

    Gives the campaign as it is then. Planned before: only goes on. AppError INVALID_CAMPAIGN as
    `require_plan`.
    """
    if await shards.last_shard_number(tx, campaign.campaign_id) >= 0:
        return await advance_or_settle(tx, campaign, now=now)
    streams = await recipient_streams.list_streams(tx, campaign.campaign_id)
    require_plan(streams, campaign.definition.rollout)
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
    cut = list(cut_shards(streams, campaign.definition.rollout))
    await shards.insert_shards(tx, campaign.campaign_id, cut)
    return await advance_or_settle(tx, planned, now=now)


def cut_shards(streams: Sequence[RecipientStream], plan: RolloutPlan) -> Iterator[Shard]:
    """The shards of a campaign: at most `SHARD_RECIPIENTS` each, of one stream and one wave."""
    total = sum(stream.next_offset for stream in streams)
    sizes = iter([size for size, _ in plan_waves(plan, total)])
    wave, left = -1, 0
    number = position = 0
    for stream in streams:
        offset = 0
        while offset < stream.next_offset:
            if not left:
                wave, left = wave + 1, next(sizes)
            count = min(SHARD_RECIPIENTS, left, stream.next_offset - offset)
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


def require_plan(streams: Sequence[RecipientStream], plan: RolloutPlan) -> None:
    """AppError INVALID_CAMPAIGN when the campaign would fall into too many pieces."""
    total = sum(stream.next_offset for stream in streams)
    waves = total // plan.recipients_per_minute if plan.recipients_per_minute else 1
    if waves + total // SHARD_RECIPIENTS + len(streams) > MAX_SHARDS:
        raise AppError(
            reason=Reason.INVALID_CAMPAIGN,
            message=f"{total} recipients at {plan.recipients_per_minute} a minute are more than"
            f" {MAX_SHARDS} steps. Let more go in a minute, or make several campaigns.",
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
    if campaign.definition.segment is not None:
        await jobs.enqueue_campaign_job(tx, campaign.campaign_id, JobKind.CHOOSE)
        return begun
    return await plan_and_enqueue(tx, begun, now=now)


async def pause(tx: Transaction, campaign: Campaign, *, reason: str) -> Campaign:
    """Lets no shard begin any more; the campaign is locked. Those at work finish."""
    paused = replace(
        campaign, state=CampaignState.PAUSED, state_reason=reason, version=campaign.version + 1
    )
    await campaigns.write_campaign(tx, paused)
    await shards.hold_queued(tx, campaign.campaign_id)
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
    if campaign.state is CampaignState.RUNNING and _is_halted(campaign, groups):
        paused = await pause(tx, campaign, reason=REASON_THRESHOLD)
        return Advance(campaign=paused, step=NextStep.STOPPED)
    if current.waiting:
        wait = _wait(campaign.definition.rollout, groups, current, now)
        if wait is None and not is_resumed:
            paused = await pause(tx, campaign, reason=REASON_CANARY)
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


def _is_halted(campaign: Campaign, groups: Sequence[ShardGroup]) -> bool:
    return campaign.definition.rollout.is_halted(
        tried=sum(group.unforgiven for group in groups),
        failed=sum(group.unforgiven_failed for group in groups),
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
