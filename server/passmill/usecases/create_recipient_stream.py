"""Open a way for recipients to come in."""

from __future__ import annotations

from passmill.domain.campaigns import CampaignState, RecipientStream, StreamState
from passmill.domain.clock import Clock
from passmill.domain.ids import CampaignId, StreamId, new_uuid
from passmill.errors import AppError, Reason
from passmill.store.campaigns import lock_campaign
from passmill.store.database import Transaction
from passmill.store.recipient_streams import insert_stream
from passmill.usecases.mutation import Answer, Mutation, Mutator


class CreateRecipientStream:
    """Gives a draft campaign one more stream."""

    __slots__ = ("_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[RecipientStream], *, campaign_id: CampaignId
    ) -> Answer:
        """The answer with the stream, whose writer the caller is. AppError NOT_FOUND,
        CAMPAIGN_STATE, INVALID_CAMPAIGN when the campaign has a segment instead."""

        async def work(tx: Transaction) -> RecipientStream:
            campaign = await lock_campaign(tx, campaign_id)
            campaign.require_state(CampaignState.DRAFT)
            if campaign.definition.segment is not None:
                raise AppError(
                    reason=Reason.INVALID_CAMPAIGN,
                    message="The campaign chooses its passes by a segment; it takes no recipients.",
                )
            stream = RecipientStream(
                stream_id=StreamId(new_uuid()),
                campaign_id=campaign_id,
                next_offset=0,
                writer_epoch=1,
                state=StreamState.OPEN,
                invalid_count=0,
            )
            await insert_stream(tx, stream, now=self._clock.now())
            return stream

        return await self._mutator.run(mutation, work)
