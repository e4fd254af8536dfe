"""Recipient streams at rest: who may write, where the next recipient goes, and the chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from passmill import errors
from passmill.domain.campaigns import Failure, FailureKind, RecipientStream, StreamState
from passmill.domain.ids import CampaignId, PassId, StreamId
from passmill.domain.recipients import (
    MAX_CHUNK_RECIPIENTS,
    RecipientColumns,
    columns_from_json,
    columns_to_json,
)
from passmill.domain.reference_ids import ReferenceNumber
from passmill.errors import Reason
from passmill.store.database import Transaction, columns

_RUN_BYTES: Final = 1 << 20

_SELECT: Final = (
    "SELECT stream_id, campaign_id, next_offset, writer_epoch, state, invalid_count"
    " FROM recipient_streams"
)

# One statement, so one transaction and one round trip: the stream moves on, if it is where, whose
# and as the writer thinks, and only then there is a chunk. A second writer waits for the row and
# then finds that it is not.
_APPEND: Final = """
WITH moved AS (
    UPDATE recipient_streams AS s
    SET next_offset = next_offset + $5, invalid_count = invalid_count + cardinality($7::bigint[])
    WHERE tenant_id = $1 AND stream_id = $2 AND next_offset = $3 AND writer_epoch = $4 AND state = 1
        AND EXISTS (SELECT FROM campaigns c
            WHERE c.tenant_id = s.tenant_id AND c.campaign_id = s.campaign_id AND c.state = 1)
    RETURNING campaign_id
), kept AS (
    INSERT INTO recipient_chunks (tenant_id, stream_id, first_offset, row_count, content)
    SELECT $1, $2, $3, $5, $6 FROM moved
), refused AS (
    INSERT INTO recipient_failures
        (tenant_id, campaign_id, stream_id, row_offset, kind, external_id, reason, message)
    SELECT $1, moved.campaign_id, $2, u.row_offset, 1, u.external_id, u.reason, u.message
    FROM moved, unnest($7::bigint[], $8::text[], $9::text[], $10::text[])
        AS u(row_offset, external_id, reason, message)
)
SELECT campaign_id FROM moved
"""

# Each chunk is read once, however many of the places it holds; its `pass_ids` is null where none
# of its recipients names a pass.
_NAMED_PASSES: Final = """
WITH held AS MATERIALIZED (
    SELECT w.stream_id, c.first_offset, array_agg(w.row_offset) AS row_offsets
    FROM unnest($2::uuid[], $3::bigint[]) AS w(stream_id, row_offset)
    CROSS JOIN LATERAL (
        SELECT first_offset FROM recipient_chunks
        WHERE tenant_id = $1 AND stream_id = w.stream_id AND first_offset > w.row_offset - $4
            AND first_offset <= w.row_offset
        ORDER BY first_offset DESC LIMIT 1
    ) AS c
    GROUP BY w.stream_id, c.first_offset
)
SELECT c.stream_id, c.first_offset + e.at - 1 AS row_offset, e.pass_id
FROM held JOIN recipient_chunks AS c ON c.tenant_id = $1 AND c.stream_id = held.stream_id
    AND c.first_offset = held.first_offset
CROSS JOIN LATERAL (SELECT c.content::json -> 'pass_ids' AS pass_ids) AS chunk
CROSS JOIN LATERAL json_array_elements_text(
    CASE json_typeof(chunk.pass_ids) WHEN 'array' THEN chunk.pass_ids ELSE '[]' END
) WITH ORDINALITY AS e(pass_id, at)
WHERE e.pass_id IS NOT NULL AND c.first_offset + e.at - 1 = ANY(held.row_offsets)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredChunk:
    """Recipients of one chunk, or the rest of one. `first_offset`: of its first."""

    first_offset: int
    recipients: RecipientColumns


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRun:
    """Chunks of a stream that follow each other: the offset of their first recipient, and the bytes
    of all of them."""

    first_offset: int
    content_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFailure:
    """A recipient that was not served, with the stream it came by."""

    stream_id: StreamId
    failure: Failure


async def insert_stream(tx: Transaction, stream: RecipientStream, *, now: datetime) -> None:
    """Writes a new stream."""
    await tx.execute(
        "INSERT INTO recipient_streams (tenant_id, stream_id, campaign_id, next_offset,"
        " writer_epoch, state, invalid_count, create_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tx.tenant_id,
        stream.stream_id,
        stream.campaign_id,
        stream.next_offset,
        stream.writer_epoch,
        stream.state,
        stream.invalid_count,
        now,
    )


