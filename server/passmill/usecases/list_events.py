"""Give a page of what happened."""

from __future__ import annotations

from collections.abc import Sequence

from passmill.domain.callers import Caller
from passmill.domain.events import EventKind, EventPage, EventPlace
from passmill.store import events
from passmill.store.database import Database


class ListEvents:
    """Reads events in an order in which nothing is skipped."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def __call__(
        self,
        caller: Caller,
        *,
        after: EventPlace | None,
        kinds: Sequence[EventKind],
        at_most: int,
    ) -> EventPage:
        """The next events behind `after`; None begins with the oldest. `kinds`: empty for all.

        AppError CURSOR_EXPIRED.
        """
        async with self._database.statement(caller) as tx:
            return await events.read_events(tx, after=after, kinds=kinds, at_most=at_most)

    async def newest(self, caller: Caller) -> EventPlace:
        """Behind all that there is."""
        async with self._database.statement(caller) as tx:
            return await events.newest_place(tx)
