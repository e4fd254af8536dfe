"""Recipients of campaigns, and what shards keep to take themselves back, without those who were
erased. A campaign's rows are many, so they are gone through in pieces, each in a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from passmill.domain.campaigns import ActionKind
from passmill.domain.erasure import blank_issued, blank_named
from passmill.domain.ids import CampaignId, PassId, StreamId
from passmill.store.database import Transaction

_AT_ONCE: Final = 16  # up to 16,000 recipients: some ten milliseconds of hashing


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedStream:
    """A stream that may hold recipients of erased passes. `issues`: its campaign makes the passes,
    whose ids then come from the recipients'."""

    campaign_id: CampaignId
    stream_id: StreamId
    issues: bool


async def searched_streams(tx: Transaction, pass_ids: Sequence[PassId]) -> list[SearchedStream]:
    """The streams that may hold recipients of these passes: of campaigns that issue, those that
    passes' ids say they come from (`campaign_pass_id`), of others all that still have some."""
    rows = await tx.fetch(
        "SELECT s.campaign_id, s.stream_id, c.action"
        " FROM campaigns c JOIN recipient_streams s"
        "  ON s.tenant_id = c.tenant_id AND s.campaign_id = c.campaign_id"
        " WHERE c.tenant_id = $1 AND NOT c.recipients_forgotten ORDER BY s.stream_id",
        tx.tenant_id,
    )
    streams = [
        SearchedStream(
            campaign_id=CampaignId(UUID(int=row["campaign_id"].int)),
            stream_id=StreamId(UUID(int=row["stream_id"].int)),
            issues=row["action"] == ActionKind.ISSUE,
        )
        for row in rows
    ]
    times = {pass_id.bytes[:6] for pass_id in pass_ids}
    return [each for each in streams if not each.issues or each.campaign_id.bytes[:6] in times]


async def blank_recipients(
    tx: Transaction, stream: SearchedStream, pass_ids: Sequence[PassId], *, behind: int
) -> int | None:
    """Overwrites the recipients of these passes in the next chunks of a stream, those that begin
    behind an offset; gives the offset to go on behind, None when that was all."""
    rows = await tx.fetch(
        "SELECT first_offset, CASE WHEN $4 OR content LIKE ANY($5) THEN content END AS content"
        " FROM recipient_chunks WHERE tenant_id = $1 AND stream_id = $2 AND first_offset > $3"
        " ORDER BY first_offset LIMIT $6",
        tx.tenant_id,
        stream.stream_id,
        behind,
        stream.issues,
        [f"%{pass_id.hex}%" for pass_id in pass_ids],
        _AT_ONCE,
    )
    for row in rows:
        if row["content"] is None:
            continue
        blanked = (
            blank_issued(row["content"], campaign_id=stream.campaign_id, pass_ids=pass_ids)
            if stream.issues
            else blank_named(row["content"], pass_ids=pass_ids)
        )
        if blanked is not None:
            content, places = blanked
            await _write(tx, stream, row["first_offset"], content, places)
    return rows[-1]["first_offset"] if len(rows) == _AT_ONCE else None


async def _write(
    tx: Transaction, stream: SearchedStream, first_offset: int, content: str, places: Sequence[int]
) -> None:
    await tx.execute(
        "UPDATE recipient_chunks SET content = $4"
        " WHERE tenant_id = $1 AND stream_id = $2 AND first_offset = $3",
        tx.tenant_id,
        stream.stream_id,
        first_offset,
        content,
    )
    await tx.execute(
        "UPDATE recipient_failures SET external_id = '', message = ''"
        " WHERE tenant_id = $1 AND campaign_id = $2 AND stream_id = $3"
        " AND row_offset = ANY($4::bigint[])",
        tx.tenant_id,
        stream.campaign_id,
        stream.stream_id,
        [first_offset + at for at in places],
    )


async def find_undo(tx: Transaction, pass_ids: Sequence[PassId]) -> list[tuple[CampaignId, int]]:
    """The shards (campaign and number) that keep what any of these passes was."""
    rows = await tx.fetch(
        "SELECT campaign_id, shard_number FROM campaign_shards"
        " WHERE tenant_id = $1 AND undo LIKE ANY($2) ORDER BY campaign_id, shard_number",
        tx.tenant_id,
        [f"%{pass_id.hex}%" for pass_id in pass_ids],
    )
    return [(CampaignId(UUID(int=row["campaign_id"].int)), row["shard_number"]) for row in rows]


async def blank_undo(
    tx: Transaction, campaign_id: CampaignId, shard_number: int, pass_ids: Sequence[PassId]
) -> None:
    """Overwrites what a shard keeps of these passes. They were changed since, so it could not be
    given back to them anyway."""
    undo = await tx.fetch_value(
        "SELECT undo FROM campaign_shards WHERE tenant_id = $1 AND campaign_id = $2"
        " AND shard_number = $3 FOR UPDATE",
        tx.tenant_id,
        campaign_id,
        shard_number,
    )
    blanked = None if undo is None else blank_named(undo, pass_ids=pass_ids)
    if blanked is not None:
        await tx.execute(
            "UPDATE campaign_shards SET undo = $4"
            " WHERE tenant_id = $1 AND campaign_id = $2 AND shard_number = $3",
            tx.tenant_id,
            campaign_id,
            shard_number,
            blanked[0],
        )
