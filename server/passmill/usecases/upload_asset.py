"""Storing an image for templates."""

from __future__ import annotations

import asyncio
import json

from passmill.domain.assets import Asset
from passmill.domain.clock import Clock
from passmill.signing.images import describe_png
from passmill.store.assets import insert_asset
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.usecases.mutation import Answer, Mutation, Mutator


class UploadAsset:
    """Stores an image under the digest of its bytes, so that equal images are stored once."""

    __slots__ = ("_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(self, mutation: Mutation[Asset], *, content: bytes) -> Answer:
        """Answers with the asset. AppError INVALID_ASSET."""
        asset = await asyncio.to_thread(describe_png, content)

        async def work(tx: Transaction) -> Asset:
            now = self._clock.now()
            if await insert_asset(tx, asset, content=content, now=now):
                detail = json.dumps({"asset_id": asset.asset_id})
                await insert_event(tx, kind="asset.uploaded", pass_ids=[], detail=detail, now=now)
            return asset

        return await self._mutator.run(mutation, work)
