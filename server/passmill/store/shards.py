"""Shards at rest: what each is about, and what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from passmill import errors
from passmill.domain.campaigns import (
    Campaign,
    Failure,
    Shard,
    ShardKind,
    ShardOutcome,
    ShardState,
)
from passmill.domain.ids import CampaignId, StreamId
from passmill.store.database import Transaction, columns

_SELECT: Final = (
    "SELECT shard_number, kind, stream_id, first_offset, end_offset, first_position, wave, state,"
    " row_offsets FROM campaign_shards WHERE tenant_id = $1 AND campaign_id = $2"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardGroup:
    """The shards of one wave: how many are in which state, when they were at work, and what they
    did. `unforgiven`, `unforgiven_failed`: recipients tried, and of these in vain, since the
    campaign was last resumed."""

    kind: ShardKind
    wave: int
    waiting: int
    queued: int
    done: int
    skipped: int
    unforgiven: int
    unforgiven_failed: int
    start_time: datetime | None
    end_time: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether some are still to be served."""
        return self.waiting + self.queued > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedShard:
    """What a shard that is done did. `failures`: how many of its recipients were not served, by it
    or before, by reason."""

    outcome: ShardOutcome
    end_time: datetime
    failures: Mapping[str, int]


async def insert_shards(tx: Transaction, campaign_id: CampaignId, shards: Sequence[Shard]) -> None:
    """Writes new shards."""
    rows = columns(
        [
            (
                each.shard_number,
                each.kind,
                each.stream_id,
                each.first_offset,
                each.end_offset,
                each.first_position,
                each.wave,
                each.state,
                _array(each.row_offsets),
            )
            for each in shards
        ],
        9,
    )
    await tx.execute(
        """
        INSERT INTO campaign_shards (tenant_id, campaign_id, shard_number, kind, stream_id,
            first_offset, end_offset, first_position, wave, state, succeeded, failed, duplicate,
            sign_seconds, write_seconds, is_forgiven, row_offsets)
        SELECT $1, $2, u.shard_number, u.kind, u.stream_id, u.first_offset, u.end_offset,
            u.first_position, u.wave, u.state, 0, 0, 0, 0, 0, false, u.row_offsets::bigint[]
        FROM unnest($3::int[], $4::smallint[], $5::uuid[], $6::bigint[], $7::bigint[],
                $8::bigint[], $9::int[], $10::smallint[], $11::text[])
            AS u(shard_number, kind, stream_id, first_offset, end_offset, first_position, wave,
                state, row_offsets)
        """,
        tx.tenant_id,
        campaign_id,
        *rows,
    )


async def get_shard(tx: Transaction, campaign_id: CampaignId, shard_number: int) -> Shard:
    """The shard. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT + " AND shard_number = $3", tx.tenant_id, campaign_id, shard_number
    )
    if row is None:
        raise errors.not_found("shard")
    return _shard(row)


async def list_shards(
    tx: Transaction, campaign_id: CampaignId, *, kind: ShardKind | None = None
) -> list[Shard]:
    """The campaign's shards in order, of one kind when it is given."""
    rows = await tx.fetch(
        _SELECT + " AND ($3::smallint IS NULL OR kind = $3) ORDER BY shard_number",
        tx.tenant_id,
        campaign_id,
        kind,
    )
    return [_shard(row) for row in rows]


async def take_shard(tx: Transaction, campaign_id: CampaignId, shard: Shard) -> bool:
    """Whether the shard is still to be served; if so nobody else can serve, pause or skip it before
    this transaction ends."""
    state = await tx.fetch_value(
        "SELECT state FROM campaign_shards WHERE tenant_id = $1 AND campaign_id = $2"
        " AND shard_number = $3 AND state IN (1, 2) FOR UPDATE",
        tx.tenant_id,
        campaign_id,
        shard.shard_number,
    )
    return state is not None


