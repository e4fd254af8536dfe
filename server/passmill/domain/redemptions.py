"""What was done at the counter: uses of offers, stays at venues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NewType
from uuid import UUID

from passmill.domain.ids import PassId
from passmill.domain.offers import ChainId, OfferId, UnitAmount
from passmill.domain.scanners import ScannerId
from passmill.domain.venues import VenueId

RedemptionId = NewType("RedemptionId", UUID)
CheckInId = NewType("CheckInId", UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """One use of an offer by a pass. `scan_time`: when the pass was shown; `create_time`: when the
    service heard of it. `key_id`: the credential, for the record. `chain_id`: of which chain the
    offer was a step then."""

    redemption_id: RedemptionId
    pass_id: PassId
    offer_id: OfferId
    use_number: int
    venue_id: VenueId | None
    scanner_id: ScannerId | None
    key_id: str
    staff: str
    scan_time: datetime
    create_time: datetime
    is_offline: bool
    cost: UnitAmount | None
    reverse_time: datetime | None = None
    reverse_reason: str = ""
    chain_id: ChainId | None = None

    def reversed_at(self, now: datetime, reason: str) -> Redemption:
        """This one, taken back."""
        return replace(self, reverse_time=now, reverse_reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferUses:
    """How often a pass has used an offer, not counting what was taken back, and when first."""

    uses: int = 0
    first_use_time: datetime | None = None
    first_use_venue_id: VenueId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckIn:
    """A stay of a pass at a venue; `out_time` None while it lasts."""

    check_in_id: CheckInId
    pass_id: PassId
    venue_id: VenueId
    in_time: datetime
    out_time: datetime | None
    is_offline: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkUndo:
    """What a pass showed before an offer was used up, in the stored form of values: of each slot
    that was set, what it was (None for nothing) and what it became. `is_voided`: it was voided by
    it."""

    slots: Mapping[str, tuple[object, object]]
    is_voided: bool
