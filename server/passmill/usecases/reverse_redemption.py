"""Take a redemption back: the use is free again, what it cost is given back, and the pass looks as
before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import parse_uuid
from passmill.domain.ledger import Balance
from passmill.domain.offers import Offer
from passmill.domain.pass_marks import unmarked
from passmill.domain.redemptions import Redemption, RedemptionId
from passmill.domain.scanners import OWN_REVERSAL, Desk, ScannerRight
from passmill.domain.scans import RefusalReason
from passmill.errors import AppError, not_found
from passmill.store.database import Database, Transaction
from passmill.store.offers import get_offer
from passmill.store.outbox import insert_event
from passmill.store.redemptions import find_undo, get_redemption, reverse, uses_of
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_desk import FindDesk
from passmill.usecases.find_pass import PassRef
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.pay_use import pay_back

_CHANGE: Final = "reversed"  # as metrics count it


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalResult:
    """What became of it. `uses`: of the offer by the pass, now."""

    reason: RefusalReason | None
    redemption: Redemption
    uses: int
    balance: Balance | None


class ReverseRedemption:
    """Takes redemptions back, each once."""

    __slots__ = ("_clock", "_database", "_edit_pass", "_find_desk", "_mutator")

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        edit_pass: EditPass,
        find_desk: FindDesk,
        clock: Clock,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._edit_pass = edit_pass
        self._find_desk = find_desk
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[ReversalResult], *, redemption_id: str, reason: str
    ) -> Answer:
        """The answer with the redemption as it is now; refused with ALREADY_REVERSED or
        RIGHT_MISSING. AppError NOT_FOUND."""
        try:
            desk = await self._find_desk(mutation.caller)
            made, offer = await self._find(mutation.caller, redemption_id)
        except AppError:
            if kept := await self._mutator.replay(mutation):
                return kept
            raise
        now = self._clock.now()
        if not may_reverse(desk, made, now=now):

            async def refuse(tx: Transaction) -> ReversalResult:
                return await _result(tx, made, RefusalReason.RIGHT_MISSING, None)

            return await self._mutator.run(mutation, refuse)

        async def work(tx: Transaction, in_hand: PassInHand) -> ReversalResult:
            return await _reverse(tx, in_hand, made, offer, reason=reason, now=now)

        ref = PassRef(pass_id=str(made.pass_id))
        return await self._edit_pass(mutation, ref, work, kind=_CHANGE)

    async def _find(self, caller: Caller, text: str) -> tuple[Redemption, Offer]:
        redemption_id = parse_uuid(text)
        if redemption_id is None:
            raise not_found("redemption")
        async with self._database.transaction(caller, read_only=True) as tx:
            made = await get_redemption(tx, RedemptionId(redemption_id))
            return made, await get_offer(tx, made.offer_id)


def may_reverse(desk: Desk, made: Redemption, *, now: datetime) -> bool:
    """Whether a desk may take this back: with the right, or its own of a moment ago; a scanner only
    what was done at its venue."""
    if desk.scanner is None:
        return True
    if made.venue_id != desk.venue_id:
        return False
    is_own = made.scanner_id == desk.scanner_id and now - made.create_time <= OWN_REVERSAL
    return desk.may(ScannerRight.REVERSE) or is_own


async def _reverse(
    tx: Transaction,
    in_hand: PassInHand,
    made: Redemption,
    offer: Offer,
    *,
    reason: str,
    now: datetime,
) -> ReversalResult:
    taken_back = await reverse(tx, made.redemption_id, reason=reason, now=now)
    if taken_back is None:
        made = await get_redemption(tx, made.redemption_id)
        return await _result(tx, made, RefusalReason.ALREADY_REVERSED, None)
    balance = None if made.cost is None else await pay_back(tx, in_hand, made, now=now)
    detail = {"redemption_id": str(made.redemption_id), "offer_id": str(made.offer_id)}
    undo = await find_undo(tx, made.pass_id, made.offer_id)
    if offer.mark.is_empty and undo is None:
        await insert_event(
            tx,
            kind="pass.redemption_reversed",
            pass_ids=[made.pass_id],
            detail=json.dumps({**detail, "visible": False}, separators=(",", ":")),
            now=now,
        )
    else:
        current = await in_hand.lock()
        uses, _ = await uses_of(tx, made.pass_id, made.offer_id)
        slots = in_hand.prepared.after.content.slots
        altered = unmarked(current, offer, slots, uses=uses.uses, undo=undo)
        await in_hand.change(current, altered, event="pass.redemption_reversed", detail=detail)
    return await _result(tx, taken_back, None, balance)


async def _result(
    tx: Transaction, made: Redemption, reason: RefusalReason | None, balance: Balance | None
) -> ReversalResult:
    uses, _ = await uses_of(tx, made.pass_id, made.offer_id)
    return ReversalResult(reason=reason, redemption=made, uses=uses.uses, balance=balance)
