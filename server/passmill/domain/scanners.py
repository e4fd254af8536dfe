"""Scanners: devices of staff, what they may do, and the codes that make them scanners.

A code is eight symbols of the reference ids' alphabet, 40 random bits: short, for it is typed. It
is good for ten minutes and one device, and guesses are limited.
"""

from __future__ import annotations

import enum
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NewType
from uuid import UUID

from passmill.domain.reference_ids import ALPHABET, fold_symbols
from passmill.domain.venues import Venue, VenueId
from passmill.errors import AppError, Reason

ScannerId = NewType("ScannerId", UUID)

CODE_LIFE: Final = timedelta(minutes=10)
OWN_REVERSAL: Final = timedelta(minutes=10)
"""So long a scanner may take back what it did itself."""

TILL_ORIGIN: Final = "key:"
"""What the origin of a till's offline scans begins with."""

_CODE_SYMBOLS: Final = 8


class ScannerRight(enum.StrEnum):
    """What a scanner may do besides verifying. Stored as its text."""

    REDEEM = "redeem"
    CHECK_IN = "check_in"
    REVERSE = "reverse"
    LOOK_UP = "look_up"
    SEE_HOLDER = "see_holder"
    POST_BALANCES = "post_balances"
    MANAGE_BALANCES = "manage_balances"
    IDENTIFY = "identify"
    LINK = "link"
    MOVE = "move"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """A device that scans at one venue, by the API key with this id, which is good until
    `expire_time`."""

    scanner_id: ScannerId
    venue_id: VenueId
    display_name: str
    rights: frozenset[ScannerRight]
    key_id: str
    enrol_time: datetime
    revoke_time: datetime | None
    expire_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerCode:
    """A code at rest: its SHA-256, and what becomes of the device that brings it."""

    code_hash: bytes
    venue_id: VenueId
    rights: frozenset[ScannerRight]
    create_time: datetime
    expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where and by what somebody stands at the counter. `scanner`: None for a till's own key, which
    may do everything its scope allows; `venue`: None when a till did not say; `partner_venues`: all
    of the partner whose venue it is, none when it is the tenant's own."""

    key_id: str
    scanner: Scanner | None
    venue: Venue | None
    partner_venues: frozenset[VenueId] = frozenset()

    @property
    def venue_id(self) -> VenueId | None:
        """Where it stands."""
        return None if self.venue is None else self.venue.venue_id

    @property
    def partner(self) -> str:
        """Whose venue it is; empty for the tenant's own."""
        return "" if self.venue is None else self.venue.partner

    @property
    def scanner_id(self) -> ScannerId | None:
        """The scanner, when it is one."""
        return None if self.scanner is None else self.scanner.scanner_id

    @property
    def origin(self) -> str:
        """Whose local sequence numbers its offline scans have."""
        if self.scanner is None:
            return f"{TILL_ORIGIN}{self.key_id}"
        return str(self.scanner.scanner_id)

    def may(self, right: ScannerRight) -> bool:
        """Whether it has a right."""
        return self.scanner is None or right in self.scanner.rights

    def sees(self, venue_id: VenueId | None) -> bool:
        """Whether it is told of what was done at a venue: a partner of its own venues alone."""
        return not self.partner or venue_id in self.partner_venues

    def require(self, right: ScannerRight) -> None:
        """AppError SCANNER_RIGHT_MISSING when it has it not."""
        if not self.may(right):
            raise AppError(
                reason=Reason.SCANNER_RIGHT_MISSING,
                message=f"This scanner lacks the right {right.value}.",
                metadata={"right": right.value},
            )

    def venue_of_entry(self, told: str) -> str:
        """Where an entry that is posted here happened. `told`: what the caller says, which of a
        scanner is not asked."""
        return told if self.scanner is None else str(self.scanner.venue_id)


def new_scanner_code() -> str:
    """A code as people are shown it: "K7M3-Q8TX"."""
    symbols = "".join(secrets.choice(ALPHABET) for _ in range(_CODE_SYMBOLS))
    return f"{symbols[:4]}-{symbols[4:]}"


def scanner_code_hash(text: str) -> bytes | None:
    """The SHA-256 by which a code in any spelling is known; None when it cannot be one."""
    symbols = fold_symbols(text)
    if symbols is None or len(symbols) != _CODE_SYMBOLS:
        return None
    return hashlib.sha256(b"scanner code " + symbols.encode()).digest()
