"""Let an identity find a holder: a payment card's token, a till's customer number, an address."""

from __future__ import annotations

import json

from passmill.domain.clock import Clock
from passmill.domain.holders import MAX_IDENTITIES, HolderRefusal, Identity
from passmill.domain.ids import HolderId
from passmill.store import holders, outbox
from passmill.store.database import Transaction
from passmill.store.holders import IdentityKey
from passmill.usecases.find_holder import FindHolder, HolderRef
from passmill.usecases.holder_in_hand import HolderMoved, Linked, retried, take_holder
from passmill.usecases.mutation import Answer, Mutation, Mutator


class LinkIdentity:
    """Links identities, each to one holder."""

    def __init__(self, *, mutator: Mutator, find_holder: FindHolder, clock: Clock) -> None:
        self._mutator = mutator
        self._find_holder = find_holder
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[Linked], *, ref: HolderRef, identity: Identity, move: bool
    ) -> Answer:
        """The answer with the holder, or with IDENTITY_TAKEN, HOLDER_ERASED or TOO_MANY. `move`:
        take it from whoever has it. AppError NOT_FOUND."""
        key = await self._find_holder.resolve(mutation.caller, ref)
        identity_key = self._find_holder.key_of(mutation.caller, identity)

        async def work(tx: Transaction) -> Linked:
            in_hand = await take_holder(tx, key)
            if in_hand.is_erased:
                return Linked(refusal=HolderRefusal.HOLDER_ERASED)
            now = self._clock.now()
            count = await holders.count_identities(tx, in_hand.holder_id)
            # The unique key decides, before anything else is written.
            if count < MAX_IDENTITIES and await holders.insert_identity(
                tx, identity_key, in_hand.holder_id, now=now
            ):
                await in_hand.make(tx, now=now)
                return Linked(holder_id=in_hand.holder_id)
            owner = await holders.find_identity(tx, identity_key)
            if owner == in_hand.holder_id:
                return Linked(holder_id=owner)
            if count >= MAX_IDENTITIES:
                return Linked(refusal=HolderRefusal.TOO_MANY)
            if owner is None:
                raise HolderMoved
            if not move:
                return Linked(refusal=HolderRefusal.IDENTITY_TAKEN)
            await in_hand.make(tx, now=now)
            await self._move(tx, identity_key, owner, in_hand.holder_id)
            return Linked(holder_id=in_hand.holder_id)

        return await retried(lambda: self._mutator.run(mutation, work))

    async def _move(
        self, tx: Transaction, key: IdentityKey, previous: HolderId, holder_id: HolderId
    ) -> None:
        now = self._clock.now()
        if not await holders.move_identity(
            tx, key, previous=previous, holder_id=holder_id, now=now
        ):
            raise HolderMoved
        await outbox.insert_event(
            tx,
            kind="holder.identity_moved",
            pass_ids=[],
            detail=json.dumps({"holder_id": str(holder_id), "previous_holder_id": str(previous)}),
            now=now,
        )
