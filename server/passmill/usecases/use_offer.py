"""Use an offer inside a transaction: take the use, and the step of the chain when it is one, pay
for it, let the pass show it.

The order of locks: the request id, the redemption, the place in the chain, the balance, the pass.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from passmill.domain.chains import ChainPlace, ChainStep
from passmill.domain.ids import new_uuid
from passmill.domain.ledger import Balance
from passmill.domain.offers import Offer
from passmill.domain.pass_marks import marked
from passmill.domain.passes import WalletPass
from passmill.domain.redemptions import OfferUses, Redemption, RedemptionId
from passmill.domain.scanners import Desk
from passmill.domain.scans import RefusalReason, ScanState, state_of
from passmill.store.chains import keep_look, read_places, take_step
from passmill.store.database import Transaction
from passmill.store.offers import get_offer
from passmill.store.outbox import insert_event
from passmill.store.redemptions import keep_undo, take_use, uses_of
from passmill.store.standings import read_histories
from passmill.usecases.edit_pass import PassInHand
from passmill.usecases.judge_passes import facts_of, refusal_at, stand
from passmill.usecases.pass_content import still_fits
from passmill.usecases.pay_use import pay_use
from passmill.usecases.program_counters import ProgramCounter
from passmill.usecases.step_looks import dressed, require_revision

_TRIES: Final = 8  # each but the first because somebody has just taken the use that was free


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedUse:
    """What is to be used, by whom and when. `scan_time`: when the pass was shown, which decides;
    `now`: when the service heard of it. `keeps_revision`: the pass stays in its revision, whatever
    the step of a chain says."""

    offer: Offer
    desk: Desk
    counter: ProgramCounter
    staff: str
    scan_time: datetime
    now: datetime
    is_offline: bool
    keeps_revision: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UseResult:
    """What became of it, without a word about the holder, as it is kept for retries. `first_use`:
    the first use that stands, None when there is none. `balance`: of the unit it costs."""

    reason: RefusalReason | None
    pass_id: str
    state: ScanState
    redemption: Redemption | None
    first_use: Redemption | None
    uses: int
    max_uses: int
    balance: Balance | None
    tells_first_use: bool = True


class UseRefused(Exception):
    """What was begun is not to be: the transaction is undone, and the refusal kept in another
    (`refuse_use`)."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__()
        self.reason = reason


class PassMoved(Exception):
    """Pass or offer are no longer what was looked at: all is to be done again."""


async def use_offer(tx: Transaction, in_hand: PassInHand, wanted: WantedUse) -> UseResult:
    """Uses the offer for the pass in hand, or says why not. Raises UseRefused, PassMoved and, for
    the step of a chain, RevisionWanted and LookUnfit, after which the transaction must not be
    committed."""
    use = _Use(tx, in_hand, wanted)
    redemption = await use.take()
    if redemption is None:
        return await use.refused()
    balance = None
    if redemption.cost is not None:
        paid = await pay_use(tx, in_hand, redemption, now=wanted.now)
        if isinstance(paid, RefusalReason):
            raise UseRefused(paid)
        balance = paid
    return await use.show(redemption, balance)


async def refuse_use(
    tx: Transaction, in_hand: PassInHand, wanted: WantedUse, reason: RefusalReason
) -> UseResult:
    """That the offer is not used, for this reason."""
    return await _Use(tx, in_hand, wanted).refused(reason)


