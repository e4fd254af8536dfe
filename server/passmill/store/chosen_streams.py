"""Streams that the service fills itself, with the passes that a segment or a roll-back is about: a
page in each transaction, and the place where the next one begins kept with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from passmill.domain.campaigns import StreamState
from passmill.domain.ids import CampaignId, PassId, StreamId, new_uuid
from passmill.domain.pass_undo import PassUndo, undo_from_json, undo_to_json
from passmill.domain.recipients import MAX_CHUNK_RECIPIENTS, RecipientColumns, columns_to_json
from passmill.store.database import Transaction, columns

# No writer has it, so no caller can append.
_NO_WRITER = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenStream:
    """A stream that is being filled. `resume_after`: as the last page told it, None at first."""

    stream_id: StreamId
    next_offset: int
    is_complete: bool
    resume_after: str | None


async def take_chosen_stream(
    tx: Transaction, campaign_id: CampaignId, *, now: datetime
) -> ChosenStream:
    """The campaign's one stream, made if there is none yet; locked until this transaction ends. The
    caller holds the campaign's lock, so that it is made once."""
    row = await tx.fetch_one(
        "SELECT stream_id, next_offset, state, resume_after FROM recipient_streams"
        " WHERE tenant_id = $1 AND campaign_id = $2 FOR UPDATE",
        tx.tenant_id,
        campaign_id,
    )
    if row is not None:
        return ChosenStream(
            stream_id=StreamId(UUID(int=row["stream_id"].int)),
            next_offset=row["next_offset"],
            is_complete=row["state"] == StreamState.FINALIZED,
            resume_after=row["resume_after"],
        )
    stream_id = StreamId(new_uuid())
    await tx.execute(
        "INSERT INTO recipient_streams (tenant_id, stream_id, campaign_id, next_offset,"
        " writer_epoch, state, invalid_count, create_time) VALUES ($1, $2, $3, 0, $4, $5, 0, $6)",
        tx.tenant_id,
        stream_id,
        campaign_id,
        _NO_WRITER,
        StreamState.OPEN,
        now,
    )
    return ChosenStream(stream_id=stream_id, next_offset=0, is_complete=False, resume_after=None)


async def append_chosen(
    tx: Transaction, stream: ChosenStream, pass_ids: Sequence[PassId], *, resume_after: str | None
) -> None:
    """Appends passes as recipients. `resume_after` None: these were the last."""
    chunks = [
        pass_ids[start : start + MAX_CHUNK_RECIPIENTS]
        for start in range(0, len(pass_ids), MAX_CHUNK_RECIPIENTS)
    ]
    await _append(
        tx,
        stream,
        [(len(chunk), columns_to_json(_recipients(chunk))) for chunk in chunks],
        resume_after=resume_after,
    )


async def append_undo(
    tx: Transaction, stream: ChosenStream, undo: Sequence[PassUndo], *, resume_after: str | None
) -> None:
    """Appends passes that shall be again as they were. `resume_after` None: these were the last."""
    chunks = [
        undo[start : start + MAX_CHUNK_RECIPIENTS]
        for start in range(0, len(undo), MAX_CHUNK_RECIPIENTS)
    ]
    await _append(
        tx,
        stream,
        [(len(chunk), undo_to_json(chunk)) for chunk in chunks],
        resume_after=resume_after,
    )


async def read_undo(
    tx: Transaction, stream_id: StreamId, *, first_offset: int, end_offset: int
) -> list[PassUndo]:
    """What `append_undo` appended at `first_offset` <= offset < `end_offset`, in order."""
    rows = await tx.fetch(
        "SELECT first_offset, content FROM recipient_chunks WHERE tenant_id = $1"
        " AND stream_id = $2 AND first_offset > $3 AND first_offset < $4 ORDER BY first_offset",
        tx.tenant_id,
        stream_id,
        first_offset - MAX_CHUNK_RECIPIENTS,
        end_offset,
    )
    return [
        each
        for row in rows
        for offset, each in enumerate(undo_from_json(row["content"]), row["first_offset"])
        if first_offset <= offset < end_offset
    ]


async def _append(
    tx: Transaction,
    stream: ChosenStream,
    chunks: Sequence[tuple[int, str]],
    *,
    resume_after: str | None,
) -> None:
    rows: list[tuple[int, int, str]] = []
    offset = stream.next_offset
    for count, content in chunks:
        rows.append((offset, count, content))
        offset += count
    await tx.execute(
        "INSERT INTO recipient_chunks (tenant_id, stream_id, first_offset, row_count, content)"
        " SELECT $1, $2, u.* FROM unnest($3::bigint[], $4::int[], $5::text[]) AS u",
        tx.tenant_id,
        stream.stream_id,
        *columns(rows, 3),
    )
    await tx.execute(
        "UPDATE recipient_streams SET next_offset = $3, resume_after = $4, state = $5"
        " WHERE tenant_id = $1 AND stream_id = $2",
        tx.tenant_id,
        stream.stream_id,
        offset,
        resume_after,
        StreamState.FINALIZED if resume_after is None else StreamState.OPEN,
    )


def _recipients(pass_ids: Sequence[PassId]) -> RecipientColumns:
    nothing: list[str | None] = [None] * len(pass_ids)
    return RecipientColumns(
        external_ids=[""] * len(pass_ids),
        names=nothing,
        phones=nothing,
        expire_times=nothing,
        holder_ids=nothing,
        values=["{}"] * len(pass_ids),
        pass_ids=[each.hex for each in pass_ids],
        tags=nothing,
    )
