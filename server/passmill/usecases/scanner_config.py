"""Tell a scanner what it is and what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.counter_policies import CounterPolicy
from passmill.domain.offers import Offer, OfferId
from passmill.domain.scanners import Desk
from passmill.store.chains import steps_of_all_versions
from passmill.store.counter_policies import list_policies
from passmill.store.database import Database, Transaction
from passmill.store.offers import list_offers
from passmill.usecases.find_desk import FindDesk

MOST_OFFERS = 500
_READ_OFFERS = 5_000
_MOST_POLICIES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerConfig:
    """What it needs: the offers that are in use at its venue, now or later, at most 500, the oldest
    first, but not the steps of chains that other partners have, and the policies that programs have
    set. `time`: at which this was so."""

    desk: Desk
    offers: Sequence[Offer]
    policies: Sequence[CounterPolicy]
    time: datetime


class ReadScannerConfig:
    """Reads configurations."""

    __slots__ = ("_clock", "_database", "_find_desk")

    def __init__(self, *, database: Database, find_desk: FindDesk, clock: Clock) -> None:
        self._database = database
        self._find_desk = find_desk
        self._clock = clock

    async def __call__(self, caller: Caller, *, venue_id: str) -> ScannerConfig:
        """The configuration of the caller's desk. AppError NOT_FOUND (venue), INVALID_FIELD."""
        desk = await self._find_desk(caller, venue_id)
        now = self._clock.now()
        async with self._database.transaction(caller, read_only=True) as tx:
            offers = await list_offers(
                tx, program_id=None, include_archived=False, after=None, at_most=_READ_OFFERS
            )
            policies = await list_policies(tx, at_most=_MOST_POLICIES)
            others = await _steps_of_others(tx, desk, offers)
        at_hand = [
            offer
            for offer in offers
            if offer.offer_id not in others
            and offer.is_at(desk.venue_id)
            and (offer.valid_until is None or now < offer.valid_until)
        ]
        return ScannerConfig(desk=desk, offers=at_hand[:MOST_OFFERS], policies=policies, time=now)


async def _steps_of_others(
    tx: Transaction, desk: Desk, offers: Sequence[Offer]
) -> frozenset[OfferId]:
    """Which offers are steps of a chain that are not this partner's in any version."""
    chained = {each.offer_id: each.chain_id for each in offers if each.chain_id is not None}
    if not desk.partner or not chained:
        return frozenset()
    steps = await steps_of_all_versions(tx, sorted(set(chained.values())))
    own = {
        step.offer_id for chain in steps.values() for step in chain if step.partner == desk.partner
    }
    return frozenset(chained.keys() - own)
