"""Create a venue."""

from __future__ import annotations

import json

from passmill.domain.clock import Clock
from passmill.domain.display_names import admit_display_name
from passmill.domain.ids import new_uuid
from passmill.domain.venues import Venue, VenueId
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.venues import insert_venue
from passmill.usecases.mutation import Answer, Mutation, Mutator


class CreateVenue:
    """Makes venues."""

    __slots__ = ("_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[Venue], *, display_name: str, partner: str
    ) -> Answer:
        """Answers with the venue. AppError INVALID_FIELD."""
        name = admit_display_name(display_name, path="display_name")

        async def work(tx: Transaction) -> Venue:
            now = self._clock.now()
            venue = Venue(
                venue_id=VenueId(new_uuid()), display_name=name, partner=partner, create_time=now
            )
            await insert_venue(tx, venue)
            detail = json.dumps({"venue_id": str(venue.venue_id)})
            await insert_event(tx, kind="venue.created", pass_ids=[], detail=detail, now=now)
            return venue

        return await self._mutator.run(mutation, work)