async def get_stream(tx: Transaction, stream_id: StreamId) -> RecipientStream:
    """The stream. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND stream_id = $2", tx.tenant_id, stream_id
    )
    return _existing(row)


async def lock_stream(tx: Transaction, stream_id: StreamId) -> RecipientStream:
    """As `get_stream`; nobody appends, claims or closes before this transaction ends."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND stream_id = $2 FOR UPDATE", tx.tenant_id, stream_id
    )
    return _existing(row)


async def list_streams(tx: Transaction, campaign_id: CampaignId) -> list[RecipientStream]:
    """The campaign's streams, by id, which is by age."""
    rows = await tx.fetch(
        _SELECT + " WHERE tenant_id = $1 AND campaign_id = $2 ORDER BY stream_id",
        tx.tenant_id,
        campaign_id,
    )
    return [_stream(row) for row in rows]


async def list_chunk_runs(
    tx: Transaction, campaign_id: CampaignId
) -> dict[StreamId, list[ChunkRun]]:
    """How much the campaign's chunks hold, in runs of at most a thousand recipients that are cut
    after each MiB, by stream and in order."""
    # octet_length() of a text reads its length alone, not the text.
    rows = await tx.fetch(
        """
        SELECT stream_id, min(first_offset) AS first_offset, sum(size)::bigint AS content_bytes
        FROM (
            SELECT stream_id, first_offset, octet_length(content) AS size,
                sum(octet_length(content)) OVER (PARTITION BY stream_id ORDER BY first_offset)
                    AS size_so_far
            FROM recipient_chunks WHERE tenant_id = $1 AND stream_id IN (
                SELECT stream_id FROM recipient_streams
                WHERE tenant_id = $1 AND campaign_id = $2)
        ) AS chunks
        GROUP BY stream_id, first_offset / $3, size_so_far / $4
        ORDER BY stream_id, first_offset
        """,
        tx.tenant_id,
        campaign_id,
        MAX_CHUNK_RECIPIENTS,
        _RUN_BYTES,
    )
    runs: dict[StreamId, list[ChunkRun]] = {}
    for row in rows:
        run = ChunkRun(first_offset=row["first_offset"], content_bytes=row["content_bytes"])
        runs.setdefault(StreamId(_uuid(row["stream_id"])), []).append(run)
    return runs


async def write_stream(tx: Transaction, stream: RecipientStream) -> None:
    """Writes what can change of a stream locked in this transaction."""
    await tx.execute(
        "UPDATE recipient_streams SET next_offset = $3, writer_epoch = $4, state = $5,"
        " invalid_count = $6 WHERE tenant_id = $1 AND stream_id = $2",
        tx.tenant_id,
        stream.stream_id,
        stream.next_offset,
        stream.writer_epoch,
        stream.state,
        stream.invalid_count,
    )


async def append_chunk(
    tx: Transaction,
    stream_id: StreamId,
    *,
    writer_epoch: int,
    chunk: StoredChunk,
    failures: Sequence[Failure],
) -> bool:
    """Appends a chunk, with the failures of those of its recipients that were refused, if the
    stream is open, its campaign a draft, the writer its writer, and the chunk's first offset its
    next; else does nothing and gives False. One statement: for `Database.statement`."""
    refused = columns(
        [(each.row_offset, each.external_id, each.reason.value, each.message) for each in failures],
        4,
    )
    moved = await tx.fetch_value(
        _APPEND,
        tx.tenant_id,
        stream_id,
        chunk.first_offset,
        writer_epoch,
        len(chunk.recipients),
        columns_to_json(chunk.recipients),
        *refused,
    )
    return moved is not None


async def read_chunks(
    tx: Transaction, stream_id: StreamId, *, first_offset: int, end_offset: int
) -> list[StoredChunk]:
    """The recipients at `first_offset` <= offset < `end_offset` of a stream, as far as there are
    any, in order; chunks that stick out are cut."""
    rows = await tx.fetch(
        "SELECT first_offset, content FROM recipient_chunks WHERE tenant_id = $1"
        " AND stream_id = $2 AND first_offset > $3 AND first_offset < $4 ORDER BY first_offset",
        tx.tenant_id,
        stream_id,
        first_offset - MAX_CHUNK_RECIPIENTS,
        end_offset,
    )
    chunks = []
    for row in rows:
        at: int = row["first_offset"]
        recipients = columns_from_json(row["content"])
        start, end = max(first_offset - at, 0), min(end_offset - at, len(recipients))
        if (start, end) != (0, len(recipients)):
            recipients = recipients.slice(start, end)
        if len(recipients):
            chunks.append(StoredChunk(first_offset=at + start, recipients=recipients))
    return chunks


