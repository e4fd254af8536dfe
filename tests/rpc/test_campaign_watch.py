"""WatchCampaign: whole snapshots, at once, on each change, until the end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from passmill.domain.callers import Caller
from passmill.domain.clock import SystemClock
from passmill.usecases.campaign_view import CampaignView
from passmill.usecases.show_campaigns import ShowCampaigns
from passmill.usecases.watch_campaign import WatchCampaign
from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.admin_service_pb2 import RevokeApiKeyRequest
from passmill.v1.campaign_pb2 import Campaign
from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.refusals import refusal_of
from tests.support.service import Club, Service, meta

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def worker(service: Service, rowing_club: Club) -> AsyncIterator[CampaignWorker]:
    """The club's campaigns, with a worker."""
    async with open_campaign_worker(service, rowing_club) as opened:
        yield opened


def watch(worker: CampaignWorker, campaign: Campaign, *, seconds: float | None = 30) -> Any:
    """Begins to watch."""
    request = pb.WatchCampaignRequest(campaign_id=campaign.campaign_id)
    return worker.stub.WatchCampaign(request, timeout=seconds)


async def next_of(call: Any) -> Campaign:
    """The next snapshot."""
    answer = await call.read()
    assert isinstance(answer, pb.WatchCampaignResponse)
    return answer.campaign


async def test_a_watcher_sees_the_campaign_through(worker: CampaignWorker) -> None:
    """A watcher is told at once how things are, then what changes, at last the end; then the stream
    ends. No snapshot is behind the one before, and the last is what is read."""
    campaign = await worker.loaded(40)
    call = watch(worker, campaign, seconds=None)
    first = await next_of(call)
    assert (first.state, first.progress.total) == (Campaign.STATE_DRAFT, 40)
    await worker.start(campaign)
    running = await next_of(call)
    assert (running.state, running.progress.succeeded) == (Campaign.STATE_RUNNING, 0)
    await worker.pause(campaign)
    assert (await next_of(call)).state == Campaign.STATE_PAUSED
    await worker.resume(campaign)
    seen = [await next_of(call)]
    await worker.serve_due()
    while not seen[-1].HasField("end_time"):
        seen.append(await next_of(call))
    assert await call.read() is grpc.aio.EOF
    counts = [each.progress.succeeded for each in seen]
    assert counts == sorted(counts)
    assert (seen[-1].state, counts[-1]) == (Campaign.STATE_SUCCEEDED, 40)
    assert seen[-1] == await worker.get(campaign)


async def test_a_late_watcher_is_told_the_end(worker: CampaignWorker) -> None:
    """Of a campaign that has ended there is one snapshot, for each who asks."""
    campaign = await worker.loaded(3)
    await worker.start(campaign)
    await worker.serve_due()
    for _ in range(2):
        call = watch(worker, campaign)
        assert (await next_of(call)).state == Campaign.STATE_SUCCEEDED
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_many_watch_at_once(worker: CampaignWorker) -> None:
    """Watchers come and go without a trace for each other."""
    campaign = await worker.loaded(3)
    calls = [watch(worker, campaign) for _ in range(20)]
    assert {(await next_of(each)).campaign_id for each in calls} == {campaign.campaign_id}
    for each in calls[:10]:
        each.cancel()
    await worker.start(campaign)
    states = {(await next_of(each)).state for each in calls[10:]}
    assert states == {Campaign.STATE_RUNNING}
    for each in calls[10:]:
        each.cancel()


async def test_a_revoked_key_watches_no_more(service: Service, worker: CampaignWorker) -> None:
    """A watcher whose key is revoked is shut out, though its stream had no end."""
    tenant = worker.club.tenant
    key = await service.add_key(tenant.tenant_id)
    campaign = await worker.loaded(1)
    request = pb.WatchCampaignRequest(campaign_id=campaign.campaign_id)
    call: Any = service.member(key).campaigns.WatchCampaign(request, timeout=None)
    await next_of(call)
    revoking = RevokeApiKeyRequest(
        tenant_id=tenant.tenant_id, key_id=key.split("_")[1], meta=meta()
    )
    await service.operator.RevokeApiKey(revoking)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _read_on(call)
    assert refusal_of(caught.value).reason == "UNAUTHENTICATED"


async def _read_on(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_nothing_new_is_told_now_and_then(worker: CampaignWorker) -> None:
    """Where nothing changes a watcher is told the same again after a while, and not before."""
    campaign = await worker.loaded(1)
    show = ShowCampaigns(database=worker.club.tenant.service.services.database, clock=SystemClock())
    told: list[CampaignView] = []

    async def tell(view: CampaignView) -> None:
        told.append(view)

    async def look(*, times: int, tell_seconds: float) -> None:
        left = times
        enough = asyncio.Event()

        async def caller() -> Caller:
            nonlocal left
            left -= 1
            if not left:
                enough.set()
            return worker.club.tenant.caller

        use_case = WatchCampaign(show_campaigns=show, look_seconds=0.001, tell_seconds=tell_seconds)
        watching = asyncio.ensure_future(use_case(caller, worker.campaign_id(campaign), tell=tell))
        await enough.wait()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    await look(times=20, tell_seconds=3600)
    assert len(told) == 1
    await look(times=20, tell_seconds=0)
    assert len(told) >= 20
    assert {each.campaign for each in told} == {told[0].campaign}
