"""Take a redemption back: the use is free again, what it cost is given back, and the pass looks as
before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, parse_uuid
from passmill.domain.ledger import Balance
from passmill.domain.offers import Offer
from passmill.domain.pass_marks import unmarked
from passmill.domain.redemptions import Redemption, RedemptionId
from passmill.domain.scanners import OWN_REVERSAL, Desk, ScannerRight
from passmill.domain.scans import RefusalReason
from passmill.errors import AppError, not_found
from passmill.store.chains import find_look, step_back
from passmill.store.database import Database, Transaction
from passmill.store.offers import get_offer
from passmill.store.outbox import insert_event
from passmill.store.pass_origins import find_successor
from passmill.store.redemptions import find_undo, get_redemption, reverse, uses_of
from passmill.usecases.changed_pass import moving
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_desk import FindDesk
from passmill.usecases.find_pass import PassRef
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.pay_use import pay_back
from passmill.usecases.step_looks import (
    LookUnfit,
    RevisionWanted,
    edit_into,
    require_revision,
    undressed,
)

_CHANGE: Final = "reversed"  # as metrics count it
_TRIES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversalResult:
    """What became of it. `redemption`: None where the desk is told nothing of it. `uses`: of the
    offer by the pass, now."""

    reason: RefusalReason | None
    redemption: Redemption | None
    uses: int
    balance: Balance | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _WantedReversal:
    made: Redemption
    offer: Offer
    shown_by: PassId  # the pass itself, or the one that has its place now
    reason: str
    now: datetime


class _Unreversed(Exception):
    """Nothing is taken back: the transaction is undone, and the refusal kept in another."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__()
        self.reason = reason


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
        """The answer with the redemption as it is now; refused with ALREADY_REVERSED,
        RIGHT_MISSING or, of a chain's step that is not the latest, NOT_LATEST_STEP. AppError
        NOT_FOUND."""
        try:
            desk = await self._find_desk(mutation.caller)
            made, offer, shown_by = await self._find(mutation.caller, redemption_id)
        except AppError:
            if kept := await self._mutator.replay(mutation):
                return kept
            raise
        now = self._clock.now()
        if not may_reverse(desk, made, now=now):
            is_seen = desk.venue_id == made.venue_id
            return await self._refuse(mutation, made, RefusalReason.RIGHT_MISSING, is_seen=is_seen)
        wanted = _WantedReversal(made=made, offer=offer, shown_by=shown_by, reason=reason, now=now)
        try:
            return await self._reverse(mutation, wanted)
        except _Unreversed as refused:
            return await self._refuse(mutation, made, refused.reason)

    async def _reverse(self, mutation: Mutation[ReversalResult], wanted: _WantedReversal) -> Answer:
        ref = PassRef(pass_id=str(wanted.shown_by))
        keeps_revision = False
        revision: int | None = None

        async def work(tx: Transaction, in_hand: PassInHand) -> ReversalResult:
            return await _reverse(tx, in_hand, wanted, keeps_revision=keeps_revision)

        for _ in range(_TRIES):
            try:
                return await edit_into(
                    self._edit_pass, mutation, ref, work, revision=revision, kind=_CHANGE
                )
            except RevisionWanted as before:
                revision = before.number
            except LookUnfit:
                keeps_revision, revision = True, None
        raise moving()

    async def _refuse(
        self,
        mutation: Mutation[ReversalResult],
        made: Redemption,
        reason: RefusalReason,
        *,
        is_seen: bool = True,
    ) -> Answer:
        async def refuse(tx: Transaction) -> ReversalResult:
            if not is_seen:  # as ListRedemptions does, a scanner is told of its own venue alone
                return ReversalResult(reason=reason, redemption=None, uses=0, balance=None)
            return await _result(tx, made, reason, None)

        return await self._mutator.run(mutation, refuse)

    async def _find(self, caller: Caller, text: str) -> tuple[Redemption, Offer, PassId]:
        redemption_id = parse_uuid(text)
        if redemption_id is None:
            raise not_found("redemption")
        async with self._database.transaction(caller, read_only=True) as tx:
            made = await get_redemption(tx, RedemptionId(redemption_id))
            offer = await get_offer(tx, made.offer_id)
            return made, offer, await find_successor(tx, made.pass_id)


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
    tx: Transaction, in_hand: PassInHand, wanted: _WantedReversal, *, keeps_revision: bool
) -> ReversalResult:
    made, offer, now = wanted.made, wanted.offer, wanted.now
    taken_back = await reverse(tx, made.redemption_id, reason=wanted.reason, now=now)
    if taken_back is None:
        made = await get_redemption(tx, made.redemption_id)
        return await _result(tx, made, RefusalReason.ALREADY_REVERSED, None)
    look = None
    if made.chain_id is not None:
        if not await step_back(tx, made.redemption_id):
            raise _Unreversed(RefusalReason.NOT_LATEST_STEP)
        look = await find_look(tx, made.redemption_id)
        revision = 0 if look is None or keeps_revision else look.revision
        require_revision(in_hand, revision or 0)
    balance = None if made.cost is None else await pay_back(tx, in_hand, made, now=now)
    if isinstance(balance, RefusalReason):
        raise _Unreversed(balance)
    detail = _detail(made)
    undo = await find_undo(tx, made.pass_id, made.offer_id)
    if offer.mark.is_empty and undo is None and look is None:
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
        altered = current if look is None else undressed(current, look, in_hand.prepared)
        slots = in_hand.prepared.after.content.slots
        altered = unmarked(altered, offer, slots, uses=uses.uses, undo=undo)
        await in_hand.change(current, altered, event="pass.redemption_reversed", detail=detail)
    return await _result(tx, taken_back, None, balance)


def _detail(made: Redemption) -> dict[str, str]:
    detail = {"redemption_id": str(made.redemption_id), "offer_id": str(made.offer_id)}
    if made.chain_id is not None:
        detail["chain_id"] = str(made.chain_id)
    return detail


async def _result(
    tx: Transaction, made: Redemption, reason: RefusalReason | None, balance: Balance | None
) -> ReversalResult:
    uses, _ = await uses_of(tx, made.pass_id, made.offer_id)
    return ReversalResult(reason=reason, redemption=made, uses=uses.uses, balance=balance)
