"""Make a pass a holder's, beside those it has."""

from __future__ import annotations

import json

from passmill.domain.clock import Clock
from passmill.domain.holders import MAX_PASSES, HolderRefusal
from passmill.domain.ids import HolderId, PassId
from passmill.store import holders, outbox
from passmill.store.database import Transaction
from passmill.usecases.find_holder import FindHolder, HolderRef
from passmill.usecases.find_pass import FindPass, PassRef
from passmill.usecases.holder_in_hand import HolderMoved, Linked, retried, take_holder
from passmill.usecases.mutation import Answer, Mutation, Mutator


class LinkPass:
    """Links passes, each to one holder."""

    def __init__(
        self, *, mutator: Mutator, find_holder: FindHolder, find_pass: FindPass, clock: Clock
    ) -> None:
        self._mutator = mutator
        self._find_holder = find_holder
        self._find_pass = find_pass
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[Linked], *, ref: HolderRef, wallet_pass: PassRef, move: bool
    ) -> Answer:
        """The answer with the holder, or with PASS_TAKEN, HOLDER_ERASED or TOO_MANY. `move`: take
        it from whoever has it. AppError NOT_FOUND."""
        key = await self._find_holder.resolve(mutation.caller, ref)
        pass_id = (await self._find_pass(mutation.caller, wallet_pass)).wallet_pass.pass_id

        async def work(tx: Transaction) -> Linked:
            in_hand = await take_holder(tx, key)
            if in_hand.is_erased:
                return Linked(refusal=HolderRefusal.HOLDER_ERASED)
            holder_id = in_hand.holder_id
            owner = await holders.find_pass_holder(tx, pass_id)
            if owner == holder_id:
                return Linked(holder_id=holder_id)
            if owner is not None and not move:
                return Linked(refusal=HolderRefusal.PASS_TAKEN)
            if await holders.count_passes(tx, holder_id) >= MAX_PASSES:
                return Linked(refusal=HolderRefusal.TOO_MANY)
            now = self._clock.now()
            await in_hand.make(tx, now=now)
            if owner is not None:
                return await self._move(tx, pass_id, owner, holder_id)
            # What was read says what to try; the unique key and the WHERE decide.
            is_its_own = in_hand.made_by == pass_id
            if not is_its_own and not await holders.insert_pass_holder(
                tx, pass_id, holder_id, now=now
            ):
                raise HolderMoved
            return Linked(holder_id=holder_id)

        return await retried(lambda: self._mutator.run(mutation, work))

    async def _move(
        self, tx: Transaction, pass_id: PassId, previous: HolderId, holder_id: HolderId
    ) -> Linked:
        now = self._clock.now()
        owner = await holders.share_holder(tx, previous)
        if owner is not None and owner.is_erased:
            return Linked(refusal=HolderRefusal.HOLDER_ERASED)
        if not await holders.move_pass_holder(
            tx, pass_id, previous=previous, holder_id=holder_id, now=now
        ):
            raise HolderMoved
        await outbox.insert_event(
            tx,
            kind="holder.pass_moved",
            pass_ids=[pass_id],
            detail=json.dumps({"holder_id": str(holder_id), "previous_holder_id": str(previous)}),
            now=now,
        )
        return Linked(holder_id=holder_id)
