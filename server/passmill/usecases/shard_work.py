"""What the acts of a shard share: issue, update, void."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from passmill.domain.callers import Caller
from passmill.domain.campaigns import Campaign, Shard
from passmill.domain.recipients import RecipientColumns, join_columns
from passmill.store.recipient_streams import StoredChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardWork:
    """A shard to serve now. `caller`: the service itself in the campaign's tenant, with the
    deadline of the whole step."""

    caller: Caller
    campaign: Campaign
    shard: Shard


class ShardAct(Protocol):
    """Serves a shard in one idempotent step.

    It reads, renders and signs outside a transaction; then, in ONE transaction, writes the passes,
    the outbox row and what `store.shards.finish_shard` keeps. When that gives False somebody else
    was faster: `ShardDone` is raised, and nothing was written. Recipients that it can serve only
    later it leaves to another shard, in that transaction (`store.put_off_recipients`).
    """

    async def __call__(self, work: ShardWork) -> None:
        """AppError of a kind that waiting may help, or that stops the whole campaign; never of one
        recipient: that is a failure, kept with the shard."""
        ...


class ShardDone(Exception):
    """The shard was served, or skipped, in the meantime. Raised to roll back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecipients:
    """The recipients that a shard is about, without those refused when they were loaded.
    `row_offsets`: the place of each in its stream."""

    row_offsets: Sequence[int]
    columns: RecipientColumns

    def __len__(self) -> int:
        return len(self.row_offsets)


def shard_recipients(shard: Shard, chunks: Sequence[StoredChunk]) -> ShardRecipients:
    """Chooses a shard's recipients from the chunks that hold its range."""
    columns = join_columns([chunk.recipients for chunk in chunks])
    row_offsets = [
        row_offset
        for chunk in chunks
        for row_offset in range(chunk.first_offset, chunk.first_offset + len(chunk.recipients))
    ]
    if shard.row_offsets is None and None not in columns.values:
        return ShardRecipients(row_offsets=row_offsets, columns=columns)
    wanted = None if shard.row_offsets is None else set(shard.row_offsets)
    return pick_recipients(
        ShardRecipients(row_offsets=row_offsets, columns=columns),
        [
            at
            for at, (row_offset, values) in enumerate(zip(row_offsets, columns.values, strict=True))
            if values is not None and (wanted is None or row_offset in wanted)
        ],
    )


def pick_recipients(recipients: ShardRecipients, places: Sequence[int]) -> ShardRecipients:
    """Those at `places`, counted from 0 among `recipients`."""
    return ShardRecipients(
        row_offsets=[recipients.row_offsets[at] for at in places],
        columns=RecipientColumns(
            **{
                each.name: [getattr(recipients.columns, each.name)[at] for at in places]
                for each in fields(RecipientColumns)
            }
        ),
    )
