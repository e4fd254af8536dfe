"""Find out where at the counter a call comes from: which scanner, at which venue."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from passmill.domain.callers import Caller
from passmill.domain.ids import TenantId, parse_uuid
from passmill.domain.recent import Recent
from passmill.domain.scanners import Desk, Scanner
from passmill.domain.venues import Venue, VenueId
from passmill.errors import invalid_field, not_found
from passmill.store.database import Database
from passmill.store.scanners import find_desk
from passmill.store.venues import get_venue, venues_of_partner

# As long as an API key is known: what of a scanner can change is that it is revoked, and its key
# with it.
_KNOWN_SECONDS: Final = 4.0
_MAX_KNOWN: Final = 10_000


class FindDesk:
    """Knows scanners by their API keys. What it knows may be some seconds old."""

    __slots__ = ("_database", "_keys", "_monotonic", "_partners", "_venues")

    def __init__(
        self, *, database: Database, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`monotonic`: seconds that no clock correction moves."""
        self._database = database
        self._monotonic = monotonic
        self._keys: Recent[tuple[TenantId, str], tuple[Scanner, Venue] | str] = Recent(
            capacity=_MAX_KNOWN
        )
        self._venues: Recent[tuple[TenantId, UUID], Venue] = Recent(capacity=_MAX_KNOWN)
        self._partners: Recent[tuple[TenantId, str], frozenset[VenueId]] = Recent(
            capacity=_MAX_KNOWN
        )

    async def __call__(self, caller: Caller, venue_id: str = "") -> Desk:
        """The desk that the caller stands at. `venue_id`: what the request says; empty for nothing.

        AppError NOT_FOUND for a venue that does not exist, INVALID_FIELD when a scanner names
        another than its own.
        """
        scanner, venue = await self._scanner(caller)
        if scanner is None:
            venue = await self._venue(caller, venue_id) if venue_id else None
        elif venue_id and venue_id != str(scanner.venue_id):
            raise invalid_field("venue_id", "a scanner is where it was enrolled; leave it out")
        partner = "" if venue is None else venue.partner
        return Desk(
            key_id=caller.key_id,
            scanner=scanner,
            venue=venue,
            partner_venues=await self._venues_of(caller, partner) if partner else frozenset(),
        )

    async def _scanner(self, caller: Caller) -> tuple[Scanner | None, Venue | None]:
        key = (caller.tenant_id, caller.key_id)
        asked = self._monotonic()
        known = self._keys.find(key, now=asked)
        if known is None:
            async with self._database.statement(caller) as tx:
                known = await find_desk(tx, caller.key_id) or "none"
            self._keys.keep(key, known, until=asked + _KNOWN_SECONDS)
        return (None, None) if isinstance(known, str) else known

    async def _venues_of(self, caller: Caller, partner: str) -> frozenset[VenueId]:
        asked = self._monotonic()
        venues = self._partners.find((caller.tenant_id, partner), now=asked)
        if venues is None:
            async with self._database.statement(caller) as tx:
                venues = await venues_of_partner(tx, partner)
            self._partners.keep((caller.tenant_id, partner), venues, until=asked + _KNOWN_SECONDS)
        return venues

    async def _venue(self, caller: Caller, text: str) -> Venue:
        venue_id = parse_uuid(text)
        if venue_id is None:
            raise not_found("venue")
        asked = self._monotonic()
        venue = self._venues.find((caller.tenant_id, venue_id), now=asked)
        if venue is None:
            async with self._database.statement(caller) as tx:
                venue = await get_venue(tx, VenueId(venue_id))
            self._venues.keep((caller.tenant_id, venue_id), venue, until=asked + _KNOWN_SECONDS)
        return venue
