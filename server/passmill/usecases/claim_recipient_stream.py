"""Become a stream's only writer."""

from __future__ import annotations

from dataclasses import replace

from passmill.domain.campaigns import CampaignState, RecipientStream, StreamState
from passmill.domain.ids import StreamId
from passmill.store.campaigns import get_campaign
from passmill.store.database import Transaction
from passmill.store.recipient_streams import lock_stream, write_stream
from passmill.usecases.append_recipients import stream_closed
from passmill.usecases.mutation import Answer, Mutation, Mutator


class ClaimRecipientStream:
    """Ends the writer's epoch and begins the caller's."""

    __slots__ = ("_mutator",)

    def __init__(self, *, mutator: Mutator) -> None:
        self._mutator = mutator

    async def __call__(self, mutation: Mutation[RecipientStream], *, stream_id: StreamId) -> Answer:
        """The answer with the stream, its epoch the caller's. AppError NOT_FOUND, STREAM_STATE,
        CAMPAIGN_STATE."""

        async def work(tx: Transaction) -> RecipientStream:
            stream = await lock_stream(tx, stream_id)
            if stream.state is not StreamState.OPEN:
                raise stream_closed(stream)
            campaign = await get_campaign(tx, stream.campaign_id)
            campaign.require_state(CampaignState.DRAFT)
            claimed = replace(stream, writer_epoch=stream.writer_epoch + 1)
            await write_stream(tx, claimed)
            return claimed

        return await self._mutator.run(mutation, work)