async def list_failures(
    tx: Transaction,
    campaign_id: CampaignId,
    *,
    kinds: Sequence[FailureKind],
    after: tuple[StreamId, int] | None,
    at_most: int,
) -> list[StreamFailure]:
    """Failures of these kinds, by stream and offset, those behind `after` only."""
    after_stream, after_offset = after or (StreamId(UUID(int=0)), -1)
    rows = await tx.fetch(
        "SELECT stream_id, row_offset, kind, external_id, reason, message FROM recipient_failures"
        " WHERE tenant_id = $1 AND campaign_id = $2 AND (stream_id, row_offset) > ($3, $4)"
        " AND kind = ANY($5::smallint[]) ORDER BY stream_id, row_offset LIMIT $6",
        tx.tenant_id,
        campaign_id,
        after_stream,
        after_offset,
        list(kinds),
        at_most,
    )
    return [
        StreamFailure(stream_id=StreamId(_uuid(row["stream_id"])), failure=_failure(row))
        for row in rows
    ]


async def find_failures(
    tx: Transaction,
    campaign_id: CampaignId,
    stream_id: StreamId,
    *,
    first_offset: int,
    end_offset: int,
) -> dict[int, Failure]:
    """The failures at `first_offset` <= offset < `end_offset` of a stream, by offset."""
    rows = await tx.fetch(
        "SELECT row_offset, kind, external_id, reason, message FROM recipient_failures"
        " WHERE tenant_id = $1 AND campaign_id = $2 AND stream_id = $3 AND row_offset >= $4"
        " AND row_offset < $5",
        tx.tenant_id,
        campaign_id,
        stream_id,
        first_offset,
        end_offset,
    )
    return {row["row_offset"]: _failure(row) for row in rows}


async def find_named_passes(
    tx: Transaction, places: Sequence[tuple[StreamId, int]]
) -> dict[tuple[StreamId, int], PassId]:
    """Which passes the recipients at these places, stream and offset, name, as far as they do."""
    rows = await tx.fetch(_NAMED_PASSES, tx.tenant_id, *columns(places, 2), MAX_CHUNK_RECIPIENTS)
    return {
        (StreamId(_uuid(row["stream_id"])), row["row_offset"]): PassId(UUID(hex=row["pass_id"]))
        for row in rows
    }


async def find_pass_numbers(
    tx: Transaction, *, pass_ids: Sequence[PassId], references: Sequence[ReferenceNumber]
) -> dict[PassId, ReferenceNumber]:
    """Which of these passes there are: reference numbers by pass id. One statement."""
    rows = await tx.fetch(
        "SELECT pass_id, reference_number FROM passes WHERE tenant_id = $1"
        " AND (pass_id = ANY($2) OR reference_number = ANY($3))",
        tx.tenant_id,
        pass_ids,
        references,
    )
    return {PassId(_uuid(row["pass_id"])): ReferenceNumber(row["reference_number"]) for row in rows}


def _existing(row: asyncpg.Record | None) -> RecipientStream:
    if row is None:
        raise errors.not_found("recipient stream")
    return _stream(row)


def _stream(row: asyncpg.Record) -> RecipientStream:
    return RecipientStream(
        stream_id=StreamId(_uuid(row["stream_id"])),
        campaign_id=CampaignId(_uuid(row["campaign_id"])),
        next_offset=row["next_offset"],
        writer_epoch=row["writer_epoch"],
        state=StreamState(row["state"]),
        invalid_count=row["invalid_count"],
    )


def _failure(row: asyncpg.Record) -> Failure:
    return Failure(
        row_offset=row["row_offset"],
        kind=FailureKind(row["kind"]),
        external_id=row["external_id"],
        reason=Reason(row["reason"]),
        message=row["message"],
    )


def _uuid(value: UUID) -> UUID:
    # asyncpg's own UUID type is a subclass; the plain one compares and prints alike.
    return UUID(int=value.int)
