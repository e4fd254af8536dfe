"""See to a campaign after something happened to it: its next wave, its threshold, its end."""

from __future__ import annotations

import asyncio

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.campaigns import CampaignState
from passmill.domain.clock import Clock
from passmill.domain.ids import CampaignId, TenantId
from passmill.store import campaigns
from passmill.store.database import Database
from passmill.usecases.campaign_end import EndReport, end_campaign
from passmill.usecases.campaign_steps import NextStep, advance, pause

_SETTLE_SECONDS = 30.0


class SettleCampaign:
    """Advances campaigns: after each shard, and when a timer says so. Doing it once more changes
    nothing."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, tenant_id: TenantId, campaign_id: CampaignId) -> None:
        """Does what is due. AppError UNAVAILABLE, DEADLINE_EXCEEDED: to be done again."""
        report: EndReport | None = None
        async with self._database.transaction(_inside(tenant_id)) as tx:
            campaign = await campaigns.lock_campaign(tx, campaign_id)
            now = self._clock.now()
            advanced = await advance(tx, campaign, now=now)
            if advanced.step is NextStep.OVER:
                report = await end_campaign(tx, advanced.campaign, now=now)
        if report is not None:
            report.log()

    async def pause(self, tenant_id: TenantId, campaign_id: CampaignId, *, reason: str) -> bool:
        """Stops a campaign that cannot go on, or cannot begin, and says why; no matter if it has
        stopped already. False for one that goes on all the same, as it is being cancelled."""
        async with self._database.transaction(_inside(tenant_id)) as tx:
            campaign = await campaigns.lock_campaign(tx, campaign_id)
            if campaign.state in {CampaignState.RUNNING, CampaignState.SCHEDULED}:
                await pause(tx, campaign, reason=reason, now=self._clock.now())
        return campaign.state is not CampaignState.CANCELLING


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _SETTLE_SECONDS
    return internal_caller(tenant_id, deadline=deadline)
