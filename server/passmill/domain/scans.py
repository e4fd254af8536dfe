"""What is said at the counter: the state of a pass, whether an offer can be had, and why not.

Pure rules over what was read. What decides a use is not these but the redemption's row, which gets
in once (`store/redemptions.py`); these say beforehand what would come of it, and afterwards why.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from passmill.domain.ids import ProgramId, TemplateId
from passmill.domain.offers import Offer, OfferState
from passmill.domain.passes import PassState
from passmill.domain.redemptions import OfferUses
from passmill.domain.venues import VenueId


class ScanState(enum.StrEnum):
    """Mirrors `ScanState` of proto/passmill/v1/scan.proto, name for name."""

    VALID = "VALID"
    EXPIRED = "EXPIRED"
    VOIDED = "VOIDED"
    NOT_YET_VALID = "NOT_YET_VALID"
    WRONG_VENUE = "WRONG_VENUE"
    USED_UP = "USED_UP"
    UNKNOWN = "UNKNOWN"
    SEVERAL = "SEVERAL"
    NOT_YOUR_STEP = "NOT_YOUR_STEP"


class RefusalReason(enum.StrEnum):
    """Mirrors `RefusalReason` of proto/passmill/v1/scan.proto, name for name."""

    UNKNOWN_CODE = "UNKNOWN_CODE"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    WRONG_TENANT = "WRONG_TENANT"
    EXPIRED_CODE = "EXPIRED_CODE"
    KEY_REVOKED = "KEY_REVOKED"
    SEVERAL_PASSES = "SEVERAL_PASSES"
    EXPIRED = "EXPIRED"
    VOIDED = "VOIDED"
    ALREADY_REDEEMED = "ALREADY_REDEEMED"
    NOT_YET_VALID = "NOT_YET_VALID"
    OFFER_ENDED = "OFFER_ENDED"
    WRONG_VENUE = "WRONG_VENUE"
    NOT_ELIGIBLE = "NOT_ELIGIBLE"
    INSUFFICIENT_BALANCE = "INSUFFICIENT_BALANCE"
    RIGHT_MISSING = "RIGHT_MISSING"
    ALREADY_CHECKED_IN = "ALREADY_CHECKED_IN"
    NOT_CHECKED_IN = "NOT_CHECKED_IN"
    ALREADY_REVERSED = "ALREADY_REVERSED"
    SEQUENCE_REUSED = "SEQUENCE_REUSED"
    INVALID_SCAN = "INVALID_SCAN"
    NOT_YOUR_STEP = "NOT_YOUR_STEP"
    TOO_EARLY = "TOO_EARLY"
    TOO_LATE = "TOO_LATE"
    NOT_LATEST_STEP = "NOT_LATEST_STEP"
    BALANCE_TOO_LARGE = "BALANCE_TOO_LARGE"


# What keeps the offers that a pass stands for from being had, as the state of the pass; the first
# of these that one of them has is the pass's.
_STATES: Final[Mapping[RefusalReason, ScanState]] = {
    RefusalReason.WRONG_VENUE: ScanState.WRONG_VENUE,
    RefusalReason.NOT_YET_VALID: ScanState.NOT_YET_VALID,
    RefusalReason.TOO_EARLY: ScanState.NOT_YET_VALID,
    RefusalReason.TOO_LATE: ScanState.EXPIRED,
    RefusalReason.NOT_YOUR_STEP: ScanState.NOT_YOUR_STEP,
    RefusalReason.ALREADY_REDEEMED: ScanState.USED_UP,
    RefusalReason.OFFER_ENDED: ScanState.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFacts:
    """What the rules look at of a pass. `expires_at`: as it shows, None for never. `tier`: empty
    for none."""

    program_id: ProgramId
    template_id: TemplateId
    state: PassState
    expires_at: datetime | None
    tier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An offer as it stands for one pass: `refusal` None when it can be had. `is_hidden`: it is
    another partner's step of a chain, which is nobody's business at this desk."""

    offer: Offer
    uses: OfferUses
    refusal: RefusalReason | None
    is_hidden: bool = False


def is_for(offer: Offer, facts: PassFacts) -> bool:
    """Whether an offer is for passes like this one, tiers aside."""
    return offer.program_id == facts.program_id and offer.template_id in {None, facts.template_id}


def refusal_of_pass(facts: PassFacts, *, at: datetime) -> RefusalReason | None:
    """Why nothing at all can be had for a pass, None when something may."""
    if facts.state is PassState.VOIDED:
        return RefusalReason.VOIDED
    if facts.expires_at is not None and facts.expires_at <= at:
        return RefusalReason.EXPIRED
    return None


def refusal_of_offer(
    offer: Offer, uses: OfferUses, facts: PassFacts, *, venue_id: VenueId | None, at: datetime
) -> RefusalReason | None:
    """Why a pass cannot have an offer at a venue then, None when it can; its balance aside."""
    if not is_for(offer, facts):
        return RefusalReason.NOT_ELIGIBLE
    # Before the state of the pass: one that is voided by its use shall say that it was used.
    if offer.is_used_up(uses.uses):
        return RefusalReason.ALREADY_REDEEMED
    if offer.state is OfferState.ARCHIVED:
        return RefusalReason.OFFER_ENDED
    if (refusal := refusal_of_pass(facts, at=at)) is not None:
        return refusal
    return _refusal_of_time_and_place(offer, facts, venue_id=venue_id, at=at)


def _refusal_of_time_and_place(
    offer: Offer, facts: PassFacts, *, venue_id: VenueId | None, at: datetime
) -> RefusalReason | None:
    if offer.valid_from is not None and at < offer.valid_from:
        return RefusalReason.NOT_YET_VALID
    if offer.valid_until is not None and at >= offer.valid_until:
        return RefusalReason.OFFER_ENDED
    if not offer.is_at(venue_id):
        return RefusalReason.WRONG_VENUE
    if offer.tiers and facts.tier not in offer.tiers:
        return RefusalReason.NOT_ELIGIBLE
    return None


def state_of(facts: PassFacts, standings: Iterable[Standing], *, at: datetime) -> ScanState:
    """The state of a pass at a venue, from the standings of its offers there.

    Offers of its own template are what it stands for: when none of them can be had, it says why.
    What is hidden counts where there is nothing else.
    """
    own = [each for each in standings if each.offer.template_id == facts.template_id]
    own = [each for each in own if not each.is_hidden] or own
    if facts.state is PassState.VOIDED:
        is_by_use = any(
            each.refusal is RefusalReason.ALREADY_REDEEMED and each.offer.mark.void_when_used_up
            for each in own
        )
        return ScanState.USED_UP if is_by_use else ScanState.VOIDED
    if refusal_of_pass(facts, at=at) is not None:
        return ScanState.EXPIRED
    reasons = {each.refusal for each in own}
    if not reasons or not reasons <= _STATES.keys():
        return ScanState.VALID
    return next(state for reason, state in _STATES.items() if reason in reasons)
