"""Choose the passes a campaign is about: by its segment, or what the one it takes back changed. A
worker's job when such a campaign starts."""

from __future__ import annotations

import asyncio
from typing import Final

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.campaigns import Campaign, CampaignState
from passmill.domain.clock import Clock
from passmill.domain.ids import CampaignId, TenantId
from passmill.domain.template_life import TemplateCodec
from passmill.store import campaigns, changed_passes, chosen_streams
from passmill.store.chosen_streams import ChosenStream
from passmill.store.database import Database, Transaction
from passmill.store.segments import WINDOW_PASSES
from passmill.usecases.campaign_steps import plan_or_pause
from passmill.usecases.segment_pages import SegmentPages, open_segment

_PAGE_SECONDS: Final = 30.0


class ChooseSegment:
    """Fills a campaign's stream page by page, then plans its shards. It may be run at any time, as
    often as one likes, also by two at once: each page goes on where the last one that was committed
    ended."""

    def __init__(
        self,
        *,
        database: Database,
        codec: TemplateCodec,
        clock: Clock,
        window_passes: int = WINDOW_PASSES,
    ) -> None:
        """`window_passes`: so many are looked at in one transaction."""
        self._window_passes = window_passes
        self._database = database
        self._codec = codec
        self._clock = clock

    async def __call__(self, tenant_id: TenantId, campaign_id: CampaignId) -> None:
        """Chooses until all is chosen, or the campaign no longer runs; one of too many steps is
        paused. AppError NOT_FOUND, UNAVAILABLE, DEADLINE_EXCEEDED."""
        caller = _inside(tenant_id)
        async with self._database.transaction(caller, read_only=True) as tx:
            campaign = await campaigns.get_campaign(tx, campaign_id)
            pages = await self._open(tx, campaign)
        while not await self._choose_page(tenant_id, campaign_id, pages):
            pass

    async def _open(self, tx: Transaction, campaign: Campaign) -> SegmentPages | None:
        if campaign.rolls_back is not None:
            return None
        # Who is issued a pass while the choice goes on is not part of it, so it ends.
        return await open_segment(
            tx,
            campaign.definition,
            codec=self._codec,
            now=campaign.start_time or self._clock.now(),
            created_until=campaign.start_time,
            window_passes=self._window_passes,
        )

    async def _choose_page(
        self, tenant_id: TenantId, campaign_id: CampaignId, pages: SegmentPages | None
    ) -> bool:
        """Adds the next page; gives whether there is nothing more to do."""
        async with self._database.transaction(_inside(tenant_id)) as tx:
            campaign = await campaigns.lock_campaign(tx, campaign_id)
            if campaign.state is not CampaignState.RUNNING:
                return True
            now = self._clock.now()
            stream = await chosen_streams.take_chosen_stream(tx, campaign_id, now=now)
            if stream.is_complete:
                # Paused and resumed with nobody chosen: no shard is there to end the campaign.
                await plan_or_pause(tx, campaign, now=now)
                return True
            if pages is None:
                is_last = await _add_undo(tx, campaign, stream)
            else:
                page = await pages.read(tx, stream.resume_after)
                await chosen_streams.append_chosen(
                    tx, stream, page.pass_ids, resume_after=page.resume_after
                )
                is_last = page.resume_after is None
            if is_last:
                await plan_or_pause(tx, campaign, now=now)
        return is_last


async def _add_undo(tx: Transaction, campaign: Campaign, stream: ChosenStream) -> bool:
    if campaign.rolls_back is None:
        raise ValueError("This campaign takes none back.")
    after = -1 if stream.resume_after is None else int(stream.resume_after)
    found = await changed_passes.next_undo(tx, campaign.rolls_back, after_shard=after)
    if found is None:
        await chosen_streams.append_undo(tx, stream, [], resume_after=None)
        return True
    shard_number, undo = found
    await chosen_streams.append_undo(tx, stream, undo, resume_after=str(shard_number))
    return False


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _PAGE_SECONDS
    return internal_caller(tenant_id, deadline=deadline)
