"""Note what devices have fetched: in memory first, then many at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from passmill.domain.callers import internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, TenantId
from passmill.errors import AppError
from passmill.store import pass_fetches
from passmill.store.database import Database
from passmill.store.pass_fetches import Fetch
from passmill.usecases.authenticate_pass import AuthenticPass
from passmill.usecases.serve_pass import PassVersion

_EVERY_SECONDS: Final = 0.5
_WRITE_SECONDS: Final = 5.0
_AT_ONCE: Final = 2_000
# While the database is away. What is beyond is not noted: it tells of phones, and decides nothing.
_MAX_NOTED: Final = 100_000
_SAME_TIME: Final = timedelta(seconds=1)


class NoteFetches:
    """Keeps which content of a pass was fetched last, within half a second."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._noted: dict[tuple[TenantId, PassId], Fetch] = {}
        self._log = structlog.get_logger("passmill.fetches")

    def note(self, authentic: AuthenticPass, version: PassVersion) -> None:
        """A device has this version now: it was sent it (200), or has it already (304)."""
        now = self._clock.now()
        self._merge(
            authentic.caller.tenant_id,
            Fetch(
                pass_id=authentic.pass_id,
                revision_id=version.revision_id,
                content_time=version.last_modified,
                first_time=now,
                last_time=now,
            ),
        )

    async def run_forever(self) -> None:
        """Writes what was noted, every half second, and the rest when it is cancelled."""
        try:
            while True:
                await asyncio.sleep(_EVERY_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Writes what was noted until now. What cannot be written stays noted."""
        by_tenant: defaultdict[TenantId, list[PassId]] = defaultdict(list)
        for tenant_id, pass_id in self._noted:
            by_tenant[tenant_id].append(pass_id)
        for tenant_id, pass_ids in by_tenant.items():
            for at in range(0, len(pass_ids), _AT_ONCE):
                await self._write(tenant_id, pass_ids[at : at + _AT_ONCE])

    async def _write(self, tenant_id: TenantId, pass_ids: Sequence[PassId]) -> None:
        deadline = asyncio.get_running_loop().time() + _WRITE_SECONDS
        caller = internal_caller(tenant_id, deadline=deadline)
        fetches = [self._noted.pop((tenant_id, pass_id)) for pass_id in pass_ids]
        is_written = False
        try:
            async with self._database.transaction(caller) as tx:
                await pass_fetches.keep_fetches(tx, fetches)
            is_written = True
        except AppError as error:
            self._log.warning("fetches.not_written", reason=error.reason.value)
        except Exception:  # noqa: BLE001 - a fault here must not take the process down
            self._log.exception("fetches.not_written")
        finally:
            if not is_written:
                for fetch in fetches:
                    self._merge(tenant_id, fetch)

    def _merge(self, tenant_id: TenantId, fetch: Fetch) -> None:
        key = (tenant_id, fetch.pass_id)
        noted = self._noted.get(key)
        if noted is None:
            if len(self._noted) < _MAX_NOTED:
                self._noted[key] = fetch
            return
        if (
            fetch.content_time == noted.content_time
            and timedelta(0) <= fetch.last_time - noted.last_time < _SAME_TIME
        ):
            return
        newer = fetch if fetch.content_time >= noted.content_time else noted
        self._noted[key] = replace(
            newer,
            first_time=min(noted.first_time, fetch.first_time),
            last_time=max(noted.last_time, fetch.last_time),
        )
