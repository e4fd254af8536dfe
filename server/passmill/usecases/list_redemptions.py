"""List redemptions: to a scanner those at its venue, to others all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from passmill.domain.callers import Caller
from passmill.domain.ids import PassId, parse_uuid
from passmill.domain.offers import OfferId
from passmill.domain.redemptions import Redemption, RedemptionId
from passmill.domain.scanners import ScannerId
from passmill.domain.venues import VenueId
from passmill.errors import not_found
from passmill.store.database import Database, Transaction
from passmill.store.offers import get_offer
from passmill.store.passes import get_passes
from passmill.store.redemptions import RedemptionFilter, list_redemptions
from passmill.store.scanners import require_scanner
from passmill.store.venues import get_venue
from passmill.usecases.find_desk import FindDesk


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRedemptions:
    """Which to list; every part that is not empty narrows it."""

    pass_id: str = ""
    offer_id: str = ""
    venue_id: str = ""
    scanner_id: str = ""
    created_from: datetime | None = None
    created_before: datetime | None = None
    only_standing: bool = False


class ListRedemptions:
    """Lists redemptions."""

    __slots__ = ("_database", "_find_desk")

    def __init__(self, *, database: Database, find_desk: FindDesk) -> None:
        self._database = database
        self._find_desk = find_desk

    async def __call__(
        self,
        caller: Caller,
        wanted: WantedRedemptions,
        *,
        before: RedemptionId | None,
        at_most: int,
    ) -> list[Redemption]:
        """Up to `at_most`, the newest first, those before `before` only. AppError NOT_FOUND for a
        pass, offer, venue or scanner that does not exist, and for another venue than the
        scanner's own."""
        desk = await self._find_desk(caller)
        async with self._database.transaction(caller, read_only=True) as tx:
            narrowed = await _narrowed(tx, wanted)
            if desk.scanner is not None:
                if narrowed.venue_id not in {None, desk.venue_id}:
                    raise not_found("venue")
                narrowed = replace(narrowed, venue_id=desk.scanner.venue_id)
            return await list_redemptions(tx, narrowed, before=before, at_most=at_most)


async def _narrowed(tx: Transaction, wanted: WantedRedemptions) -> RedemptionFilter:
    pass_id = offer_id = venue_id = scanner_id = None
    if wanted.pass_id:
        pass_id = PassId(_parsed(wanted.pass_id, "pass"))
        await get_passes(tx, [pass_id])
    if wanted.offer_id:
        offer_id = OfferId(_parsed(wanted.offer_id, "offer"))
        await get_offer(tx, offer_id)
    if wanted.venue_id:
        venue_id = VenueId(_parsed(wanted.venue_id, "venue"))
        await get_venue(tx, venue_id)
    if wanted.scanner_id:
        scanner_id = ScannerId(_parsed(wanted.scanner_id, "scanner"))
        await require_scanner(tx, scanner_id)
    return RedemptionFilter(
        pass_id=pass_id,
        offer_id=offer_id,
        venue_id=venue_id,
        scanner_id=scanner_id,
        created_from=wanted.created_from,
        created_before=wanted.created_before,
        only_standing=wanted.only_standing,
    )


def _parsed(text: str, noun: str) -> UUID:
    parsed = parse_uuid(text)
    if parsed is None:
        raise not_found(noun)
    return parsed
