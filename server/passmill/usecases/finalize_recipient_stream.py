"""Close a recipient stream."""

from __future__ import annotations

from dataclasses import replace

from passmill.domain.campaigns import RecipientStream, StreamState
from passmill.domain.ids import StreamId
from passmill.errors import AppError, Reason
from passmill.store.database import Transaction
from passmill.store.recipient_streams import lock_stream, write_stream
from passmill.usecases.append_recipients import writer_fenced
from passmill.usecases.mutation import Answer, Mutation, Mutator


class FinalizeRecipientStream:
    """Closes a stream that is complete by its writer's count."""

    __slots__ = ("_mutator",)

    def __init__(self, *, mutator: Mutator) -> None:
        self._mutator = mutator

    async def __call__(
        self,
        mutation: Mutation[RecipientStream],
        *,
        stream_id: StreamId,
        writer_epoch: int,
        expected_rows: int,
    ) -> Answer:
        """The answer with the stream; one that is closed already, with as many recipients, stays
        so. AppError NOT_FOUND, WRITER_FENCED, STREAM_STATE when the counts differ."""

        async def work(tx: Transaction) -> RecipientStream:
            stream = await lock_stream(tx, stream_id)
            if stream.writer_epoch != writer_epoch:
                raise writer_fenced(stream)
            if stream.next_offset != expected_rows:
                raise AppError(
                    reason=Reason.STREAM_STATE,
                    message=f"The stream has {stream.next_offset} recipients, not {expected_rows}.",
                    metadata={"next_offset": str(stream.next_offset)},
                )
            closed = replace(stream, state=StreamState.FINALIZED)
            await write_stream(tx, closed)
            return closed

        return await self._mutator.run(mutation, work)