async def finish_shard(
    tx: Transaction,
    campaign: Campaign,
    shard: Shard,
    outcome: ShardOutcome,
    failures: Sequence[Failure],
    *,
    now: datetime,
    undo: str | None = None,
) -> bool:
    """Marks a shard done, with what it did and whom it did not serve; in the transaction that wrote
    its passes. False when it was done or skipped in the meantime: then that must be rolled back."""
    is_mine = await tx.execute(
        """
        UPDATE campaign_shards SET state = 3, succeeded = $4, failed = $5, duplicate = $6,
            start_time = $7, end_time = $8, sign_seconds = $9, write_seconds = $10, undo = $11
        WHERE tenant_id = $1 AND campaign_id = $2 AND shard_number = $3 AND state IN (1, 2)
        """,
        tx.tenant_id,
        campaign.campaign_id,
        shard.shard_number,
        outcome.succeeded,
        outcome.failed,
        outcome.duplicate,
        outcome.start_time,
        now,
        outcome.sign_seconds,
        outcome.write_seconds,
        undo,
    )
    if not is_mine:
        return False
    if shard.row_offsets is not None:
        await tx.execute(
            "DELETE FROM recipient_failures WHERE tenant_id = $1 AND campaign_id = $2"
            " AND stream_id = $3 AND row_offset = ANY($4::bigint[])",
            tx.tenant_id,
            campaign.campaign_id,
            shard.stream_id,
            list(shard.row_offsets),
        )
    if failures:
        await _insert_failures(tx, campaign.campaign_id, shard.stream_id, failures)
    return True


async def _insert_failures(
    tx: Transaction, campaign_id: CampaignId, stream_id: StreamId, failures: Sequence[Failure]
) -> None:
    rows = columns(
        [
            (each.row_offset, each.kind, each.external_id, each.reason.value, each.message)
            for each in failures
        ],
        5,
    )
    await tx.execute(
        """
        INSERT INTO recipient_failures
            (tenant_id, campaign_id, stream_id, row_offset, kind, external_id, reason, message)
        SELECT $1, $2, $3, u.* FROM unnest($4::bigint[], $5::smallint[], $6::text[], $7::text[],
            $8::text[]) AS u
        ON CONFLICT DO NOTHING
        """,
        tx.tenant_id,
        campaign_id,
        stream_id,
        *rows,
    )


async def get_finished(
    tx: Transaction, campaign_id: CampaignId, shard: Shard
) -> FinishedShard | None:
    """What the shard did, None when it is not done."""
    row = await tx.fetch_one(
        "SELECT succeeded, failed, duplicate, start_time, end_time, sign_seconds, write_seconds"
        " FROM campaign_shards WHERE tenant_id = $1 AND campaign_id = $2 AND shard_number = $3"
        " AND state = 3",
        tx.tenant_id,
        campaign_id,
        shard.shard_number,
    )
    if row is None:
        return None
    return FinishedShard(
        outcome=ShardOutcome(
            succeeded=row["succeeded"],
            failed=row["failed"],
            duplicate=row["duplicate"],
            start_time=row["start_time"],
            sign_seconds=row["sign_seconds"],
            write_seconds=row["write_seconds"],
        ),
        end_time=row["end_time"],
        failures=await count_failures(tx, campaign_id, shard)
        if row["failed"] or row["duplicate"]
        else {},
    )


async def count_failures(
    tx: Transaction, campaign_id: CampaignId, shard: Shard
) -> Mapping[str, int]:
    """How many of the recipients that the shard is about were not served by now, by reason, without
    those refused when they were loaded."""
    rows = await tx.fetch(
        "SELECT reason, count(*) AS count FROM recipient_failures WHERE tenant_id = $1"
        " AND campaign_id = $2 AND stream_id = $3 AND row_offset >= $4 AND row_offset < $5"
        " AND ($6::bigint[] IS NULL OR row_offset = ANY($6)) AND kind <> 1 GROUP BY reason",
        tx.tenant_id,
        campaign_id,
        shard.stream_id,
        shard.first_offset,
        shard.end_offset,
        shard.row_offsets,
    )
    return {row["reason"]: row["count"] for row in rows}


async def queue_waiting(tx: Transaction, campaign_id: CampaignId, *, wave: int) -> list[int]:
    """Marks the shards of a wave that wait as queued; gives their numbers in order."""
    rows = await tx.fetch(
        "UPDATE campaign_shards SET state = 2 WHERE tenant_id = $1 AND campaign_id = $2"
        " AND wave = $3 AND state = 1 RETURNING shard_number",
        tx.tenant_id,
        campaign_id,
        wave,
    )
    return sorted(row["shard_number"] for row in rows)


async def hold_queued(tx: Transaction, campaign_id: CampaignId) -> None:
    """Marks the shards that are queued as waiting. One at work finishes all the same."""
    await tx.execute(
        "UPDATE campaign_shards SET state = 1 WHERE tenant_id = $1 AND campaign_id = $2"
        " AND state = 2",
        tx.tenant_id,
        campaign_id,
    )


