"""Resume a paused campaign, whoever or whatever paused it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from passmill.domain.campaigns import Campaign, CampaignState
from passmill.domain.clock import Clock
from passmill.domain.events import EventKind
from passmill.store import campaigns, shards
from passmill.store.database import Transaction
from passmill.usecases.campaign_events import tell
from passmill.usecases.campaign_steps import advance_or_settle, begin
from passmill.usecases.campaign_view import CampaignView, view_campaign
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.start_campaign import parse_campaign_id, schedule


class ResumeCampaign:
    """Lets paused campaigns go on."""

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(self, mutation: Mutation[CampaignView], *, campaign_id: str) -> Answer:
        """The answer with the campaign going on: what failed until now no longer counts for its
        threshold; one that had not begun begins, or waits for its time. AppError NOT_FOUND,
        CAMPAIGN_STATE, REQUEST_ID_REUSED."""

        async def work(tx: Transaction) -> CampaignView:
            campaign = await campaigns.lock_campaign(tx, parse_campaign_id(campaign_id))
            campaign.require_state(CampaignState.PAUSED)
            now = self._clock.now()
            return await view_campaign(tx, await _resume(tx, campaign, now), now=now)

        return await self._mutator.run(mutation, work)


async def _resume(tx: Transaction, campaign: Campaign, now: datetime) -> Campaign:
    if campaign.start_time is not None and campaign.start_time > now:
        return await schedule(tx, campaign, start_time=campaign.start_time, now=now)
    if await shards.last_shard_number(tx, campaign.campaign_id) < 0:
        return await begin(tx, campaign, now=now)
    resumed = replace(
        campaign, state=CampaignState.RUNNING, state_reason="", version=campaign.version + 1
    )
    await campaigns.write_campaign(tx, resumed)
    await tell(tx, resumed, kind=EventKind.CAMPAIGN_RESUMED, now=now)
    await shards.forgive_failures(tx, campaign.campaign_id)
    return await advance_or_settle(tx, resumed, now=now, is_resumed=True)
