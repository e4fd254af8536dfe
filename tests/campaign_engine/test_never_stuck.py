"""What could leave a campaign without an end, or a recipient without a pass."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.errors import AppError
from passmill.v1.admin_service_pb2 import SetTenantStateRequest, Tenant
from passmill.v1.campaign_pb2 import Campaign, CampaignAction, Segment, VoidAction
from tests.support.campaign_worker import CampaignWorker
from tests.support.service import meta

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_was_cancelled_is_voided_for_a_suspended_tenant_too(
    worker: CampaignWorker,
) -> None:
    """A tenant suspended while its cancelled campaign is voided: all is voided, and it ends."""
    campaign = await worker.loaded(20, streams=2)
    await worker.start(campaign)
    await worker.serve_due(at_most=1)
    await worker.cancel(campaign, void_issued=True)
    tenant = worker.club.tenant
    for state in (Tenant.STATE_SUSPENDED, Tenant.STATE_ACTIVE):
        await tenant.service.operator.SetTenantState(
            SetTenantStateRequest(tenant_id=tenant.tenant_id, state=state, meta=meta())
        )
        await worker.serve_due()
    ended = await worker.get(campaign)
    assert (ended.state, ended.progress.voided) == (Campaign.STATE_CANCELLED, 10)


async def test_a_campaign_about_nobody_may_be_paused(worker: CampaignWorker) -> None:
    """A segment that chose no pass, paused before its campaign could end: resumed, it ends."""
    nobody = Segment(external_id_system="nobody")
    void = CampaignAction(void=VoidAction(reason="lost"))
    campaign = await worker.campaigns.create(void, segment=nobody)
    await worker.start(campaign)
    await worker.serve_due(at_most=1)
    await worker.pause(campaign)
    await worker.serve_due()
    await worker.resume(campaign)
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert (ended.state, ended.progress.total) == (Campaign.STATE_SUCCEEDED, 0)


async def test_recipients_count_before_a_campaign_begins(worker: CampaignWorker) -> None:
    """Scheduled, paused and cancelled before it began, a campaign still says how many recipients
    were loaded; those of the cancelled one are skipped."""
    campaign = await worker.loaded(3)
    at = Timestamp()
    at.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    assert (await worker.start(campaign, start_time=at)).progress.total == 3
    assert (await worker.pause(campaign)).progress.total == 3
    cancelled = await worker.cancel(campaign)
    assert cancelled.state == Campaign.STATE_CANCELLED
    assert (cancelled.progress.total, cancelled.progress.skipped) == (3, 3)
    assert (await worker.get(campaign)).progress == cancelled.progress


async def test_no_pass_is_lost_to_another_ones_number(worker: CampaignWorker) -> None:
    """Were reference numbers ever given out twice, a shard would fail as a whole, and not count as
    issued what it could not write."""
    first = await worker.loaded(5)
    await worker.start(first)
    await worker.serve_due()
    await worker.club.tenant.fetch(
        "UPDATE tenants SET next_reference = 0 WHERE tenant_id = $1", worker.tenant_id
    )
    second = await worker.loaded(7)
    await worker.start(second)
    with pytest.raises(RuntimeError, match="reference number"):
        await worker.serve_shard(second, 0)
    held = await worker.get(second)
    assert (held.progress.succeeded, held.progress.shards_done) == (0, 0)
    assert await worker.count_passes() == 5


async def test_a_frozen_worker_gives_its_shard_up(worker: CampaignWorker) -> None:
    """A worker that froze inside its transaction, its connection still open, is cut off by the
    database, and the shard it had locked is served by another."""
    campaign = await worker.loaded(5)
    await worker.start(campaign)

    async def freeze() -> None:
        async with worker.services.database.transaction(worker.club.tenant.caller) as tx:
            limit = await tx.fetch_value("SHOW idle_in_transaction_session_timeout")
            assert limit == "20s"
            await tx.fetch("SELECT FROM campaign_shards WHERE shard_number = 0 FOR UPDATE")
            await tx.execute("SET LOCAL idle_in_transaction_session_timeout = 200")
            async with asyncio.timeout(15):
                await worker.serve_shard(campaign, 0)
            await tx.fetch("SELECT")

    with pytest.raises(AppError, match="UNAVAILABLE"):
        await freeze()
    assert (await worker.get(campaign)).state == Campaign.STATE_SUCCEEDED
    assert await worker.count_passes() == 5
