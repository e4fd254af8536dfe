"""How far a campaign is, summed over its shards and failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from passmill.domain.campaigns import Campaign, CampaignState, FailureKind, Progress
from passmill.domain.ids import CampaignId
from passmill.store.database import Transaction

# What the rate of a running campaign is taken from.
_RATE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTimes:
    """Seconds that all shards of a campaign took together: to sign, and to write."""

    sign_seconds: float
    write_seconds: float


async def campaign_progress(tx: Transaction, campaign: Campaign, *, now: datetime) -> Progress:
    """How far a campaign is. Of one that was never planned: what its streams hold by now. A pass
    that was issued and then could not be voided counts as failed only."""
    total, invalid = campaign.total, campaign.invalid
    sums = await tx.fetch_one(
        """
        SELECT count(*) AS shards,
            count(*) FILTER (WHERE state IN (3, 4)) AS shards_done,
            coalesce(sum(CASE kind WHEN 3 THEN -failed ELSE succeeded END), 0)::bigint
                AS succeeded,
            coalesce(sum(succeeded) FILTER (WHERE kind = 3), 0)::bigint AS voided,
            coalesce(sum(succeeded + failed + duplicate) FILTER (WHERE end_time > $3), 0)::bigint
                AS recent
        FROM campaign_shards WHERE tenant_id = $1 AND campaign_id = $2
        """,
        tx.tenant_id,
        campaign.campaign_id,
        now - timedelta(seconds=_RATE_SECONDS),
    )
    assert sums is not None  # noqa: S101 - an aggregate has one row
    if not sums["shards"]:
        streams = await tx.fetch_one(
            "SELECT coalesce(sum(next_offset), 0)::bigint AS total,"
            " coalesce(sum(invalid_count), 0)::bigint AS invalid"
            " FROM recipient_streams WHERE tenant_id = $1 AND campaign_id = $2",
            tx.tenant_id,
            campaign.campaign_id,
        )
        assert streams is not None  # noqa: S101 - an aggregate has one row
        total, invalid = streams["total"], streams["invalid"]
    failures = await tx.fetch(
        "SELECT kind, reason, count(*) AS count FROM recipient_failures"
        " WHERE tenant_id = $1 AND campaign_id = $2 GROUP BY kind, reason ORDER BY count(*) DESC",
        tx.tenant_id,
        campaign.campaign_id,
    )
    by_kind = dict.fromkeys(FailureKind, 0)
    by_reason: dict[str, int] = {}
    for row in failures:
        by_kind[FailureKind(row["kind"])] += row["count"]
        by_reason[row["reason"]] = by_reason.get(row["reason"], 0) + row["count"]
    failed, duplicate = by_kind[FailureKind.FAILED], by_kind[FailureKind.DUPLICATE]
    left = total - invalid - sums["succeeded"] - failed - duplicate
    is_cancelled = campaign.state in {CampaignState.CANCELLING, CampaignState.CANCELLED}
    rate = _rate(campaign, recent=sums["recent"], now=now)
    return Progress(
        total=total,
        succeeded=sums["succeeded"],
        invalid=invalid,
        failed=failed,
        duplicate=duplicate,
        skipped=max(left, 0) if is_cancelled else 0,
        voided=sums["voided"],
        shards=sums["shards"],
        shards_done=sums["shards_done"],
        failures=by_reason,
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
