"""Start a campaign, now or at a time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.campaigns import (
    Campaign,
    CampaignState,
    IssueAction,
    RecipientStream,
    StreamState,
    VoidAction,
)
from passmill.domain.clock import Clock
from passmill.domain.ids import CampaignId, TenantId, parse_uuid
from passmill.errors import AppError, Reason, not_found
from passmill.signing.identities import IdentityCache, require_team
from passmill.store import campaigns, jobs, recipient_streams
from passmill.store.database import Database, Transaction
from passmill.store.jobs import JobKind
from passmill.usecases.campaign_steps import begin, plan_shards
from passmill.usecases.campaign_view import CampaignView, view_campaign
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer, Mutation, Mutator

_BEGIN_SECONDS = 60.0


def parse_campaign_id(text: str) -> CampaignId:
    """The campaign's id. AppError NOT_FOUND when it can be none."""
    parsed = parse_uuid(text)
    if parsed is None:
        raise not_found("campaign")
    return CampaignId(parsed)


class StartCampaign:
    """Starts drafts, and gives scheduled campaigns another time."""

    def __init__(
        self,
        *,
        database: Database,
        mutator: Mutator,
        load_revision: LoadRevision,
        identities: IdentityCache,
        clock: Clock,
    ) -> None:
        self._database = database
        self._mutator = mutator
        self._load_revision = load_revision
        self._identities = identities
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[CampaignView], *, campaign_id: str, start_time: datetime | None
    ) -> Answer:
        """The answer with the campaign running, or scheduled for `start_time`.

        AppError: NOT_FOUND, CAMPAIGN_STATE, STREAM_STATE when a stream is not finalized or there is
        none, INVALID_CAMPAIGN when it would fall into too many steps or its claim links would have
        ended by then, NO_SIGNING_IDENTITY, SIGNING_IDENTITY_EXPIRED, REQUEST_ID_REUSED.
        """
        wanted = parse_campaign_id(campaign_id)
        try:
            await self._require_signer(mutation.caller, wanted)
        except AppError:
            if kept := await self._mutator.replay(mutation):
                return kept
            raise

        async def work(tx: Transaction) -> CampaignView:
            campaign = await campaigns.lock_campaign(tx, wanted)
            campaign.require_state(CampaignState.DRAFT, CampaignState.SCHEDULED)
            streams = await _require_recipients(tx, campaign)
            now = self._clock.now()
            _require_lasting_links(campaign, max(now, start_time or now))
            if start_time is not None and start_time > now:
                # Told now; when its time has come nobody is there to be told.
                await plan_shards(tx, campaign, streams)
                campaign = await schedule(tx, campaign, start_time=start_time, now=now)
            else:
                campaign = await begin(tx, campaign, now=now)
            return await view_campaign(tx, campaign, now=now)

        return await self._mutator.run(mutation, work)

    async def _require_signer(self, caller: Caller, campaign_id: CampaignId) -> None:
        # Better told now than by a campaign that stops at once.
        async with self._database.transaction(caller, read_only=True) as tx:
            campaign = await campaigns.get_campaign(tx, campaign_id)
        action = campaign.definition.action
        if isinstance(action, VoidAction):
            return  # voiding must be possible at any time
        loaded = await self._load_revision.by_id(caller, action.revision.revision_id)
        _, identity = await self._identities.active(caller, loaded.revision.pass_type_identifier)
        require_team(identity, loaded.revision.team_identifier)


class BeginScheduled:
    """Begins campaigns whose time has come: a worker's job."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, tenant_id: TenantId, campaign_id: CampaignId) -> None:
        """Begins the campaign if it is scheduled and its time has come; when it was given a later
        time, waits for that."""
        deadline = asyncio.get_running_loop().time() + _BEGIN_SECONDS
        async with self._database.transaction(internal_caller(tenant_id, deadline=deadline)) as tx:
            campaign = await campaigns.lock_campaign(tx, campaign_id)
            if campaign.state is not CampaignState.SCHEDULED or campaign.start_time is None:
                return
            now = self._clock.now()
            if campaign.start_time > now:
                delay = campaign.start_time - now
                await jobs.enqueue_campaign_job(tx, campaign_id, JobKind.START, delay=delay)
            else:
                await begin(tx, campaign, now=now)


async def schedule(
    tx: Transaction, campaign: Campaign, *, start_time: datetime, now: datetime
) -> Campaign:
    """Has a campaign that is locked begin at `start_time`; gives it as it is then."""
    scheduled = replace(
        campaign,
        state=CampaignState.SCHEDULED,
        state_reason="",
        start_time=start_time,
        version=campaign.version + 1,
    )
    await campaigns.write_campaign(tx, scheduled)
    await jobs.enqueue_campaign_job(tx, campaign.campaign_id, JobKind.START, delay=start_time - now)
    return scheduled


def _require_lasting_links(campaign: Campaign, begin_time: datetime) -> None:
    action = campaign.definition.action
    if not isinstance(action, IssueAction) or action.links is None:
        return
    if action.links.expire_time is not None and action.links.expire_time <= begin_time:
        raise AppError(
            reason=Reason.INVALID_CAMPAIGN,
            message="Its claim links would have ended before it begins. Make another campaign.",
        )


async def _require_recipients(tx: Transaction, campaign: Campaign) -> list[RecipientStream]:
    """The campaign's streams, which are complete; none with a segment."""
    if campaign.definition.segment is not None:
        return []
    streams = await recipient_streams.list_streams(tx, campaign.campaign_id)
    if not streams:
        raise AppError(
            reason=Reason.STREAM_STATE,
            message="The campaign has no recipient stream. Create one, append and finalize it.",
        )
    for stream in streams:
        if stream.state is not StreamState.FINALIZED:
            raise AppError(
                reason=Reason.STREAM_STATE,
                message=f"Recipient stream {stream.stream_id} is open. Finalize it first.",
                metadata={"stream_id": str(stream.stream_id)},
            )
    return streams
