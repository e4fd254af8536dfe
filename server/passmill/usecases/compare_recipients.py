"""Compare a campaign's recipients with each other before its shards are planned: a worker's job
when one that changes passes starts and is to be served in several steps.

A campaign that issues needs none of it: the ids of its passes follow from those of its recipients.
"""

from __future__ import annotations

import asyncio
from typing import Final

from passmill.domain.callers import internal_caller
from passmill.domain.campaigns import CampaignState
from passmill.domain.clock import Clock
from passmill.domain.ids import CampaignId, TenantId
from passmill.store import campaigns
from passmill.store.database import Database
from passmill.store.repeated_recipients import mark_repeated
from passmill.usecases.campaign_steps import plan_or_pause

# Ten million recipients are compared in a minute or two.
_COMPARE_SECONDS: Final = 900.0
_PLAN_SECONDS: Final = 60.0


class CompareRecipients:
    """Finds recipients that come again, then plans the campaign's shards. It may be run at any
    time, as often as one likes."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, tenant_id: TenantId, campaign_id: CampaignId) -> None:
        """Compares and plans, if the campaign runs and has no shards yet; one of too many steps is
        paused. AppError NOT_FOUND, UNAVAILABLE, DEADLINE_EXCEEDED."""
        now = asyncio.get_running_loop().time
        # Without the campaign's lock: whoever pauses or cancels it need not wait.
        caller = internal_caller(tenant_id, deadline=now() + _COMPARE_SECONDS)
        async with self._database.transaction(caller) as tx:
            campaign = await campaigns.get_campaign(tx, campaign_id)
            if campaign.state is not CampaignState.RUNNING:
                return
            await mark_repeated(tx, campaign_id)
        caller = internal_caller(tenant_id, deadline=now() + _PLAN_SECONDS)
        async with self._database.transaction(caller) as tx:
            campaign = await campaigns.lock_campaign(tx, campaign_id)
            if campaign.state is CampaignState.RUNNING:
                await plan_or_pause(tx, campaign, now=self._clock.now())
