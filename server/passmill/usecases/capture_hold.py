"""End a hold: spend what it set aside, or let it go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import parse_uuid
from passmill.domain.ledger import (
    Balance,
    EntryKind,
    EntryRefusal,
    Hold,
    HoldId,
    HoldState,
    LedgerEntry,
    NewEntry,
)
from passmill.domain.scanners import ScannerId
from passmill.errors import not_found
from passmill.store.database import Database, Transaction
from passmill.store.expiries import lock_settled_balance
from passmill.store.holds import end_hold, free_held, get_hold, lock_balance
from passmill.usecases.account_in_hand import CHANGE, AccountInHand, request_id_reused
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_pass import PassRef
from passmill.usecases.mutation import Answer, Mutation, Mutator


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldEnd:
    """What came of it; `entry` only when something was spent."""

    hold: Hold
    balance: Balance
    entry: LedgerEntry | None = None
    refusal: EntryRefusal | None = None


class CaptureHold:
    """Spends what is held, or part of it, and frees the rest."""

    def __init__(self, *, database: Database, edit_pass: EditPass, clock: Clock) -> None:
        self._database = database
        self._edit_pass = edit_pass
        self._clock = clock

    async def __call__(
        self,
        mutation: Mutation[HoldEnd],
        *,
        hold_id: str,
        amount: int,
        reference: str,
        venue: str,
        scanner_id: ScannerId | None = None,
    ) -> Answer:
        """The answer with what came of it. `amount`: 0 for all. AppError NOT_FOUND."""
        found = await _find(self._database, mutation.caller, hold_id)

        async def work(tx: Transaction, in_hand: PassInHand) -> HoldEnd:
            account = await AccountInHand.open(tx, in_hand, now=self._clock.now())
            balance, hold = await _lock(tx, found, now=account.now)
            refusal = _REFUSALS.get(hold.state)
            if refusal is None and amount > hold.amount:
                refusal = EntryRefusal.ABOVE_HOLD
            if refusal is not None:
                return HoldEnd(hold=hold, balance=balance, refusal=refusal)
            await end_hold(tx, hold.hold_id, HoldState.CAPTURED, now=account.now)
            posted = await account.post(
                NewEntry(
                    account_id=hold.account_id,
                    unit=hold.unit,
                    kind=EntryKind.BURN,
                    amount=-(amount or hold.amount),
                    request_id=mutation.request_id,
                    occur_time=account.now,
                    hold_id=hold.hold_id,
                    freed=hold.amount,
                    reference=reference or hold.reference,
                    venue=venue,
                    scanner_id=scanner_id,
                )
            )
            if posted.entry is None or posted.is_repeated:
                # There is enough, as it was held: so the key was used, and all is undone.
                raise request_id_reused()
            return HoldEnd(
                hold=replace(hold, state=HoldState.CAPTURED),
                balance=posted.balance,
                entry=posted.entry,
            )

        ref = PassRef(pass_id=str(found.account_id))
        return await self._edit_pass(mutation, ref, work, kind=CHANGE)


class ReleaseHold:
    """Frees what is held."""

    def __init__(self, *, database: Database, mutator: Mutator, clock: Clock) -> None:
        self._database = database
        self._mutator = mutator
        self._clock = clock

    async def __call__(self, mutation: Mutation[HoldEnd], *, hold_id: str) -> Answer:
        """The answer with what came of it. AppError NOT_FOUND."""
        found = await _find(self._database, mutation.caller, hold_id)

        async def work(tx: Transaction) -> HoldEnd:
            now = self._clock.now()
            balance, hold = await _lock(tx, found, now=now)
            if refusal := _REFUSALS.get(hold.state):
                return HoldEnd(hold=hold, balance=balance, refusal=refusal)
            await end_hold(tx, hold.hold_id, HoldState.RELEASED, now=now)
            await free_held(tx, hold)
            return HoldEnd(
                hold=replace(hold, state=HoldState.RELEASED),
                # What has ended while it was held is taken now.
                balance=await lock_settled_balance(tx, hold.account_id, hold.unit, now=now),
            )

        return await self._mutator.run(mutation, work)


_REFUSALS: Final = {
    HoldState.CAPTURED: EntryRefusal.HOLD_ENDED,
    HoldState.RELEASED: EntryRefusal.HOLD_ENDED,
    HoldState.EXPIRED: EntryRefusal.HOLD_EXPIRED,
}


async def _find(database: Database, caller: Caller, hold_id: str) -> Hold:
    parsed = parse_uuid(hold_id)
    if parsed is None:
        raise not_found("hold")
    async with database.statement(caller) as tx:
        return await get_hold(tx, HoldId(parsed))


async def _lock(tx: Transaction, found: Hold, *, now: datetime) -> tuple[Balance, Hold]:
    """The hold as it is now, and its balance, both nobody else's until the transaction ends."""
    balance = await lock_balance(tx, found.account_id, found.unit, now=now)
    return balance, await get_hold(tx, found.hold_id)
