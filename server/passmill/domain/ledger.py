"""The ledger of points, stamps and stored money: entries, balances, holds."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NewType
from uuid import UUID

from passmill.domain.scanners import ScannerId

AccountId = NewType("AccountId", UUID)
"""What a balance belongs to: the id of the pass that it began with."""
EntryId = NewType("EntryId", UUID)
HoldId = NewType("HoldId", UUID)

LARGEST_BALANCE: Final = 10**15 - 1
"""Wallets hold numbers as doubles, which are exact so far (`domain.money.MAX_NUMBER_DIGITS`)."""


class EntryKind(enum.IntEnum):
    """Stored as its number, which is the protocol's too."""

    EARN = 1
    BURN = 2
    ADJUST = 3
    EXPIRE = 4
    REVERSAL = 5


class HoldState(enum.IntEnum):
    """Stored as its number, which is the protocol's too."""

    OPEN = 1
    CAPTURED = 2
    RELEASED = 3
    EXPIRED = 4


class EntryRefusal(enum.IntEnum):
    """Why nothing was posted; mirrors `EntryRefusal` of proto/passmill/v1/balance.proto."""

    INSUFFICIENT_BALANCE = 1
    VERSION_MISMATCH = 2
    BALANCE_TOO_LARGE = 3
    PASS_VOIDED = 4
    PASS_EXPIRED = 5
    ALREADY_REVERSED = 6
    NOT_REVERSIBLE = 7
    HOLD_ENDED = 8
    HOLD_EXPIRED = 9
    ABOVE_HOLD = 10
    NOT_PAYABLE = 11
    NOTHING_TO_PAY = 12
    UNKNOWN_PASS = 13
    UNKNOWN_UNIT = 14
    REQUEST_ID_REUSED = 15
    ACCOUNT_IN_USE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """An entry to be posted to one account.

    `request_id`: posted once under it, for good. `amount`: signed, in the unit's smallest part, not
    0. `earned`: by how much what was earned changes; that of EARN, and of its reversal.
    `expected_version`: only if the balance has this version. `freed`: how much of what is held the
    entry spends or frees, with `hold_id`.
    """

    account_id: AccountId
    unit: str
    kind: EntryKind
    amount: int
    request_id: UUID
    occur_time: datetime
    earned: int = 0
    expected_version: int | None = None
    reversed_entry_id: EntryId | None = None
    hold_id: HoldId | None = None
    freed: int = 0
    reference: str = ""
    venue: str = ""
    expire_time: datetime | None = None
    scanner_id: ScannerId | None = None

    def first_end(self, now: datetime) -> datetime | None:
        """From when on some of what this adds may be past its end; None: none ever will be."""
        if self.amount > 0 and self.kind is EntryKind.REVERSAL:
            return now  # of what comes back nobody knows without a look at all entries
        return self.expire_time if self.amount > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One entry, never changed. `sequence`: 1, 2, 3 … within its account and unit. `expire_time`:
    when what was earned ends; of an EXPIRE of the service's own, the end that had come."""

    entry_id: EntryId
    account_id: AccountId
    unit: str
    sequence: int
    kind: EntryKind
    amount: int
    balance_after: int
    request_id: UUID
    reversed_entry_id: EntryId | None
    hold_id: HoldId | None
    reference: str
    venue: str
    expire_time: datetime | None
    occur_time: datetime
    create_time: datetime
    scanner_id: ScannerId | None = None

    def is_of(self, draft: NewEntry) -> bool:
        """Whether this is what `draft` asks for, so that it was only sent again."""
        return (
            self.account_id == draft.account_id
            and self.unit == draft.unit
            and self.kind == draft.kind
            and self.amount == draft.amount
            and self.reversed_entry_id == draft.reversed_entry_id
            and self.hold_id == draft.hold_id
            and self.reference == draft.reference
            and self.venue == draft.venue
            and self.expire_time == draft.expire_time
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What an account has of a unit. `version`: how many entries there are. `expired`: past its
    end and not held, but not taken yet. `next_expire_time`: from when on some may be past its end,
    None for never; early, maybe, but not late."""

    account_id: AccountId
    unit: str
    version: int = 0
    balance: int = 0
    held: int = 0
    earned: int = 0
    expired: int = 0
    next_expire_time: datetime | None = None

    @property
    def available(self) -> int:
        """What can be spent."""
        return self.balance - self.held - self.expired

    def is_due(self, now: datetime) -> bool:
        """Whether some of it may be past its end."""
        return self.next_expire_time is not None and self.next_expire_time <= now

    def refusal_of(self, draft: NewEntry) -> EntryRefusal | None:
        """Why the draft cannot be posted to this balance; None when it can."""
        if draft.expected_version not in (None, self.version):
            return EntryRefusal.VERSION_MISMATCH
        after = self.balance + draft.amount
        if after < self.held - draft.freed:
            return EntryRefusal.INSUFFICIENT_BALANCE
        if after > LARGEST_BALANCE:
            return EntryRefusal.BALANCE_TOO_LARGE
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What came of a draft. `entry`: None when it was refused, but with ALREADY_REVERSED, where it
    is the reversal that there is. `is_repeated`: it was posted before."""

    balance: Balance
    entry: LedgerEntry | None = None
    refusal: EntryRefusal | None = None
    is_repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Part of a balance set aside until it is captured, released, or its time is over."""

    hold_id: HoldId
    account_id: AccountId
    unit: str
    amount: int
    state: HoldState
    reference: str
    expire_time: datetime
    create_time: datetime


def earliest(*times: datetime | None) -> datetime | None:
    """The first of these; None stands for never."""
    return min((each for each in times if each is not None), default=None)


def signed_amount(kind: EntryKind, amount: int) -> int:
    """By how much an entry changes the balance: what is burnt or expires is taken away."""
    return -amount if kind in (EntryKind.BURN, EntryKind.EXPIRE) else amount
