"""Tell how far a campaign is, until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.ids import CampaignId
from passmill.usecases.campaign_view import CampaignView
from passmill.usecases.show_campaigns import ShowCampaigns

LOOK_SECONDS: Final = 1.0
TELL_SECONDS: Final = 10.0


class WatchCampaign:
    """Looks every second, tells what is new, and every ten seconds in any case.

    What is told is the whole, not the difference, so that a watcher may come and go.
    """

    __slots__ = ("_look_seconds", "_show_campaigns", "_tell_seconds")

    def __init__(
        self,
        *,
        show_campaigns: ShowCampaigns,
        look_seconds: float = LOOK_SECONDS,
        tell_seconds: float = TELL_SECONDS,
    ) -> None:
        self._show_campaigns = show_campaigns
        self._look_seconds = look_seconds
        self._tell_seconds = tell_seconds

    async def __call__(
        self,
        caller: Callable[[], Awaitable[Caller]],
        campaign_id: CampaignId,
        *,
        tell: Callable[[CampaignView], Awaitable[None]],
    ) -> None:
        """Returns when it has told of the end. `caller`: asked anew for each look.

        AppError NOT_FOUND.
        """
        now = asyncio.get_running_loop().time
        told: CampaignView | None = None
        told_at = 0.0
        while True:
            view = await self._show_campaigns.one(await caller(), campaign_id)
            is_news = told is None or _essence(view) != _essence(told)
            if is_news or now() - told_at >= self._tell_seconds:
                await tell(view)
                told, told_at = view, now()
            if view.campaign.state.is_ended:
                return
            await asyncio.sleep(self._look_seconds)


def _essence(view: CampaignView) -> CampaignView:
    # A rate and what is reckoned from it change by themselves.
    return replace(view, progress=replace(view.progress, rate=0.0, estimated_end_time=None))
