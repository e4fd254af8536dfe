"""Claim links, by which people get their passes, and what becomes of them."""

from __future__ import annotations

import enum
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NewType
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from passmill.domain.claim_forms import EMAIL_SYSTEM, ClaimAnswers, ClaimField, persons_of
from passmill.domain.ids import CampaignId, PassId, TemplateId, TenantId
from passmill.domain.passes import Holder, PassDraft
from passmill.domain.values import Slot, Value, values_from_json

ClaimLinkId = NewType("ClaimLinkId", UUID)
ClaimId = NewType("ClaimId", UUID)

_TOKEN_BYTES: Final = 16
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_CLAIM_KEY: Final = re.compile(r"[A-Za-z0-9_-]{22,64}")
_HINTED_DIGITS: Final = 2


def new_claim_token() -> str:
    """A link's token, and a browser's claim key: 128 random bits in 22 URL-safe symbols."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def is_claim_token(text: str) -> bool:
    """Whether it has the form of a link's token."""
    return _TOKEN.fullmatch(text) is not None


def is_claim_key(text: str) -> bool:
    """Whether it has the form of a claim key: 22 to 64 URL-safe symbols."""
    return _CLAIM_KEY.fullmatch(text) is not None


class LinkState(enum.Enum):
    """Where a link is in its life."""

    OPEN = enum.auto()
    USED_UP = enum.auto()
    EXPIRED = enum.auto()
    REVOKED = enum.auto()


class ClaimState(enum.Enum):
    """What a claim comes to. CLAIMED_ELSEWHERE: by somebody else, or by the same person with
    another key. UNAVAILABLE: no pass can be issued just now."""

    OPEN = enum.auto()
    CLAIMED = enum.auto()
    CLAIMED_ELSEWHERE = enum.auto()
    USED_UP = enum.auto()
    EXPIRED = enum.auto()
    REVOKED = enum.auto()
    UNAVAILABLE = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHolder:
    """What is known before anybody claims. `slot_values`: canonical JSON (`values_to_json`);
    `expire_time`: the pass's."""

    holder: Holder = field(default_factory=Holder, repr=False)
    slot_values: str = field(default="{}", repr=False)
    expire_time: datetime | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimLink:
    """A link. `revision_number`: 0 for the newest. `pass_id`: of a pass issued before, which it
    gives. `max_uses`: None for any number."""

    link_id: ClaimLinkId
    template_id: TemplateId
    revision_number: int
    pass_id: PassId | None
    known: KnownHolder
    fields: tuple[ClaimField, ...]
    default_region: str
    max_uses: int | None
    uses: int
    once_per_person: bool
    expire_time: datetime | None
    revoke_time: datetime | None
    campaign_id: CampaignId | None
    source: str
    utm: Mapping[str, str]
    create_time: datetime

    def state(self, now: datetime) -> LinkState:
        """Where it is in its life."""
        if self.revoke_time is not None:
            return LinkState.REVOKED
        if self.expire_time is not None and self.expire_time <= now:
            return LinkState.EXPIRED
        if self.max_uses is not None and self.uses >= self.max_uses:
            return LinkState.USED_UP
        return LinkState.OPEN

    @property
    def is_for_one(self) -> bool:
        """Whether one person may claim it, once: then it is that person who has."""
        return self.max_uses == 1

    def refusal(self, now: datetime) -> ClaimState | None:
        """Why nobody new may claim it, None when somebody may."""
        match self.state(now):
            case LinkState.OPEN:
                return None
            case LinkState.REVOKED:
                return ClaimState.REVOKED
            case LinkState.EXPIRED:
                return ClaimState.EXPIRED
            case LinkState.USED_UP:
                return ClaimState.CLAIMED_ELSEWHERE if self.is_for_one else ClaimState.USED_UP


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPlan:
    """The links that a campaign makes, one to each pass that it issues. `max_uses`: None for any
    number. They end so many days after their pass was issued, or at `expire_time`, or never."""

    max_uses: int | None = 1
    lifetime_days: int | None = None
    expire_time: datetime | None = None
    source: str = ""
    utm: Mapping[str, str] = field(default_factory=dict)

    def end(self, issue_time: datetime) -> datetime | None:
        """When the link of a pass issued then ends."""
        if self.lifetime_days is None:
            return self.expire_time
        return issue_time + timedelta(days=self.lifetime_days)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim. `key_hash`: SHA-256 of its claim key; `person_hashes`: at most two, none where
    nobody asks for them. `answers`: None once there is a pass. `pass_id`: None until then."""

    claim_id: ClaimId
    link_id: ClaimLinkId
    key_hash: bytes = field(repr=False)
    person_hashes: tuple[bytes, ...] = field(repr=False)
    answers: ClaimAnswers | None = field(repr=False)
    pass_id: PassId | None


class RecoveryChannel(enum.StrEnum):
    """By what a holder is to be reached."""

    PHONE = "PHONE"
    EMAIL = "EMAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How a holder gets at a pass again. `hint`: the number's last two digits, nothing of an
    address."""

    channel: RecoveryChannel
    hint: str


