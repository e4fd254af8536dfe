"""Show campaigns with their progress."""

from __future__ import annotations

from passmill.domain.callers import Caller
from passmill.domain.campaigns import CampaignState
from passmill.domain.clock import Clock
from passmill.domain.ids import CampaignId
from passmill.store.campaigns import get_campaign, list_campaigns
from passmill.store.database import Database
from passmill.usecases.campaign_view import CampaignView, view_campaign, view_campaigns


class ShowCampaigns:
    """Reads campaigns."""

    __slots__ = ("_clock", "_database")

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def one(self, caller: Caller, campaign_id: CampaignId) -> CampaignView:
        """The campaign now. AppError NOT_FOUND."""
        async with self._database.transaction(caller, read_only=True) as tx:
            # The state before the counts, so that those of a campaign that has ended are whole.
            campaign = await get_campaign(tx, campaign_id)
            return await view_campaign(tx, campaign, now=self._clock.now())

    async def many(
        self,
        caller: Caller,
        *,
        state: CampaignState | None,
        before: CampaignId | None,
        at_most: int,
    ) -> list[CampaignView]:
        """Campaigns, the newest first, those older than `before` only."""
        now = self._clock.now()
        async with self._database.transaction(caller, read_only=True) as tx:
            listed = await list_campaigns(tx, state=state, before=before, at_most=at_most)
            return await view_campaigns(tx, listed, now=now)
