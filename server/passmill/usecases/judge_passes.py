"""What passes are worth at a desk: their state, their offers, what staff are to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from passmill.domain.apple.pass_json import default_values
from passmill.domain.callers import Caller
from passmill.domain.chains import ChainPlace
from passmill.domain.counter_policies import CounterPolicy, StaffDemand
from passmill.domain.ids import PassId
from passmill.domain.ledger import Balance
from passmill.domain.offers import ChainId, Offer, UnitAmount
from passmill.domain.passes import WalletPass
from passmill.domain.redemptions import OfferUses, Redemption
from passmill.domain.scanners import Desk
from passmill.domain.scans import (
    PassFacts,
    RefusalReason,
    ScanState,
    Standing,
    refusal_of_offer,
    state_of,
)
from passmill.domain.values import Value
from passmill.signing.revisions import LoadedRevision
from passmill.store.accounts import find_accounts
from passmill.store.chains import read_places
from passmill.store.database import Database
from passmill.store.ledger import get_balances
from passmill.store.passes import ListedPass
from passmill.store.standings import CounterHistory, read_histories
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.pass_content import PassContents, TenantContent, stored_values
from passmill.usecases.program_counters import ProgramCounters


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPass:
    """A pass at a desk. `values`: as it shows them, defaults among them. `standings`: of its
    offers, those that can be had first; no other partner's steps of a chain are among them, nor in
    `history`, which tells a partner of its own venues alone. `demands`: what its balances alone
    demand of staff."""

    listed: ListedPass
    facts: PassFacts
    values: Mapping[str, Value]
    policy: CounterPolicy
    state: ScanState
    standings: Sequence[Standing]
    history: CounterHistory
    balances: Sequence[Balance]

    @property
    def demands(self) -> Sequence[StaffDemand]:
        """What is demanded of staff for the pass alone."""
        return self.policy.demanded(self._stored())

    def demands_for(self, offer: Offer) -> Sequence[StaffDemand]:
        """What is demanded of staff when an offer is redeemed."""
        return self.policy.demanded([*self._stored(), offer.worth, offer.cost])

    def _stored(self) -> list[UnitAmount]:
        return [UnitAmount(unit=each.unit, amount=each.balance) for each in self.balances]


def facts_of(
    wallet_pass: WalletPass,
    listed: ListedPass,
    loaded: LoadedRevision,
    content: TenantContent,
    policy: CounterPolicy,
) -> tuple[PassFacts, Mapping[str, Value]]:
    """What the rules look at of a pass in a revision, and its values with defaults."""
    values = {**default_values(loaded.content), **stored_values(loaded, wallet_pass)}
    tier = values.get(policy.tier_slot)
    facts = PassFacts(
        program_id=listed.program_id,
        template_id=listed.template_id,
        state=wallet_pass.state,
        expires_at=content.expires_at(loaded, wallet_pass, values),
        tier=tier if isinstance(tier, str) else "",
    )
    return facts, values


class JudgePasses:
    """Judges passes: one statement for what they had, one for what they have."""

    __slots__ = ("_contents", "_counters", "_database", "_load_revision")

    def __init__(
        self,
        *,
        database: Database,
        load_revision: LoadRevision,
        contents: PassContents,
        counters: ProgramCounters,
    ) -> None:
        self._database = database
        self._load_revision = load_revision
        self._contents = contents
        self._counters = counters

    async def __call__(
        self, caller: Caller, desk: Desk, passes: Sequence[ListedPass], *, at: datetime
    ) -> list[JudgedPass]:
        """The passes as they are worth at the desk at this time, in their order."""
        content = await self._contents.of(caller)
        counters = {
            program_id: await self._counters.of(caller, program_id)
            for program_id in {each.program_id for each in passes}
        }
        pass_ids = [each.wallet_pass.pass_id for each in passes]
        offers = {offer.offer_id for each in counters.values() for offer in each.offers}
        chains = {
            offer.chain_id
            for each in counters.values()
            for offer in each.offers
            if offer.chain_id is not None
        }
        async with self._database.statement(caller) as tx:
            histories = await read_histories(tx, pass_ids, sorted(offers))
        places: Mapping[PassId, Mapping[ChainId, ChainPlace]] = {}
        if chains:
            async with self._database.statement(caller) as tx:
                places = await read_places(tx, pass_ids, sorted(chains))
        balances = await self._balances(caller, pass_ids, at=at)
        judged = []
        for listed in passes:
            counter = counters[listed.program_id]
            pass_id = listed.wallet_pass.pass_id
            loaded = await self._load_revision.by_id(caller, listed.wallet_pass.revision_id)
            facts, values = facts_of(listed.wallet_pass, listed, loaded, content, counter.policy)
            at_places = places.get(pass_id, {})
            history = _seen(histories[pass_id], at_places, desk)
            standings = stand(
                counter.for_template(listed.template_id),
                history,
                facts,
                desk=desk,
                places=at_places,
                at=at,
            )
            judged.append(
                JudgedPass(
                    listed=listed,
                    facts=facts,
                    values=values,
                    policy=counter.policy,
                    state=state_of(facts, standings, at=at),
                    standings=_affordable(
                        [each for each in standings if not each.is_hidden], balances[pass_id]
                    ),
                    history=history,
                    balances=balances[pass_id],
                )
            )
        return judged

    async def _balances(
        self, caller: Caller, pass_ids: Sequence[PassId], *, at: datetime
    ) -> dict[PassId, list[Balance]]:
        async with self._database.transaction(caller, read_only=True) as tx:
            accounts = await find_accounts(tx, pass_ids)
            found = await get_balances(tx, list(set(accounts.values())), now=at)
        return {
            pass_id: [
                balance for (owner, _), balance in sorted(found.items()) if owner == account_id
            ]
            for pass_id, account_id in accounts.items()
        }


def stand(
    offers: Sequence[Offer],
    history: CounterHistory,
    facts: PassFacts,
    *,
    desk: Desk,
    places: Mapping[ChainId, ChainPlace],
    at: datetime,
) -> list[Standing]:
    """Offers as they stand for a pass at a desk, its balances aside. `places`: where it stands in
    the chains that they are steps of."""
    standings = []
    for offer in offers:
        uses = history.uses.get(offer.offer_id, OfferUses())
        place = None if offer.chain_id is None else places.get(offer.chain_id)
        standings.append(
            Standing(
                offer=offer,
                uses=uses,
                refusal=refusal_at(offer, uses, facts, desk=desk, place=place, at=at),
                is_hidden=place is not None
                and place.is_hidden(offer.offer_id, partner=desk.partner),
            )
        )
    return standings


def refusal_at(
    offer: Offer,
    uses: OfferUses,
    facts: PassFacts,
    *,
    desk: Desk,
    place: ChainPlace | None,
    at: datetime,
) -> RefusalReason | None:
    """Why a pass cannot have an offer at a desk then, None when it can; its balance aside.
    `place`: where it stands in the chain that the offer is a step of, None when it is of none."""
    step = None
    if place is not None:
        step = place.refusal(offer.offer_id, partner=desk.partner, at=at)
        # First, so that nothing else is told of another partner's step.
        if place.is_hidden(offer.offer_id, partner=desk.partner):
            return step
    return refusal_of_offer(offer, uses, facts, venue_id=desk.venue_id, at=at) or step


def _seen(
    history: CounterHistory, places: Mapping[ChainId, ChainPlace], desk: Desk
) -> CounterHistory:
    """The history as the desk is told it: a partner's without other partners' steps of chains, nor
    what was done at venues that are not its own."""
    if not desk.partner:
        return history

    def is_seen(use: Redemption) -> bool:
        if not desk.sees(use.venue_id):
            return False
        if use.chain_id is None:
            return True
        place = places.get(use.chain_id)
        return place is not None and not place.is_hidden(use.offer_id, partner=desk.partner)

    return replace(
        history,
        last_uses=[each for each in history.last_uses if is_seen(each)],
        open_check_ins=[each for each in history.open_check_ins if desk.sees(each.venue_id)],
    )


def _affordable(standings: Sequence[Standing], balances: Sequence[Balance]) -> list[Standing]:
    """The standings with the balances looked at, those that can be had first."""
    available = {each.unit: each.available for each in balances}
    checked = [
        replace(each, refusal=RefusalReason.INSUFFICIENT_BALANCE)
        if each.refusal is None
        and each.offer.cost is not None
        and available.get(each.offer.cost.unit, 0) < each.offer.cost.amount
        else each
        for each in standings
    ]
    return sorted(checked, key=lambda each: each.refusal is not None)
