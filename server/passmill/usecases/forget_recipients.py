"""Forget the recipients of campaigns that ended long ago: names, telephone numbers and values that
nobody needs there any more. Their passes, and the campaigns' counts, stay."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from passmill.domain.callers import internal_caller, operator_caller
from passmill.domain.clock import Clock
from passmill.errors import AppError
from passmill.store import campaigns
from passmill.store.database import Database

_EVERY_SECONDS: Final = 600.0
_FIND_SECONDS: Final = 30.0
# A million recipients are a thousand rows.
_DELETE_SECONDS: Final = 300.0


class ForgetRecipients:
    """Deletes recipients of campaigns, one campaign after the other."""

    def __init__(self, *, database: Database, clock: Clock, kept: timedelta) -> None:
        """`kept`: for so long after a campaign's end."""
        self._database = database
        self._clock = clock
        self._kept = kept
        self._log = structlog.get_logger("passmill.upkeep")

    async def run_forever(self) -> None:
        """Every ten minutes. Ends by cancellation."""
        while True:
            try:
                while await self():
                    pass
            except AppError as error:
                self._log.warning("recipients.not_forgotten", reason=error.reason.value)
            except Exception:  # noqa: BLE001 - a fault here must not take the process down
                self._log.exception("recipients.not_forgotten")
            await asyncio.sleep(_EVERY_SECONDS)

    async def __call__(self) -> bool:
        """Forgets those of one campaign; gives whether there was one."""
        now, clock = asyncio.get_running_loop().time(), self._clock.now()
        caller = operator_caller(deadline=now + _FIND_SECONDS)
        async with self._database.transaction(caller) as tx:
            found = await campaigns.find_to_forget(tx, ended_before=clock - self._kept)
        if found is None:
            return False
        tenant_id, campaign_id = found
        inside = internal_caller(tenant_id, deadline=now + _DELETE_SECONDS)
        async with self._database.transaction(inside) as tx:
            campaign = await campaigns.lock_campaign(tx, campaign_id)
            # Its recipients may be tried again since, or be forgotten by another worker.
            if campaign.state.is_ended and not campaign.is_forgotten:
                chunks = await campaigns.forget_recipients(tx, campaign_id)
                self._log.info(
                    "recipients.forgotten",
                    tenant_id=str(tenant_id),
                    campaign_id=str(campaign_id),
                    chunks=chunks,
                )
        return True
