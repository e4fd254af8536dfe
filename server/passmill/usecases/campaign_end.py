"""How a campaign ends, and the report of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from passmill.domain.campaigns import Campaign, CampaignState, Progress, action_kind, end_state
from passmill.domain.events import EventKind
from passmill.domain.ids import TenantId
from passmill.store import campaigns
from passmill.store.campaign_progress import ShardTimes, campaign_progress, shard_times
from passmill.store.database import Transaction
from passmill.usecases.campaign_events import tell


@dataclass(frozen=True, slots=True, kw_only=True)
class EndReport:
    """A campaign that ended, and what it did."""

    tenant_id: TenantId
    campaign: Campaign
    progress: Progress
    times: ShardTimes

    def log(self) -> None:
        """One line, `campaign.ended`; for after the commit."""
        campaign, progress, times = self.campaign, self.progress, self.times
        began, ended = campaign.start_time, campaign.end_time
        has_run = began is not None and ended is not None and progress.shards > 0
        seconds = (ended - began).total_seconds() if began and ended and has_run else 0.0
        structlog.get_logger("passmill.campaign").info(
            "campaign.ended",
            tenant_id=str(self.tenant_id),
            campaign_id=str(campaign.campaign_id),
            action=action_kind(campaign.definition.action).name.lower(),
            state=campaign.state.name.lower(),
            state_reason=campaign.state_reason,
            seconds=round(seconds, 3),
            per_second=round(progress.succeeded / seconds, 1) if seconds > 0 else 0.0,
            total=progress.total,
            succeeded=progress.succeeded,
            invalid=progress.invalid,
            failed=progress.failed,
            duplicate=progress.duplicate,
            skipped=progress.skipped,
            voided=progress.voided,
            failures=dict(progress.failures),
            shards=progress.shards,
            sign_seconds=round(times.sign_seconds, 3),
            write_seconds=round(times.write_seconds, 3),
        )


async def end_campaign(tx: Transaction, campaign: Campaign, *, now: datetime) -> EndReport:
    """Ends a campaign that is locked and has nothing left to do."""
    progress = await campaign_progress(tx, campaign, now=now)
    is_cancelled = campaign.state is CampaignState.CANCELLING
    ended = replace(
        campaign,
        state=CampaignState.CANCELLED
        if is_cancelled
        else end_state(succeeded=progress.succeeded, unserved=progress.invalid + progress.failed),
        state_reason=campaign.state_reason if is_cancelled else "",
        end_time=now,
        version=campaign.version + 1,
    )
    await campaigns.write_campaign(tx, ended)
    await tell(tx, ended, kind=EventKind.CAMPAIGN_ENDED, now=now, progress=progress)
    return EndReport(
        tenant_id=tx.tenant_id,
        campaign=ended,
        progress=replace(progress, rate=0.0, estimated_end_time=None),
        times=await shard_times(tx, campaign.campaign_id),
    )
