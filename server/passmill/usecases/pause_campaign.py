"""Pause a campaign: nothing more begins, what has begun finishes."""

from __future__ import annotations

from passmill.domain.campaigns import CampaignState
from passmill.domain.clock import Clock
from passmill.store import campaigns
from passmill.store.database import Transaction
from passmill.usecases.campaign_steps import pause
from passmill.usecases.campaign_view import CampaignView, view_campaign
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.start_campaign import parse_campaign_id

REASON_REQUEST = "paused by request"


class PauseCampaign:
    """Pauses campaigns."""

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(self, mutation: Mutation[CampaignView], *, campaign_id: str) -> Answer:
        """The answer with the campaign paused. AppError NOT_FOUND, CAMPAIGN_STATE,
        REQUEST_ID_REUSED."""

        async def work(tx: Transaction) -> CampaignView:
            campaign = await campaigns.lock_campaign(tx, parse_campaign_id(campaign_id))
            campaign.require_state(CampaignState.SCHEDULED, CampaignState.RUNNING)
            now = self._clock.now()
            paused = await pause(tx, campaign, reason=REASON_REQUEST, now=now)
            return await view_campaign(tx, paused, now=now)

        return await self._mutator.run(mutation, work)
