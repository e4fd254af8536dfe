"""How far a campaign is, summed over its shards and failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from passmill.domain.campaigns import Campaign, CampaignState, FailureKind, Progress
from passmill.domain.ids import CampaignId
from passmill.store.database import Transaction

# What the rate of a running campaign is taken from.
_RATE_SECONDS: Final = 10.0


_SHARD_SUMS: Final = """
SELECT campaign_id, count(*) AS shards,
    count(*) FILTER (WHERE state IN (3, 4)) AS shards_done,
    coalesce(sum(CASE kind WHEN 3 THEN -failed ELSE succeeded END), 0)::bigint AS succeeded,
    coalesce(sum(succeeded) FILTER (WHERE kind = 3), 0)::bigint AS voided,
    coalesce(sum(succeeded + failed + duplicate) FILTER (WHERE end_time > $3), 0)::bigint AS recent
FROM campaign_shards WHERE tenant_id = $1 AND campaign_id = ANY($2::uuid[]) GROUP BY campaign_id
"""
_STREAM_SUMS: Final = """
SELECT campaign_id, sum(next_offset)::bigint AS loaded, sum(invalid_count)::bigint AS refused
FROM recipient_streams WHERE tenant_id = $1 AND campaign_id = ANY($2::uuid[]) GROUP BY campaign_id
"""
_FAILURE_SUMS: Final = """
SELECT campaign_id, kind, reason, count(*) AS count
FROM recipient_failures WHERE tenant_id = $1 AND campaign_id = ANY($2::uuid[])
GROUP BY campaign_id, kind, reason ORDER BY count(*) DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTimes:
    """Seconds that all shards of a campaign took together: to sign, and to write."""

    sign_seconds: float
    write_seconds: float


@dataclass(slots=True)
class _Sums:
    """Of one campaign, as the tables have it."""

    shards: int = 0
    shards_done: int = 0
    succeeded: int = 0
    voided: int = 0
    recent: int = 0
    loaded: int = 0
    refused: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    by_kind: dict[FailureKind, int] = field(default_factory=lambda: dict.fromkeys(FailureKind, 0))


async def campaign_progress(tx: Transaction, campaign: Campaign, *, now: datetime) -> Progress:
    """How far a campaign is. Of one that was never planned: what its streams hold by now. A pass
    that was issued and then could not be voided counts as failed only."""
    [progress] = await campaigns_progress(tx, [campaign], now=now)
    return progress


async def campaigns_progress(
    tx: Transaction, campaigns: Sequence[Campaign], *, now: datetime
) -> list[Progress]:
    """How far each of these campaigns is, in their order; as many statements for all as for one."""
    ids = [each.campaign_id for each in campaigns]
    sums: dict[UUID, _Sums] = {campaign_id: _Sums() for campaign_id in ids}
    since = now - timedelta(seconds=_RATE_SECONDS)
    for row in await tx.fetch(_SHARD_SUMS, tx.tenant_id, ids, since):
        found = sums[row["campaign_id"]]
        found.shards, found.shards_done = row["shards"], row["shards_done"]
        found.succeeded, found.voided = row["succeeded"], row["voided"]
        found.recent = row["recent"]
    unplanned = [campaign_id for campaign_id in ids if not sums[campaign_id].shards]
    if unplanned:
        for row in await tx.fetch(_STREAM_SUMS, tx.tenant_id, unplanned):
            found = sums[row["campaign_id"]]
            found.loaded, found.refused = row["loaded"], row["refused"]
    for row in await tx.fetch(_FAILURE_SUMS, tx.tenant_id, ids):
        found = sums[row["campaign_id"]]
        reason, count = row["reason"], row["count"]
        found.by_kind[FailureKind(row["kind"])] += count
        found.failures[reason] = found.failures.get(reason, 0) + count
    return [_progress(each, sums[each.campaign_id], now=now) for each in campaigns]


def _progress(campaign: Campaign, sums: _Sums, *, now: datetime) -> Progress:
    total, invalid = campaign.total, campaign.invalid
    if not sums.shards:
        total, invalid = sums.loaded, sums.refused
    failed, duplicate = sums.by_kind[FailureKind.FAILED], sums.by_kind[FailureKind.DUPLICATE]
    left = total - invalid - sums.succeeded - failed - duplicate
    is_cancelled = campaign.state in {CampaignState.CANCELLING, CampaignState.CANCELLED}
    rate = _rate(campaign, recent=sums.recent, now=now)
    return Progress(
        total=total,
        succeeded=sums.succeeded,
        invalid=invalid,
        failed=failed,
        duplicate=duplicate,
        skipped=max(left, 0) if is_cancelled else 0,
        voided=sums.voided,
        shards=sums.shards,
        shards_done=sums.shards_done,
        failures=sums.failures,
        rate=rate,
        estimated_end_time=now + timedelta(seconds=left / rate) if rate and left > 0 else None,
    )


async def shard_times(tx: Transaction, campaign_id: CampaignId) -> ShardTimes:
    """What the campaign's shards took together."""
    row = await tx.fetch_one(
        "SELECT coalesce(sum(sign_seconds), 0)::float8 AS sign_seconds,"
        " coalesce(sum(write_seconds), 0)::float8 AS write_seconds"
        " FROM campaign_shards WHERE tenant_id = $1 AND campaign_id = $2",
        tx.tenant_id,
        campaign_id,
    )
    assert row is not None  # noqa: S101 - an aggregate has one row
    return ShardTimes(sign_seconds=row["sign_seconds"], write_seconds=row["write_seconds"])


def _rate(campaign: Campaign, *, recent: int, now: datetime) -> float:
    if campaign.state is not CampaignState.RUNNING or campaign.start_time is None:
        return 0.0
    seconds = (now - campaign.start_time).total_seconds()
    return recent / min(max(seconds, 1.0), _RATE_SECONDS)