class _Use:
    def __init__(self, tx: Transaction, in_hand: PassInHand, wanted: WantedUse) -> None:
        self._tx = tx
        self._in_hand = in_hand
        self._wanted = wanted
        self._offer = wanted.offer
        self._pass = in_hand.prepared.listed.wallet_pass
        self._reason: RefusalReason | None = None
        self._place: ChainPlace | None = None  # before the use

    async def take(self) -> Redemption | None:
        """The use, decided by its row; None with `_reason` when there is none to be had."""
        wanted, pass_id = self._wanted, self._pass.pass_id
        asked = Redemption(
            redemption_id=RedemptionId(new_uuid()),
            pass_id=pass_id,
            offer_id=wanted.offer.offer_id,
            use_number=0,
            venue_id=wanted.desk.venue_id,
            scanner_id=wanted.desk.scanner_id,
            key_id=wanted.desk.key_id,
            staff=wanted.staff,
            scan_time=wanted.scan_time,
            create_time=wanted.now,
            is_offline=wanted.is_offline,
            cost=None,
        )
        await self._find_place()
        for _ in range(_TRIES):
            if self._refusal(self._pass, OfferUses()) is None:
                require_revision(self._in_hand, self._next_revision)
                taken = await take_use(self._tx, asked)
                if taken is not None:
                    await self._take_step(taken)
                    return taken
            self._offer = await get_offer(self._tx, wanted.offer.offer_id)
            await self._find_place()
            uses, _ = await uses_of(self._tx, pass_id, wanted.offer.offer_id)
            self._reason = self._refusal(self._pass, uses)
            if self._reason is not None:
                return None
        # By all that was read it can be had: the pass itself must have changed.
        raise PassMoved

    async def show(self, redemption: Redemption, balance: Balance | None) -> UseResult:
        """Lets the pass show the use, and tells of it."""
        detail = self._detail(redemption)
        step = self._step
        if self._offer.mark.is_empty and (step is None or not step.has_look):
            await insert_event(
                self._tx,
                kind="pass.redeemed",
                pass_ids=[redemption.pass_id],
                detail=json.dumps({**detail, "visible": False}, separators=(",", ":")),
                now=self._wanted.now,
            )
        else:
            current = await self._in_hand.lock()
            refusal = self._refusal(current, OfferUses())  # of the place as it was before
            if refusal is not None:  # voided since, or made to expire
                raise UseRefused(refusal)
            uses, _ = await uses_of(self._tx, redemption.pass_id, redemption.offer_id)
            before = self._in_hand.prepared.before
            after = marked(
                current,
                self._offer,
                before.content.slots,
                uses=uses.uses,
                fits=still_fits(before, current),
            )
            if after.undo is not None:
                await keep_undo(self._tx, redemption.redemption_id, after.undo)
            altered = after.wallet_pass
            if step is not None and step.has_look:
                altered, undo = dressed(altered, step, self._in_hand.prepared)
                await keep_look(self._tx, redemption.redemption_id, undo)
            issued = await self._in_hand.change(
                current, altered, event="pass.redeemed", detail=detail
            )
            self._pass = issued.wallet_pass
        return await self._result(redemption=redemption, balance=balance)

    async def refused(self, reason: RefusalReason | None = None) -> UseResult:
        """Why there is no use."""
        return await self._result(reason=reason or self._reason)

    def _refusal(self, wallet_pass: WalletPass, uses: OfferUses) -> RefusalReason | None:
        wanted, prepared = self._wanted, self._in_hand.prepared
        facts, _ = facts_of(
            wallet_pass, prepared.listed, prepared.before, prepared.content, wanted.counter.policy
        )
        return refusal_at(
            self._offer, uses, facts, desk=wanted.desk, place=self._place, at=wanted.scan_time
        )

    @property
    def _step(self) -> ChainStep | None:
        """The step that the pass is about to take."""
        return None if self._place is None else self._place.next_step

    @property
    def _next_revision(self) -> int:
        """The revision that the step gives the pass, 0 for its own: what it pays shows in that."""
        if self._wanted.keeps_revision or self._offer.cost is not None:
            return 0
        return 0 if self._step is None else self._step.next_revision

    async def _find_place(self) -> None:
        chain_id, pass_id = self._offer.chain_id, self._pass.pass_id
        if chain_id is not None:
            self._place = (await read_places(self._tx, [pass_id], [chain_id]))[pass_id][chain_id]

    async def _take_step(self, redemption: Redemption) -> None:
        place = self._place
        if redemption.chain_id != (None if place is None else place.chain_id):
            raise PassMoved  # the offer has just become a step
        if place is not None and not await take_step(self._tx, place, redemption):
            raise PassMoved  # another has just taken it, or taken one back
        prepared = self._in_hand.prepared
        if redemption.cost is not None and prepared.after is not prepared.before:
            raise PassMoved  # it has just begun to cost something

    async def _result(
        self,
        *,
        reason: RefusalReason | None = None,
        redemption: Redemption | None = None,
        balance: Balance | None = None,
    ) -> UseResult:
        pass_id = self._pass.pass_id
        uses, first = await uses_of(self._tx, pass_id, self._offer.offer_id)
        place, partner = self._place, self._wanted.desk.partner
        if place is not None and place.is_hidden(self._offer.offer_id, partner=partner):
            uses, first = OfferUses(), None
        return UseResult(
            reason=reason,
            pass_id=str(pass_id),
            state=await self._state(),
            redemption=redemption,
            first_use=first,
            uses=uses.uses,
            max_uses=self._offer.max_uses,
            balance=balance,
            tells_first_use=first is None or self._wanted.desk.sees(first.venue_id),
        )

    async def _state(self) -> ScanState:
        """The pass's state now, with its use."""
        wanted, prepared = self._wanted, self._in_hand.prepared
        is_moved = self._pass.revision_id != prepared.before.revision.revision_id
        loaded = prepared.after if is_moved else prepared.before
        facts, _ = facts_of(
            self._pass, prepared.listed, loaded, prepared.content, wanted.counter.policy
        )
        offers = {each.offer_id: each for each in wanted.counter.for_template(facts.template_id)}
        offers[self._offer.offer_id] = self._offer
        pass_id = self._pass.pass_id
        chains = [each.chain_id for each in offers.values() if each.chain_id is not None]
        histories = await read_histories(self._tx, [pass_id], sorted(offers))
        places = await read_places(self._tx, [pass_id], chains)
        standings = stand(
            list(offers.values()),
            histories[pass_id],
            facts,
            desk=wanted.desk,
            places=places[pass_id],
            at=wanted.scan_time,
        )
        return state_of(facts, standings, at=wanted.scan_time)

    def _detail(self, redemption: Redemption) -> dict[str, str]:
        detail = {
            "redemption_id": str(redemption.redemption_id),
            "offer_id": str(redemption.offer_id),
        }
        if redemption.venue_id is not None:
            detail["venue_id"] = str(redemption.venue_id)
        if redemption.scanner_id is not None:
            detail["scanner_id"] = str(redemption.scanner_id)
        if redemption.chain_id is not None:
            detail["chain_id"] = str(redemption.chain_id)
        return detail
