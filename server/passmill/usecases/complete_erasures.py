"""Complete erasures: what campaigns and sign-ups still hold of erased holders is overwritten, and
then it is told that nothing is left.

The holder's row is the intent: an erasure that a worker did not bring to its end begins again. One
that fails is put off, so that it keeps no other waiting.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from passmill.domain.callers import Caller, internal_caller, operator_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import HolderId, PassId, TenantId
from passmill.errors import AppError
from passmill.store import erased_recipients, holders, outbox
from passmill.store.database import Database
from passmill.store.erasure import ERASED, run_scrub

SETTLED_AFTER: Final = timedelta(seconds=60)
"""What was under way when the holder was erased, and had read of it, has ended by then."""

_EVERY_SECONDS: Final = 10.0
_AT_ONCE: Final = 100
_STEP_SECONDS: Final = 30.0
_RETRY_AFTER: Final = timedelta(minutes=1)  # and then twice as long each time
_RETRY_AT_LEAST_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failed:
    """An erasure that failed so often in this process."""

    tenant_id: TenantId
    times: int
    retry_time: datetime


class CompleteErasures:
    """Overwrites in small steps, each of which may be done again."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._failed: dict[HolderId, _Failed] = {}
        self._log = structlog.get_logger("passmill.upkeep")

    async def run_forever(self) -> None:
        """Every ten seconds. Ends by cancellation."""
        while True:
            try:
                await self()
            except AppError as error:
                self._log.warning("erasures.not_completed", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("erasures.not_completed")
            await asyncio.sleep(_EVERY_SECONDS)

    async def __call__(self) -> int:
        """Completes those that are due, and then tries again those that failed a while ago; gives
        how many it completed. Why one fails is logged. AppError when they cannot be found."""
        deadline = asyncio.get_running_loop().time() + _STEP_SECONDS
        now = self._clock.now()
        again = [
            (each.tenant_id, holder_id)
            for holder_id, each in self._failed.items()
            if each.retry_time <= now
        ]
        async with self._database.transaction(operator_caller(deadline=deadline)) as tx:
            due = await holders.find_erasing(
                tx, before=now - SETTLED_AFTER, but=list(self._failed), at_most=_AT_ONCE
            )
        completed = 0
        for tenant_id, holder_id in [*due, *again[:_AT_ONCE]]:
            completed += await self._try(tenant_id, holder_id)
        return completed

    async def _try(self, tenant_id: TenantId, holder_id: HolderId) -> bool:
        told = {"tenant_id": str(tenant_id), "holder_id": str(holder_id)}
        try:
            await self._complete(tenant_id, holder_id)
        except AppError as error:
            self._log.warning("erasure.not_completed", reason=error.reason.value, **told)
        except Exception:  # noqa: BLE001 - of one holder, whatever it is: the others go on
            self._log.exception("erasure.not_completed", **told)
        else:
            self._failed.pop(holder_id, None)
            return True
        failed = self._failed.pop(holder_id, None)
        times = 1 if failed is None else failed.times + 1
        delay = min(_RETRY_AFTER * 2 ** min(times - 1, 10), _RETRY_AT_LEAST_EVERY)
        self._failed[holder_id] = _Failed(
            tenant_id=tenant_id, times=times, retry_time=self._clock.now() + delay
        )
        return False

    async def _complete(self, tenant_id: TenantId, holder_id: HolderId) -> None:
        async with self._database.transaction(_inside(tenant_id), read_only=True) as tx:
            pass_ids = await holders.list_pass_ids(tx, holder_id)
        for erased in ERASED.values():
            if erased.statement is not None:
                async with self._database.transaction(_inside(tenant_id)) as tx:
                    await run_scrub(tx, erased.statement, pass_ids)
        # What shards keep first: a campaign that takes them back makes recipients of it.
        await self._blank_undo(tenant_id, pass_ids)
        await self._blank_recipients(tenant_id, pass_ids)
        async with self._database.transaction(_inside(tenant_id)) as tx:
            now = self._clock.now()
            if await holders.mark_erasure_complete(tx, holder_id, now=now):
                await outbox.insert_event(
                    tx,
                    kind="holder.erased",
                    pass_ids=pass_ids,
                    detail=json.dumps({"holder_id": str(holder_id)}),
                    now=now,
                )

    async def _blank_undo(self, tenant_id: TenantId, pass_ids: Sequence[PassId]) -> None:
        async with self._database.transaction(_inside(tenant_id), read_only=True) as tx:
            found = await erased_recipients.find_undo(tx, pass_ids)
        for campaign_id, shard_number in found:
            async with self._database.transaction(_inside(tenant_id)) as tx:
                await erased_recipients.blank_undo(tx, campaign_id, shard_number, pass_ids)

    async def _blank_recipients(self, tenant_id: TenantId, pass_ids: Sequence[PassId]) -> None:
        async with self._database.transaction(_inside(tenant_id), read_only=True) as tx:
            streams = await erased_recipients.searched_streams(tx, pass_ids)
        for stream in streams:
            behind: int | None = -1
            while behind is not None:
                async with self._database.transaction(_inside(tenant_id)) as tx:
                    behind = await erased_recipients.blank_recipients(
                        tx, stream, pass_ids, behind=behind
                    )


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _STEP_SECONDS
    return internal_caller(tenant_id, deadline=deadline)
