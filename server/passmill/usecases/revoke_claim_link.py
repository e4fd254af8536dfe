"""End a claim link. What was claimed by it stays."""

from __future__ import annotations

import json

from passmill.domain.claims import ClaimLink, ClaimLinkId
from passmill.domain.clock import Clock
from passmill.store.claim_links import get_link, revoke_link
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.usecases.mutation import Answer, Mutation, Mutator


class RevokeClaimLink:
    """Ends links for good."""

    __slots__ = ("_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(self, mutation: Mutation[ClaimLink], *, link_id: ClaimLinkId) -> Answer:
        """The link as it is then; one revoked before keeps its time. AppError NOT_FOUND."""

        async def work(tx: Transaction) -> ClaimLink:
            now = self._clock.now()
            if await revoke_link(tx, link_id, now=now):
                await insert_event(
                    tx,
                    kind="claim_link.revoked",
                    pass_ids=[],
                    detail=json.dumps({"link_id": str(link_id)}),
                    now=now,
                )
            return await get_link(tx, link_id)

        return await self._mutator.run(mutation, work)
