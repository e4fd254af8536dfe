"""Recipients that a shard leaves to another one, as it cannot serve them just now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from passmill.domain.campaigns import Shard, ShardKind, ShardState
from passmill.domain.ids import CampaignId
from passmill.store.database import Transaction
from passmill.store.shards import insert_shards


async def put_off(
    tx: Transaction, campaign_id: CampaignId, shard: Shard, row_offsets: Sequence[int]
) -> None:
    """Leaves these recipients of a shard to another one, which waits, in the campaign's last wave.
    The campaign is locked."""
    row = await tx.fetch_one(
        "SELECT shard_number, wave, kind, state FROM campaign_shards"
        " WHERE tenant_id = $1 AND campaign_id = $2 ORDER BY shard_number DESC LIMIT 1",
        tx.tenant_id,
        campaign_id,
    )
    assert row is not None  # noqa: S101 - `shard` is one
    # Those that several shards put off are tried together.
    is_open = (row["kind"], row["state"]) == (ShardKind.RETRY, ShardState.WAITING)
    await insert_shards(
        tx,
        campaign_id,
        [
            replace(
                shard,
                shard_number=row["shard_number"] + 1,
                kind=ShardKind.RETRY,
                wave=row["wave"] + (not is_open),
                state=ShardState.WAITING,
                row_offsets=sorted(row_offsets),
            )
        ],
    )
