"""Give all results of a campaign, page after page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.ids import CampaignId
from passmill.domain.recipient_results import Place, RecipientResult
from passmill.usecases.list_recipients import ListRecipients

_PAGE: Final = 1_000


class ExportResults:
    """Reads a page, hands it over, reads the next: one page is in memory, however slow its reader
    is."""

    __slots__ = ("_list_recipients",)

    def __init__(self, *, list_recipients: ListRecipients) -> None:
        self._list_recipients = list_recipients

    async def __call__(
        self,
        caller: Callable[[], Awaitable[Caller]],
        campaign_id: CampaignId,
        *,
        after: Place | None,
        give: Callable[[Sequence[RecipientResult]], Awaitable[None]],
    ) -> None:
        """Gives every recipient behind `after`, each page as it stands when it is read. `caller`:
        asked anew for each page. AppError NOT_FOUND."""
        while True:
            page = await self._list_recipients(
                await caller(), campaign_id, failed_only=False, after=after, at_most=_PAGE
            )
            if page:
                await give(page)
                after = page[-1].place
            if len(page) < _PAGE:
                return
