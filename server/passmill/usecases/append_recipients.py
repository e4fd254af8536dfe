"""Append recipients to a stream: each exactly once, in order, by one writer.

A message says where it goes. Its offset is the stream's next, or it is told so: what is there
already is acknowledged again, a gap is refused, and so is a writer whose epoch is over. So a writer
that died, or never heard the answer, sends again and nothing is doubled or lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.campaigns import (
    CampaignAction,
    CampaignState,
    IssueAction,
    RecipientStream,
    StreamState,
    UpdateAction,
)
from passmill.domain.ids import StreamId, TenantId
from passmill.domain.recent import Recent
from passmill.domain.recipients import RecipientColumns
from passmill.errors import AppError, Reason, not_found
from passmill.store.campaigns import get_campaign
from passmill.store.database import Database
from passmill.store.recipient_streams import (
    StoredChunk,
    append_chunk,
    find_pass_numbers,
    get_stream,
)
from passmill.telemetry.campaign_metrics import CampaignMetrics
from passmill.usecases.check_recipients import RecipientChecks, RecipientRow, RefusedRow
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.tenant_numbers import TenantNumbers

_MAX_TARGETS: Final = 10_000
# So many recipients are checked before others on the loop get their turn.
_CHECKED_AT_ONCE: Final = 32
# How often a chunk is tried where another writer of the same epoch moves the stream meanwhile.
_TRIES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientChunk:
    """One message of a writer. `recipients` may be converted while they are gone through."""

    stream_id: StreamId
    writer_epoch: int
    offset: int
    recipients: Iterable[RecipientRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedChunk:
    """A message ready to be stored, if it fits the stream."""

    stream_id: StreamId
    writer_epoch: int
    offset: int
    recipients: RecipientColumns
    refused: Sequence[RefusedRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkAck:
    """Everything before `next_offset` is kept. `refused`: by offset in the stream."""

    next_offset: int
    duplicate_count: int
    refused: Sequence[tuple[int, RefusedRow]]


class AppendRecipients:
    """Checks chunks, then stores each in one transaction of one statement.

    Two steps, so that the next chunks are checked while one is stored.
    """

    __slots__ = ("_actions", "_database", "_load_revision", "_metrics", "_numbers")

    def __init__(
        self,
        *,
        database: Database,
        load_revision: LoadRevision,
        numbers: TenantNumbers,
        metrics: CampaignMetrics,
    ) -> None:
        self._database = database
        self._load_revision = load_revision
        self._numbers = numbers
        self._metrics = metrics
        # What a stream's campaign does never changes.
        self._actions: Recent[tuple[TenantId, StreamId], CampaignAction] = Recent(
            capacity=_MAX_TARGETS
        )

    async def __call__(self, caller: Caller, chunk: RecipientChunk) -> ChunkAck:
        """Appends one chunk. AppError as `check` and `store`."""
        return await self.store(caller, await self.check(caller, chunk))

    async def check(self, caller: Caller, chunk: RecipientChunk) -> CheckedChunk:
        """Checks the recipients against the campaign's revision and the passes there are.

        AppError NOT_FOUND when there is no such stream.
        """
        action = await self._action(caller, chunk.stream_id)
        checks = RecipientChecks(
            action=action,
            loaded=await self._load_revision.by_id(caller, action.revision.revision_id)
            if isinstance(action, IssueAction | UpdateAction)
            else None,
            serial_numbers=await self._numbers.serial_numbers(caller),
        )
        for count, row in enumerate(chunk.recipients, start=1):
            checks.add(row)
            if count % _CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
        pass_ids, references = checks.sought
        if pass_ids or references:
            async with self._database.statement(caller) as tx:
                found = await find_pass_numbers(tx, pass_ids=pass_ids, references=references)
        else:
            found = {}
        recipients, refused = checks.finish(found)
        return CheckedChunk(
            stream_id=chunk.stream_id,
            writer_epoch=chunk.writer_epoch,
            offset=chunk.offset,
            recipients=recipients,
            refused=refused,
        )

    async def store(self, caller: Caller, chunk: CheckedChunk) -> ChunkAck:
        """Appends what of a chunk is not there yet.

        AppError WRITER_FENCED, OFFSET_GAP, STREAM_STATE (metadata "next_offset" says where the
        stream goes on), CAMPAIGN_STATE, NOT_FOUND.
        """
        present = 0
        for _ in range(_TRIES):
            rest = _from(chunk, present)
            failures = [each.as_failure(row_offset=offset) for offset, each in rest.refused]
            async with self._database.statement(caller) as tx:
                is_appended = await append_chunk(
                    tx,
                    chunk.stream_id,
                    writer_epoch=chunk.writer_epoch,
                    chunk=rest.stored,
                    failures=failures,
                )
            if is_appended:
                refused = len(rest.refused)
                self._metrics.loaded(
                    accepted=len(rest.stored.recipients) - refused, refused=refused
                )
                return ChunkAck(
                    next_offset=chunk.offset + len(chunk.recipients),
                    duplicate_count=present,
                    refused=rest.refused,
                )
            async with self._database.transaction(caller, read_only=True) as tx:
                stream = await get_stream(tx, chunk.stream_id)
                campaign = await get_campaign(tx, stream.campaign_id)
            present = _present(stream, chunk)
            if present == len(chunk.recipients):
                return ChunkAck(next_offset=stream.next_offset, duplicate_count=present, refused=())
            if stream.state is not StreamState.OPEN:
                raise stream_closed(stream)
            campaign.require_state(CampaignState.DRAFT)
        raise AppError(
            reason=Reason.UNAVAILABLE,
            message="Others of this writer's epoch write to the stream. Claim it for one writer.",
        )

    async def _action(self, caller: Caller, stream_id: StreamId) -> CampaignAction:
        key = (caller.tenant_id, stream_id)
        action = self._actions.find(key)
        if action is None:
            async with self._database.transaction(caller, read_only=True) as tx:
                stream = await get_stream(tx, stream_id)
                campaign = await get_campaign(tx, stream.campaign_id)
            if campaign.definition.segment is not None:
                raise not_found("recipient stream")  # the service's own, of those it chose
            action = campaign.definition.action
            self._actions.keep(key, action)
        return action


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    stored: StoredChunk
    refused: Sequence[tuple[int, RefusedRow]]


def _from(chunk: CheckedChunk, start: int) -> _Rest:
    recipients = chunk.recipients
    if start:
        recipients = recipients.slice(start, len(recipients))
    return _Rest(
        stored=StoredChunk(first_offset=chunk.offset + start, recipients=recipients),
        refused=[
            (chunk.offset + each.index, each) for each in chunk.refused if each.index >= start
        ],
    )


def _present(stream: RecipientStream, chunk: CheckedChunk) -> int:
    """How many of a chunk the stream has already. AppError WRITER_FENCED, OFFSET_GAP."""
    if chunk.writer_epoch != stream.writer_epoch:
        raise writer_fenced(stream)
    if chunk.offset > stream.next_offset and stream.state is StreamState.OPEN:
        raise AppError(
            reason=Reason.OFFSET_GAP,
            message=f"The chunk begins at {chunk.offset}; the stream goes on at"
            f" {stream.next_offset}.",
            metadata={"next_offset": str(stream.next_offset)},
        )
    return max(0, min(stream.next_offset - chunk.offset, len(chunk.recipients)))


def writer_fenced(stream: RecipientStream) -> AppError:
    """The caller's epoch is not the stream's."""
    return AppError(
        reason=Reason.WRITER_FENCED,
        message="Another writer has taken the stream over. Stop, or claim it back.",
        metadata={"next_offset": str(stream.next_offset)},
    )


def stream_closed(stream: RecipientStream) -> AppError:
    """The stream takes no more."""
    return AppError(
        reason=Reason.STREAM_STATE,
        message=f"The stream is finalized, with {stream.next_offset} recipients.",
        metadata={"next_offset": str(stream.next_offset)},
    )
