"""A campaign as callers see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from passmill.domain.campaigns import Campaign, Progress
from passmill.store.campaign_progress import campaign_progress, campaigns_progress
from passmill.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignView:
    """A campaign and how far it is."""

    campaign: Campaign
    progress: Progress


async def view_campaign(tx: Transaction, campaign: Campaign, *, now: datetime) -> CampaignView:
    """The campaign with its progress as this transaction sees it."""
    return CampaignView(campaign=campaign, progress=await campaign_progress(tx, campaign, now=now))


async def view_campaigns(
    tx: Transaction, campaigns: Sequence[Campaign], *, now: datetime
) -> list[CampaignView]:
    """As `view_campaign`, of many at once."""
    progress = await campaigns_progress(tx, campaigns, now=now)
    return [
        CampaignView(campaign=campaign, progress=each)
        for campaign, each in zip(campaigns, progress, strict=True)
    ]
