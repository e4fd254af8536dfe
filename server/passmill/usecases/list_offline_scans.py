"""List offline scans: to a scanner those at its venue, to others all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from passmill.domain.callers import Caller
from passmill.domain.ids import PassId, parse_uuid
from passmill.domain.offers import OfferId
from passmill.domain.offline_scans import KeptScan, OfflineRecord, ScanPlace
from passmill.domain.redemptions import Redemption, RedemptionId
from passmill.domain.scanners import ScannerId
from passmill.domain.venues import VenueId
from passmill.errors import not_found
from passmill.store.database import Database, Transaction
from passmill.store.offline_scans import ScanFilter, list_scans
from passmill.store.redemptions import find_redemptions, first_uses
from passmill.store.scanners import require_scanner
from passmill.store.venues import get_venue
from passmill.usecases.find_desk import FindDesk


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedScans:
    """Which to list; every part that is set narrows it."""

    only_conflicts: bool = False
    venue_id: str = ""
    scanner_id: str = ""
    created_from: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedScan:
    """A scan with the uses it has to do with, as they are now. `redemption`: made of it;
    `conflicting_use`: known first; `first_use`: of a redemption that was not made, the first that
    stands."""

    scan: KeptScan
    redemption: Redemption | None
    conflicting_use: Redemption | None
    first_use: Redemption | None


class ListOfflineScans:
    """Lists offline scans. A partner's scanner is told of uses at that partner's venues alone."""

    __slots__ = ("_database", "_find_desk")

    def __init__(self, *, database: Database, find_desk: FindDesk) -> None:
        self._database = database
        self._find_desk = find_desk

    async def __call__(
        self, caller: Caller, wanted: WantedScans, *, before: ScanPlace | None, at_most: int
    ) -> list[ListedScan]:
        """Up to `at_most`, those told last first, those before `before` only. AppError NOT_FOUND
        for a venue or scanner that does not exist, and for another venue than the scanner's own."""
        desk = await self._find_desk(caller)
        async with self._database.transaction(caller, read_only=True) as tx:
            narrowed = await _narrowed(tx, wanted)
            if desk.scanner is not None:
                if narrowed.venue_id not in {None, desk.venue_id}:
                    raise not_found("venue")
                narrowed = replace(narrowed, venue_id=desk.scanner.venue_id)
            scans = await list_scans(tx, narrowed, before=before, at_most=at_most)
            return await _with_uses(tx, scans, partner=desk.partner)


async def _narrowed(tx: Transaction, wanted: WantedScans) -> ScanFilter:
    venue_id = scanner_id = None
    if wanted.venue_id:
        venue_id = VenueId(_parsed(wanted.venue_id, "venue"))
        await get_venue(tx, venue_id)
    if wanted.scanner_id:
        scanner_id = ScannerId(_parsed(wanted.scanner_id, "scanner"))
        await require_scanner(tx, scanner_id)
    return ScanFilter(
        only_conflicts=wanted.only_conflicts,
        venue_id=venue_id,
        scanner_id=scanner_id,
        created_from=wanted.created_from,
        created_before=wanted.created_before,
    )


async def _with_uses(
    tx: Transaction, scans: Sequence[KeptScan], *, partner: str
) -> list[ListedScan]:
    ids = {each.record.redemption_id for each in scans} | {
        each.conflicting_use_id for each in scans
    }
    known = await find_redemptions(tx, [each for each in ids if each], partner=partner)
    pairs = {pair for each in scans if (pair := _not_made(each.record)) is not None}
    first = await first_uses(tx, list(pairs), partner=partner)

    def find(redemption_id: RedemptionId | None) -> Redemption | None:
        return None if redemption_id is None else known.get(redemption_id)

    return [
        ListedScan(
            scan=each,
            redemption=find(each.record.redemption_id),
            conflicting_use=find(each.conflicting_use_id),
            first_use=None if (pair := _not_made(each.record)) is None else first.get(pair),
        )
        for each in scans
    ]


def _not_made(record: OfflineRecord) -> tuple[PassId, OfferId] | None:
    """Of which pass and offer a redemption was told that was not made."""
    if record.redemption_id is not None or record.pass_id is None or record.offer_id is None:
        return None
    return record.pass_id, record.offer_id


def _parsed(text: str, noun: str) -> UUID:
    parsed = parse_uuid(text)
    if parsed is None:
        raise not_found(noun)
    return parsed
