"""Let an identity find nobody any more."""

from __future__ import annotations

from passmill.domain.holders import Identity
from passmill.store import holders
from passmill.store.database import Transaction
from passmill.usecases.find_holder import FindHolder, HolderRef
from passmill.usecases.mutation import Answer, Mutation, Mutator


class UnlinkIdentity:
    """Unlinks identities."""

    def __init__(self, *, mutator: Mutator, find_holder: FindHolder) -> None:
        self._mutator = mutator
        self._find_holder = find_holder

    async def __call__(
        self, mutation: Mutation[bool], *, ref: HolderRef, identity: Identity
    ) -> Answer:
        """The answer with whether the holder had it; another's stays. AppError NOT_FOUND."""
        key = await self._find_holder.resolve(mutation.caller, ref)
        identity_key = self._find_holder.key_of(mutation.caller, identity)

        async def work(tx: Transaction) -> bool:
            holder_id = await key.current(tx)
            if holder_id is None:
                return False
            return await holders.delete_identity(tx, identity_key, holder_id)

        return await self._mutator.run(mutation, work)
