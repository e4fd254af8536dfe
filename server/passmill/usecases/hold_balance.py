"""Set part of a balance aside, until it is captured, released, or its time is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from passmill.domain.clock import Clock
from passmill.domain.ids import new_uuid
from passmill.domain.ledger import Balance, EntryRefusal, Hold, HoldId, HoldState
from passmill.store.database import Transaction
from passmill.store.expiries import lock_settled_balance
from passmill.store.holds import insert_hold
from passmill.usecases.account_in_hand import CHANGE, AccountInHand
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_pass import PassRef
from passmill.usecases.mutation import Answer, Mutation

USUAL_DURATION: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDraft:
    """A hold as a caller asks for it."""

    unit: str
    amount: int
    duration: timedelta = USUAL_DURATION
    reference: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What came of a draft; `hold` is None when it was refused."""

    balance: Balance
    hold: Hold | None = None
    refusal: EntryRefusal | None = None


class HoldBalance:
    """Holds balances."""

    def __init__(self, *, edit_pass: EditPass, clock: Clock) -> None:
        self._edit_pass = edit_pass
        self._clock = clock

    async def __call__(self, mutation: Mutation[Held], *, ref: PassRef, draft: HoldDraft) -> Answer:
        """The answer with what came of it. AppError NOT_FOUND (the pass, the unit)."""

        async def work(tx: Transaction, in_hand: PassInHand) -> Held:
            account = await AccountInHand.open(tx, in_hand, now=self._clock.now())
            account.unit(draft.unit)
            if refusal := account.refusal():
                return Held(balance=await account.balance(draft.unit), refusal=refusal)
            return await hold(account, draft)

        return await self._edit_pass(mutation, ref, work, kind=CHANGE)


async def hold(account: AccountInHand, draft: HoldDraft) -> Held:
    """Holds what the draft says, if so much is available."""
    # Ends what is held too long, so that it counts as available; takes what must not be held.
    await lock_settled_balance(account.tx, account.account_id, draft.unit, now=account.now)
    made = Hold(
        hold_id=HoldId(new_uuid()),
        account_id=account.account_id,
        unit=draft.unit,
        amount=draft.amount,
        state=HoldState.OPEN,
        reference=draft.reference,
        expire_time=account.now + draft.duration,
        create_time=account.now,
    )
    is_held = await insert_hold(account.tx, made)
    balance = await account.balance(draft.unit)
    if not is_held:
        return Held(balance=balance, refusal=EntryRefusal.INSUFFICIENT_BALANCE)
    return Held(balance=balance, hold=made)
