"""Serve one shard of a campaign: check that it may, act, see to the campaign."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import structlog

from passmill.domain.callers import internal_caller
from passmill.domain.campaigns import (
    ActionKind,
    Campaign,
    CampaignState,
    Shard,
    ShardKind,
    ShardState,
    action_kind,
)
from passmill.domain.ids import CampaignId, TenantId
from passmill.domain.tenants import TenantState
from passmill.errors import AppError, Reason
from passmill.failpoints import Failpoints
from passmill.store import campaigns, shards, tenants
from passmill.store.database import Database
from passmill.telemetry.campaign_metrics import CampaignMetrics
from passmill.usecases.settle_campaign import SettleCampaign
from passmill.usecases.shard_work import ShardAct, ShardDone, ShardWork

# A shard takes a second. One that takes so long meets a database or a machine that hangs.
_STEP_SECONDS = 60.0
# Trying again would help none of the campaign's recipients before somebody did something.
_STOPPING = frozenset(
    {
        Reason.NO_SIGNING_IDENTITY,
        Reason.SIGNING_IDENTITY_EXPIRED,
        Reason.INVALID_SIGNING_IDENTITY,
        Reason.TENANT_SUSPENDED,
    }
)
REASON_FAULT = "internal_error"


class ServeShard:
    """Serves shards by what their campaign does."""

    def __init__(
        self,
        *,
        database: Database,
        acts: Mapping[ActionKind, ShardAct],
        void_issued: ShardAct,
        settle: SettleCampaign,
        metrics: CampaignMetrics,
        failpoints: Failpoints,
    ) -> None:
        self._database = database
        self._acts = acts
        self._void_issued = void_issued
        self._settle = settle
        self._metrics = metrics
        self._failpoints = failpoints
        self._log = structlog.get_logger("passmill.campaign")

    async def __call__(
        self, tenant_id: TenantId, campaign_id: CampaignId, shard_number: int
    ) -> None:
        """Serves the shard if it is still to be served and its campaign lets it; then sees to the
        campaign. What stops the campaign as a whole pauses it, with the reason.

        Any error: to be done again, nothing is half done.
        """
        deadline = asyncio.get_running_loop().time() + _STEP_SECONDS
        caller = internal_caller(tenant_id, deadline=deadline)
        async with self._database.transaction(caller, read_only=True) as tx:
            campaign = await campaigns.get_campaign(tx, campaign_id)
            shard = await shards.get_shard(tx, campaign_id, shard_number)
            tenant = await tenants.get_tenant(tx, tenant_id)
        if _may_begin(campaign, shard):
            work = ShardWork(caller=caller, campaign=campaign, shard=shard)
            try:
                # What a campaign issued is voided for whoever asked for it, suspended since or not.
                if shard.kind is not ShardKind.VOID_ISSUED:
                    _require_active(tenant.state)
                await self._act(work)
            except ShardDone:
                pass
            except AppError as error:
                # A campaign that is being cancelled cannot be paused, so its job must not vanish.
                if error.reason not in _STOPPING or shard.kind is ShardKind.VOID_ISSUED:
                    raise
                await self._stop(work, error.reason.value.lower())
                return
        self._failpoints.reach("shard.committed")
        await self._settle(tenant_id, campaign_id)

    async def give_up(self, tenant_id: TenantId, campaign_id: CampaignId) -> bool:
        """Pauses the campaign of a job that failed too often for a reason nobody foresaw: the log
        says which, and ResumeCampaign tries again. False for one that cannot be paused, as it is
        being cancelled: its job is to be tried on."""
        return await self._settle.pause(tenant_id, campaign_id, reason=REASON_FAULT)

    async def _act(self, work: ShardWork) -> None:
        kind = action_kind(work.campaign.definition.action)
        act = self._acts[kind]
        counted: Mapping[str, int] = {}
        if work.shard.kind is ShardKind.VOID_ISSUED:
            kind, act = ActionKind.VOID, self._void_issued
            # Who was not issued a pass was counted by the shard that tried.
            async with self._database.transaction(work.caller, read_only=True) as tx:
                counted = await shards.count_failures(tx, work.campaign.campaign_id, work.shard)
        await act(work)
        async with self._database.transaction(work.caller, read_only=True) as tx:
            finished = await shards.get_finished(tx, work.campaign.campaign_id, work.shard)
        if finished is None:
            return
        outcome = finished.outcome
        self._metrics.shard_done(
            kind.name.lower(),
            seconds=(finished.end_time - outcome.start_time).total_seconds(),
            sign_seconds=outcome.sign_seconds,
            write_seconds=outcome.write_seconds,
            recipients={
                "succeeded": outcome.succeeded,
                "failed": outcome.failed,
                "duplicate": outcome.duplicate,
            },
            failures=Counter(finished.failures) - Counter(counted),
        )

    async def _stop(self, work: ShardWork, reason: str) -> None:
        self._log.warning(
            "campaign.stopped",
            tenant_id=str(work.caller.tenant_id),
            campaign_id=str(work.campaign.campaign_id),
            reason=reason,
        )
        await self._settle.pause(work.caller.tenant_id, work.campaign.campaign_id, reason=reason)


def _may_begin(campaign: Campaign, shard: Shard) -> bool:
    if shard.state not in {ShardState.WAITING, ShardState.QUEUED}:
        return False
    if shard.kind is ShardKind.VOID_ISSUED:
        return campaign.state is CampaignState.CANCELLING
    return campaign.state is CampaignState.RUNNING


def _require_active(state: TenantState) -> None:
    if state is not TenantState.ACTIVE:
        raise AppError(reason=Reason.TENANT_SUSPENDED, message="The tenant is suspended.")
