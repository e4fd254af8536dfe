"""Let a pass share another's account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from passmill.domain.clock import Clock
from passmill.domain.ids import PassId
from passmill.domain.ledger import AccountId, EntryRefusal
from passmill.errors import invalid_field
from passmill.store.accounts import (
    insert_pass_account,
    lock_membership,
    settle_account,
)
from passmill.store.balance_jobs import enqueue_show_balances
from passmill.store.database import Transaction
from passmill.usecases.find_pass import FindPass, PassRef
from passmill.usecases.mutation import Answer, Mutation, Mutator


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The account that the pass has now; why it is not the one wanted."""

    account_id: AccountId
    refusal: EntryRefusal | None = None


class JoinAccount:
    """Joins passes to accounts."""

    def __init__(self, *, mutator: Mutator, find_pass: FindPass, clock: Clock) -> None:
        self._mutator = mutator
        self._find_pass = find_pass
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[Joined], *, ref: PassRef, account_of: PassRef
    ) -> Answer:
        """The answer with the pass's account. Refused with ACCOUNT_IN_USE when the pass has entries
        of its own, has joined another account, or others have joined its own. AppError NOT_FOUND;
        INVALID_FIELD for passes of two programs.
        """
        listed, other = await self._find_pass.many(mutation.caller, [ref, account_of])
        if listed.program_id != other.program_id:
            raise invalid_field("account_of", "is of another program, which has other units")

        async def work(tx: Transaction) -> Joined:
            return await join(
                tx,
                listed.wallet_pass.pass_id,
                other.wallet_pass.pass_id,
                now=self._clock.now(),
            )

        return await self._mutator.run(mutation, work)


async def join(tx: Transaction, pass_id: PassId, other_id: PassId, *, now: datetime) -> Joined:
    """Lets a pass share another's account, before this transaction locks anything else."""
    await lock_membership(tx, [pass_id, other_id])
    wanted = await settle_account(tx, other_id)
    account_id = await settle_account(tx, pass_id)
    if account_id == wanted:
        return Joined(account_id=wanted)
    if not await insert_pass_account(tx, pass_id, wanted, now=now):
        return Joined(account_id=account_id, refusal=EntryRefusal.ACCOUNT_IN_USE)
    await enqueue_show_balances(tx, [wanted])
    return Joined(account_id=wanted)
