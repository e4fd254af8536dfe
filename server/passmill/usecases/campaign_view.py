"""A campaign as callers see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from passmill.domain.campaigns import Campaign, Progress
from passmill.store.campaign_progress import campaign_progress
from passmill.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignView:
    """A campaign and how far it is."""

    campaign: Campaign
    progress: Progress


async def view_campaign(tx: Transaction, campaign: Campaign, *, now: datetime) -> CampaignView:
    """The campaign with its progress as this transaction sees it."""
    return CampaignView(campaign=campaign, progress=await campaign_progress(tx, campaign, now=now))
