"""Images at rest, each once by tenant, however often it is uploaded."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from passmill.domain.assets import Asset, parse_asset_id
from passmill.store.database import Transaction


async def insert_asset(tx: Transaction, asset: Asset, *, content: bytes, now: datetime) -> bool:
    """Stores an image; False when the tenant has these bytes already."""
    inserted = await tx.execute(
        "INSERT INTO assets (tenant_id, asset_id, width, height, content, create_time)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        tx.tenant_id,
        bytes.fromhex(asset.asset_id),
        asset.width,
        asset.height,
        content,
        now,
    )
    return inserted > 0


async def find_assets(tx: Transaction, asset_ids: Iterable[str]) -> dict[str, Asset]:
    """Those of the assets that the tenant has, by id."""
    rows = await tx.fetch(
        "SELECT asset_id, width, height, octet_length(content) AS size_bytes FROM assets"
        " WHERE tenant_id = $1 AND asset_id = ANY($2)",
        tx.tenant_id,
        _digests(asset_ids),
    )
    found = (
        Asset(
            asset_id=row["asset_id"].hex(),
            width=row["width"],
            height=row["height"],
            size_bytes=row["size_bytes"],
        )
        for row in rows
    )
    return {asset.asset_id: asset for asset in found}


async def find_contents(tx: Transaction, asset_ids: Iterable[str]) -> dict[str, bytes]:
    """The bytes of those assets that the tenant has, by id."""
    rows = await tx.fetch(
        "SELECT asset_id, content FROM assets WHERE tenant_id = $1 AND asset_id = ANY($2)",
        tx.tenant_id,
        _digests(asset_ids),
    )
    return {row["asset_id"].hex(): row["content"] for row in rows}


def _digests(asset_ids: Iterable[str]) -> list[bytes]:
    parsed = (parse_asset_id(asset_id) for asset_id in asset_ids)
    return list({digest for digest in parsed if digest is not None})
