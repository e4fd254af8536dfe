"""What it takes a scanner to take an entry back."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from passmill.domain.ledger import AccountId, EntryId, EntryKind, LedgerEntry
from passmill.domain.scanners import OWN_REVERSAL, Desk, Scanner, ScannerId, ScannerRight
from passmill.domain.venues import VenueId
from passmill.usecases.reverse_entry import right_to_reverse

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
OWN, OTHER = ScannerId(UUID(int=1)), ScannerId(UUID(int=2))
POST, MANAGE = ScannerRight.POST_BALANCES, ScannerRight.MANAGE_BALANCES


def desk_of(scanner_id: ScannerId | None) -> Desk:
    """Where a scanner stands, or a till."""
    if scanner_id is None:
        return Desk(key_id="k", scanner=None, venue=None)
    scanner = Scanner(
        scanner_id=scanner_id,
        venue_id=VenueId(UUID(int=3)),
        display_name="Gate",
        rights=frozenset({POST}),
        key_id="k",
        enrol_time=NOW,
        revoke_time=None,
    )
    return Desk(key_id="k", scanner=scanner, venue=None)


def entry_of(scanner_id: ScannerId | None, age: timedelta) -> LedgerEntry:
    """What was posted so long ago."""
    return LedgerEntry(
        entry_id=EntryId(UUID(int=4)),
        account_id=AccountId(UUID(int=5)),
        unit="points",
        sequence=1,
        kind=EntryKind.EARN,
        amount=5,
        balance_after=5,
        request_id=UUID(int=6),
        reversed_entry_id=None,
        hold_id=None,
        reference="",
        venue="",
        expire_time=None,
        # A till that was offline says that it happened long ago; what counts is when it was posted.
        occur_time=NOW - timedelta(days=3),
        create_time=NOW - age,
        scanner_id=scanner_id,
    )


@pytest.mark.parametrize(
    ("here", "poster", "age", "needed"),
    [
        (OWN, OWN, timedelta(0), POST),
        (OWN, OWN, OWN_REVERSAL, POST),
        (OWN, OWN, OWN_REVERSAL + timedelta(microseconds=1), MANAGE),
        (OWN, OTHER, timedelta(0), MANAGE),
        (OWN, None, timedelta(0), MANAGE),
        (None, None, timedelta(0), MANAGE),
    ],
)
def test_only_its_own_of_a_moment_ago(
    here: ScannerId | None, poster: ScannerId | None, age: timedelta, needed: ScannerRight
) -> None:
    """The small right does for what the scanner posted itself in the last ten minutes; nobody's
    entry is nobody's own."""
    assert right_to_reverse(desk_of(here), entry_of(poster, age), now=NOW) is needed
