"""Holders: people with several passes, and what they are known by."""

from __future__ import annotations

import contextlib
import enum
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from passmill.domain.claim_forms import EMAIL_SYSTEM
from passmill.domain.ids import HolderId, PassId, ProgramId, TemplateId
from passmill.domain.ledger import Balance
from passmill.domain.passes import Holder, PassState
from passmill.domain.reference_ids import ReferenceNumber
from passmill.domain.telephones import is_e164, without_punctuation

MAX_IDENTITIES: Final = 50
MAX_PASSES: Final = 100

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
_CARD_NUMBER: Final = re.compile(r"[0-9]{13,19}")
_GROUPING: Final = re.compile(r"[\s-]")


class IdentityKind(enum.IntEnum):
    """Stored as its number, which is the protocol's."""

    EXTERNAL = 1
    PAYMENT_CARD = 2
    EMAIL = 3
    PHONE = 4


class HolderRefusal(enum.IntEnum):
    """Why nothing was linked. The numbers are the protocol's."""

    IDENTITY_TAKEN = 1
    PASS_TAKEN = 2
    HOLDER_ERASED = 3
    TOO_MANY = 4


class InvalidIdentity(ValueError):
    """An identity that cannot be one. `field`: which of its fields is wrong; the message says why,
    without the value."""

    def __init__(self, field_name: str, message: str) -> None:
        super().__init__(message)
        self.field = field_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Something by which a holder is known, in its one spelling. `system`: whose id it is, '' of
    e-mail addresses and telephone numbers."""

    kind: IdentityKind
    system: str
    text: str = field(repr=False)

    def encode(self) -> bytes:
        """What its keyed hash is made of: kind, system and text, each where no other can be."""
        return b"%d/%s/%s" % (self.kind, self.system.encode(), self.text.encode())


def read_identity(kind: IdentityKind, system: str, text: str) -> Identity:
    """An identity as somebody typed it. Raises InvalidIdentity.

    An e-mail address counts in small letters, and as its SHA-256 (so may it be given); a telephone
    number in E.164, without punctuation; other ids as they are.
    """
    has_system = kind in {IdentityKind.EXTERNAL, IdentityKind.PAYMENT_CARD}
    if has_system != bool(system):
        message = "must say whose id it is" if has_system else "must be empty with this kind"
        raise InvalidIdentity("system", message)
    match kind:
        case IdentityKind.EMAIL:
            text = _email_digest(text)
        case IdentityKind.PHONE:
            text = without_punctuation(text)
            if not is_e164(text):
                message = 'must be a number with country code, such as "+12065550123"'
                raise InvalidIdentity("id", message)
        case IdentityKind.PAYMENT_CARD:
            if is_card_number(text):
                message = (
                    "looks like the number of a payment card, which must not be sent here; send"
                    " the token that the terminal gives instead"
                )
                raise InvalidIdentity("id", message)
        case IdentityKind.EXTERNAL:
            pass
    return Identity(kind=kind, system=system, text=text)


def identities_of(holder: Holder) -> list[Identity]:
    """What the holder of a pass is known by: its telephone number, and its ids in other systems,
    that of e-mail addresses also as such. What can be no identity is left out."""
    wanted = [(IdentityKind.EXTERNAL, system, text) for system, text in holder.external_ids.items()]
    wanted.append((IdentityKind.PHONE, "", holder.phone))
    wanted.append((IdentityKind.EMAIL, "", holder.external_ids.get(EMAIL_SYSTEM, "")))
    found = []
    for kind, system, text in wanted:
        with contextlib.suppress(InvalidIdentity):
            found.append(read_identity(kind, system, text))
    return found


def is_card_number(text: str) -> bool:
    """Whether it may be a payment card's number: 13 to 19 digits, spaces and hyphens aside, whose
    check digit is right (ISO/IEC 7812-1, the formula of Luhn)."""
    digits = _GROUPING.sub("", text)
    if not _CARD_NUMBER.fullmatch(digits):
        return False
    doubled = (int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _email_digest(text: str) -> str:
    if _SHA256.fullmatch(text):
        return text.lower()
    address = unicodedata.normalize("NFC", text.strip()).lower()
    if not _EMAIL.fullmatch(address):
        raise InvalidIdentity("id", "must be an e-mail address, or the SHA-256 of one in hex")
    return hashlib.sha256(address.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedIdentity:
    """What is kept of an identity, beside its hash."""

    kind: IdentityKind
    system: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPass:
    """A pass that a holder has."""

    pass_id: PassId
    reference_number: ReferenceNumber
    program_id: ProgramId
    template_id: TemplateId
    state: PassState
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderRecord:
    """Somebody who has passes, as far as the rows of holders tell."""

    holder_id: HolderId
    create_time: datetime
    erase_time: datetime | None
    erase_end_time: datetime | None

    @property
    def is_erased(self) -> bool:
        """Whether nobody may be found or linked by it any more."""
        return self.erase_time is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHolder:
    """A holder with what is linked to it, the oldest first. `holder` None: a pass that was never
    linked, and whoever has it. `balances`: of the passes' accounts, by account and unit."""

    holder: HolderRecord | None
    identities: Sequence[LinkedIdentity]
    passes: Sequence[HeldPass]
    balances: Sequence[Balance] = ()