async def forgive_failures(tx: Transaction, campaign_id: CampaignId) -> None:
    """Lets what was tried until now, with success or in vain, no longer count for the campaign's
    threshold."""
    await tx.execute(
        "UPDATE campaign_shards SET is_forgiven = true WHERE tenant_id = $1 AND campaign_id = $2"
        " AND state = 3 AND NOT is_forgiven",
        tx.tenant_id,
        campaign_id,
    )


async def skip_open(tx: Transaction, campaign_id: CampaignId, *, now: datetime) -> None:
    """Marks the shards that are not done as skipped, after those at work have written."""
    await tx.execute(
        "UPDATE campaign_shards SET state = 4, end_time = $3 WHERE tenant_id = $1"
        " AND campaign_id = $2 AND state IN (1, 2)",
        tx.tenant_id,
        campaign_id,
        now,
    )


async def summarize_shards(tx: Transaction, campaign_id: CampaignId) -> list[ShardGroup]:
    """The campaign's shards by wave, in that order. A wave has shards of one kind."""
    rows = await tx.fetch(
        """
        SELECT kind, wave,
            count(*) FILTER (WHERE state = 1) AS waiting,
            count(*) FILTER (WHERE state = 2) AS queued,
            count(*) FILTER (WHERE state = 3) AS done,
            count(*) FILTER (WHERE state = 4) AS skipped,
            coalesce(sum(succeeded + failed) FILTER (WHERE NOT is_forgiven), 0) AS unforgiven,
            coalesce(sum(failed) FILTER (WHERE NOT is_forgiven), 0) AS unforgiven_failed,
            min(start_time) AS start_time, max(end_time) AS end_time
        FROM campaign_shards WHERE tenant_id = $1 AND campaign_id = $2
        GROUP BY wave, kind ORDER BY wave, kind
        """,
        tx.tenant_id,
        campaign_id,
    )
    return [
        ShardGroup(
            kind=ShardKind(row["kind"]),
            wave=row["wave"],
            waiting=row["waiting"],
            queued=row["queued"],
            done=row["done"],
            skipped=row["skipped"],
            unforgiven=row["unforgiven"],
            unforgiven_failed=row["unforgiven_failed"],
            start_time=row["start_time"],
            end_time=row["end_time"],
        )
        for row in rows
    ]


async def last_shard_number(tx: Transaction, campaign_id: CampaignId) -> int:
    """The greatest number given to a shard of the campaign, -1 when there is none."""
    number: int = await tx.fetch_value(
        "SELECT coalesce(max(shard_number), -1) FROM campaign_shards"
        " WHERE tenant_id = $1 AND campaign_id = $2",
        tx.tenant_id,
        campaign_id,
    )
    return number


async def count_running_campaigns(tx: Transaction) -> int:
    """How many campaigns of the tenant are running."""
    count: int = await tx.fetch_value(
        "SELECT count(*) FROM campaigns WHERE tenant_id = $1 AND state = 3", tx.tenant_id
    )
    return count


async def failed_by_shard(
    tx: Transaction, campaign_id: CampaignId, *, reasons: Sequence[str]
) -> dict[int, list[int]]:
    """Which recipients of each shard that acted were tried in vain, for one of these reasons when
    there are any: offsets by shard number, in order."""
    rows = await tx.fetch(
        """
        SELECT s.shard_number, array_agg(f.row_offset ORDER BY f.row_offset) AS row_offsets
        FROM campaign_shards s JOIN recipient_failures f ON f.tenant_id = s.tenant_id
            AND f.campaign_id = s.campaign_id AND f.stream_id = s.stream_id
            AND f.row_offset >= s.first_offset AND f.row_offset < s.end_offset
        WHERE s.tenant_id = $1 AND s.campaign_id = $2 AND s.kind = 1 AND f.kind = 2
            AND (cardinality($3::text[]) = 0 OR f.reason = ANY($3))
        GROUP BY s.shard_number ORDER BY s.shard_number
        """,
        tx.tenant_id,
        campaign_id,
        list(reasons),
    )
    return {row["shard_number"]: row["row_offsets"] for row in rows}


def _array(numbers: Sequence[int] | None) -> str | None:
    # An array of arrays must be a rectangle, so each goes as text.
    return None if numbers is None else "{" + ",".join(map(str, numbers)) + "}"


def _shard(row: asyncpg.Record) -> Shard:
    return Shard(
        shard_number=row["shard_number"],
        kind=ShardKind(row["kind"]),
        stream_id=StreamId(UUID(int=row["stream_id"].int)),
        first_offset=row["first_offset"],
        end_offset=row["end_offset"],
        first_position=row["first_position"],
        wave=row["wave"],
        state=ShardState(row["state"]),
        row_offsets=row["row_offsets"],
    )
