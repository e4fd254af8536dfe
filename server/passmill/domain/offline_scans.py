"""Scans made while a scanner was offline, and what becomes of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from passmill.domain.ids import PassId, TenantId, derived_uuid
from passmill.domain.offers import OfferId
from passmill.domain.redemptions import Redemption, RedemptionId
from passmill.domain.scans import RefusalReason
from passmill.domain.venues import VenueId


class OfflineAction(enum.StrEnum):
    """What was done. Stored as its text."""

    REDEEM = "redeem"
    CHECK_IN = "check_in"
    CHECK_OUT = "check_out"
    REFUSE = "refuse"


class OfflineOutcome(enum.StrEnum):
    """What became of it. Stored as its text; mirrors OfflineScanResult.Outcome."""

    ACCEPTED = "ACCEPTED"
    DUPLICATE = "DUPLICATE"
    CONFLICT = "CONFLICT"
    REFUSED = "REFUSED"


# It happened, and cannot be true beside what was known first. What else is refused can never have
# been good.
_CONFLICTS: Final = frozenset(
    {
        RefusalReason.ALREADY_REDEEMED,
        RefusalReason.INSUFFICIENT_BALANCE,
        RefusalReason.VOIDED,
        RefusalReason.ALREADY_CHECKED_IN,
        RefusalReason.NOT_CHECKED_IN,
        RefusalReason.NOT_YOUR_STEP,
        RefusalReason.OFFER_ENDED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineRecord:
    """A scan as it is kept: whose it was (`origin`, `local_sequence`), what was done, and what
    became of it. `fingerprint`: tells this scan's content from another's."""

    origin: str
    local_sequence: int
    fingerprint: bytes = field(repr=False)
    action: OfflineAction
    outcome: OfflineOutcome
    reason: RefusalReason | None
    pass_id: PassId | None
    offer_id: OfferId | None
    redemption_id: RedemptionId | None
    staff: str
    scan_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPlace:
    """A place among the scans of a tenant, by when they were told; no two have the same."""

    create_time: datetime
    origin: str
    local_sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptScan:
    """A scan as it is listed. `create_time`: when it was told; `conflicting_use_id`: of a conflict,
    the use that was known first, where the desk could see it."""

    record: OfflineRecord
    venue_id: VenueId | None
    create_time: datetime
    conflicting_use_id: RedemptionId | None

    @property
    def place(self) -> ScanPlace:
        """Where it is in the order of lists."""
        return ScanPlace(
            create_time=self.create_time,
            origin=self.record.origin,
            local_sequence=self.record.local_sequence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineResult:
    """What is answered of a scan. `first_outcome`: of a duplicate, what became of it the first
    time; `first_use`: what it conflicts with."""

    local_sequence: int
    outcome: OfflineOutcome
    first_outcome: OfflineOutcome | None = None
    reason: RefusalReason | None = None
    pass_id: PassId | None = None
    redemption: Redemption | None = None
    first_use: Redemption | None = None


def outcome_of(refusal: RefusalReason | None) -> OfflineOutcome:
    """What a scan becomes that is refused for this, or not at all."""
    if refusal is None:
        return OfflineOutcome.ACCEPTED
    return OfflineOutcome.CONFLICT if refusal in _CONFLICTS else OfflineOutcome.REFUSED


def scan_request_id(tenant_id: TenantId, origin: str, local_sequence: int) -> UUID:
    """The request id under which a scan is done: the same each time."""
    return derived_uuid(f"offline scan {tenant_id}/{origin}/{local_sequence}")
