"""A worker in the test's hand: it serves the queue's jobs one after the other, in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from prometheus_client import CollectorRegistry

from passmill.compose_worker import WorkerServices, open_worker
from passmill.domain.clock import Clock
from passmill.domain.ids import CampaignId, TenantId
from passmill.store.jobs import JobKind, JobPayload
from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import Campaign, CampaignAction, Recipient, RecipientResult
from passmill.v1.pass_service_pb2 import GetPassRequest
from passmill.v1.wallet_pass_pb2 import Pass, PassRef
from tests.support.campaigns import ClubCampaigns, recipient
from tests.support.service import Club, Service, meta

if TYPE_CHECKING:  # exists for type checkers only
    from passmill.v1.campaign_service_pb2_grpc import CampaignServiceAsyncStub


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job that waits. `turn`: the smaller, the sooner."""

    job_id: int
    kind: JobKind
    payload: JobPayload
    turn: int
    is_due: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignWorker:
    """A club's campaigns, with a worker for them."""

    club: Club
    campaigns: ClubCampaigns
    services: WorkerServices

    @property
    def stub(self) -> CampaignServiceAsyncStub:
        """The campaign service."""
        return self.club.campaigns

    @property
    def tenant_id(self) -> TenantId:
        """The club's tenant."""
        return TenantId(int(self.club.tenant.tenant_id))

    async def loaded(
        self,
        recipients: Sequence[Recipient] | int,
        *,
        streams: int = 1,
        action: CampaignAction | None = None,
        **options: object,
    ) -> Campaign:
        """A draft that issues, with its recipients in `streams` complete streams. `action`: which
        issues, when it does more than that."""
        if isinstance(recipients, int):
            recipients = [recipient(f"m{at}", name=f"Ada {at}") for at in range(recipients)]
        campaign = await self.campaigns.create(action, **options)
        size = -(-len(recipients) // streams)
        for start in range(0, len(recipients), max(size, 1)):
            await self.campaigns.load(campaign, recipients[start : start + size])
        return campaign

    async def start(self, campaign: Campaign, **options: object) -> Campaign:
        """The campaign, started."""
        request = pb.StartCampaignRequest(campaign_id=campaign.campaign_id, meta=meta(), **options)  # type: ignore[arg-type]
        return (await self.stub.StartCampaign(request)).campaign

    async def pause(self, campaign: Campaign) -> Campaign:
        """The campaign, paused."""
        request = pb.PauseCampaignRequest(campaign_id=campaign.campaign_id, meta=meta())
        return (await self.stub.PauseCampaign(request)).campaign

    async def resume(self, campaign: Campaign) -> Campaign:
        """The campaign, resumed."""
        request = pb.ResumeCampaignRequest(campaign_id=campaign.campaign_id, meta=meta())
        return (await self.stub.ResumeCampaign(request)).campaign

    async def cancel(self, campaign: Campaign, *, void_issued: bool = False) -> Campaign:
        """The campaign, cancelled."""
        request = pb.CancelCampaignRequest(
            campaign_id=campaign.campaign_id, void_issued=void_issued, meta=meta()
        )
        return (await self.stub.CancelCampaign(request)).campaign

    async def retry(self, campaign: Campaign, *reasons: str) -> pb.RetryRecipientsResponse:
        """The campaign's failed recipients, tried again."""
        request = pb.RetryRecipientsRequest(
            campaign_id=campaign.campaign_id, reasons=reasons, meta=meta()
        )
        return await self.stub.RetryRecipients(request)

    async def get(self, campaign: Campaign) -> Campaign:
        """The campaign as it is now."""
        request = pb.GetCampaignRequest(campaign_id=campaign.campaign_id)
        return (await self.stub.GetCampaign(request)).campaign

    async def jobs(self) -> list[Job]:
        """The jobs of this club's campaigns that wait, in the order in which workers take them."""
        rows = await self.club.tenant.fetch(
            "SELECT id, entrypoint, payload, priority, execute_after <= now() AS is_due"
            " FROM pgqueuer.pgqueuer WHERE status = 'queued' AND entrypoint LIKE 'campaign%'"
            " ORDER BY priority DESC, id"
        )
        found = [
            Job(
                job_id=row["id"],
                kind=JobKind(row["entrypoint"]),
                payload=JobPayload.decode(row["payload"]),
                turn=-row["priority"],
                is_due=row["is_due"],
            )
            for row in rows
        ]
        return [each for each in found if each.payload.tenant_id == self.tenant_id]

    async def serve(self, job: Job) -> None:
        """Takes one job off the queue and does it."""
        await self.club.tenant.fetch("DELETE FROM pgqueuer.pgqueuer WHERE id = $1", job.job_id)
        tenant_id, campaign_id = job.payload.tenant_id, job.payload.campaign_id
        match job.kind:
            case JobKind.SHARD:
                await self.services.serve_shard(tenant_id, campaign_id, job.payload.shard_number)
            case JobKind.SETTLE:
                await self.services.settle_campaign(tenant_id, campaign_id)
            case JobKind.START:
                await self.services.begin_scheduled(tenant_id, campaign_id)
            case JobKind.CHOOSE:
                await self.services.choose_segment(tenant_id, campaign_id)
            case JobKind.COMPARE:
                await self.services.compare_recipients(tenant_id, campaign_id)

    async def serve_due(self, *, at_most: int = 1_000) -> int:
        """Serves what is due, each job after the other; gives how many."""
        served = 0
        while served < at_most:
            job = next((each for each in await self.jobs() if each.is_due), None)
            if job is None:
                break
            await self.serve(job)
            served += 1
        return served

    async def serve_shard(self, campaign: Campaign, shard_number: int) -> None:
        """Serves a shard, whether it is queued or not."""
        await self.services.serve_shard(self.tenant_id, self.campaign_id(campaign), shard_number)

    @staticmethod
    def campaign_id(campaign: Campaign) -> CampaignId:
        """The campaign's id."""
        return CampaignId(UUID(campaign.campaign_id))

    async def pass_of(self, result: RecipientResult) -> Pass:
        """The pass that a recipient has."""
        ref = PassRef(pass_id=result.pass_id)
        return (await self.club.passes.GetPass(GetPassRequest(ref=ref))).wallet_pass

    async def told(self) -> list[set[UUID]]:
        """The passes that each event of a shard names."""
        rows = await self.club.tenant.fetch(
            "SELECT pass_ids FROM outbox WHERE kind = 'campaign.shard_done' ORDER BY event_id"
        )
        return [set(row["pass_ids"]) for row in rows]

    async def count_passes(self) -> int:
        """How many passes the club has."""
        return await self.club.tenant.count("passes")


@asynccontextmanager
async def open_campaign_worker(
    service: Service, club: Club, *, clock: Clock | None = None
) -> AsyncIterator[CampaignWorker]:
    """A worker beside the service, on the same database."""
    async with open_worker(service.settings, clock=clock, registry=CollectorRegistry()) as opened:
        yield CampaignWorker(club=club, campaigns=ClubCampaigns(club=club), services=opened)
