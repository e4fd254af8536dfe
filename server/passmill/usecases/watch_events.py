"""Tell what happens, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.events import EventKind, EventPage, EventPlace
from passmill.usecases.list_events import ListEvents

LOOK_SECONDS: Final = 1.0
TELL_SECONDS: Final = 10.0
# So many events go in one message.
_AT_ONCE: Final = 500


class WatchEvents:
    """Looks every second, reads on at once while there is more, and says at least every ten seconds
    where to go on.

    Each watcher looks by itself: a look at nothing new is one short statement, and a notification
    would take a connection of its own from each process.
    """

    def __init__(
        self,
        *,
        list_events: ListEvents,
        look_seconds: float = LOOK_SECONDS,
        tell_seconds: float = TELL_SECONDS,
    ) -> None:
        self._list_events = list_events
        self._look_seconds = look_seconds
        self._tell_seconds = tell_seconds

    async def __call__(
        self,
        caller: Callable[[], Awaitable[Caller]],
        *,
        after: EventPlace | None,
        kinds: Sequence[EventKind],
        only_new: bool,
        tell: Callable[[EventPage], Awaitable[None]],
    ) -> None:
        """Never returns; ends by cancellation. `after`: None begins with the oldest event, or with
        those to come if `only_new`. `caller`: asked anew for each look.

        AppError CURSOR_EXPIRED.
        """
        now = asyncio.get_running_loop().time
        place = await self._list_events.newest(await caller()) if only_new else after
        told_at: float | None = None
        while True:
            page = await self._list_events(
                await caller(), after=place, kinds=kinds, at_most=_AT_ONCE
            )
            place = page.place
            if page.events or told_at is None or now() - told_at >= self._tell_seconds:
                await tell(page)
                told_at = now()
            if page.is_last:
                await asyncio.sleep(self._look_seconds)