def recovery_of(holder: Holder) -> Recovery | None:
    """How this holder can be reached, None when nothing is known."""
    if holder.phone:
        return Recovery(channel=RecoveryChannel.PHONE, hint=holder.phone[-_HINTED_DIGITS:])
    if holder.external_ids.get(EMAIL_SYSTEM):
        return Recovery(channel=RecoveryChannel.EMAIL, hint="")
    return None


def claimed_draft(link: ClaimLink, answers: ClaimAnswers, slots: Iterable[Slot]) -> PassDraft:
    """The pass to issue: the answers laid over what was known. `slots`: of the revision it is
    issued from. ValueError when what was known does not fit these slots any more."""
    known = link.known
    values: dict[str, Value] = values_from_json(slots, known.slot_values)
    values.update(answers.values)
    external_ids = dict(known.holder.external_ids)
    if answers.email:
        external_ids[EMAIL_SYSTEM] = answers.email
    return PassDraft(
        holder=Holder(
            name=answers.name or known.holder.name,
            phone=answers.phone or known.holder.phone,
            external_ids=external_ids,
        ),
        values=values,
        expire_time=known.expire_time,
        tags=known.tags,
    )


class ClaimPersons:
    """Knows people again without keeping who they are: keyed hashes, by a key derived from the
    edge's (32 bytes). Never shown: `repr` tells nothing."""

    __slots__ = ("_key",)

    def __init__(self, edge_key: bytes) -> None:
        self._key = HKDF(
            algorithm=SHA256(), length=32, salt=None, info=b"passmill/claim-person"
        ).derive(edge_key)

    def __repr__(self) -> str:
        return "ClaimPersons(…)"

    def of(self, tenant_id: TenantId, link: ClaimLink, answers: ClaimAnswers) -> tuple[bytes, ...]:
        """For each thing that whoever gave these answers is known again by (`persons_of`) 32 bytes,
        other ones for each link."""
        return tuple(
            hmac.digest(
                self._key,
                b"%d/%s/%s" % (tenant_id, link.link_id.bytes, person.encode()),
                "sha256",
            )
            for person in persons_of(link.fields, answers)
        )


def known_to_json(known: KnownHolder) -> str:
    """What is known, for storage."""
    holder = known.holder
    expire_time = None if known.expire_time is None else known.expire_time.isoformat()
    return json.dumps(
        [
            holder.name,
            holder.phone,
            dict(holder.external_ids),
            known.slot_values,
            expire_time,
            list(known.tags),
        ],
        ensure_ascii=False,
    )


def known_from_json(text: str) -> KnownHolder:
    """What `known_to_json` wrote."""
    name, phone, external_ids, slot_values, expire_time, tags = json.loads(text)
    return KnownHolder(
        holder=Holder(name=name, phone=phone, external_ids=external_ids),
        slot_values=slot_values,
        expire_time=None if expire_time is None else datetime.fromisoformat(expire_time),
        tags=tuple(tags),
    )
