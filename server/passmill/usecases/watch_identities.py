"""Tell in time that signing identities end: by metrics, for alerts, and in the log, which ones."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from passmill.domain.callers import operator_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import SigningIdentityId
from passmill.errors import AppError
from passmill.store.database import Database
from passmill.store.signing_identities import list_expiring
from passmill.telemetry.metrics import Metrics

# A renewal at Apple takes a person with the right role: weeks, not minutes.
EXPIRY_DAYS: Final = (60, 45, 30, 14, 7, 1)
_EVERY_SECONDS = 600.0
_DEADLINE_SECONDS = 30.0


class WatchIdentities:
    """Counts the active signing identities that end within `EXPIRY_DAYS`."""

    def __init__(self, *, database: Database, clock: Clock, metrics: Metrics) -> None:
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._told: dict[SigningIdentityId, int] = {}
        self._log = structlog.get_logger("passmill.signing")

    async def run_forever(self) -> None:
        """Every ten minutes. Ends by cancellation."""
        while True:
            try:
                await self()
            except AppError as error:
                self._log.warning("signing_identity.not_watched", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("signing_identity.not_watched")
            await asyncio.sleep(_EVERY_SECONDS)

    async def __call__(self) -> None:
        """Counts once. The log names an identity at the start and each time it comes nearer."""
        now = self._clock.now()
        caller = operator_caller(deadline=asyncio.get_running_loop().time() + _DEADLINE_SECONDS)
        async with self._database.transaction(caller, read_only=True) as tx:
            expiring = await list_expiring(tx, before=now + timedelta(days=max(EXPIRY_DAYS)))
        for days in EXPIRY_DAYS:
            ends = now + timedelta(days=days)
            self._metrics.identities_expiring(days, sum(each[2] < ends for each in expiring))
        for tenant_id, identity_id, expire_time in expiring:
            days = min(days for days in EXPIRY_DAYS if expire_time < now + timedelta(days=days))
            if self._told.get(identity_id) != days:
                self._told[identity_id] = days
                self._log.warning(
                    "signing_identity.expiring",
                    tenant_id=str(tenant_id),
                    signing_identity_id=str(identity_id),
                    expire_time=expire_time.isoformat(),
                )
