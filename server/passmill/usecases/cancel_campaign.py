"""Cancel a campaign, and have what it issued voided if that is wanted."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from passmill.domain.campaigns import (
    Campaign,
    CampaignState,
    IssueAction,
    ShardKind,
    ShardState,
)
from passmill.domain.clock import Clock
from passmill.errors import invalid_field
from passmill.store import campaigns, shards
from passmill.store.database import Transaction
from passmill.usecases.campaign_end import EndReport, end_campaign
from passmill.usecases.campaign_steps import enqueue_wave
from passmill.usecases.campaign_view import CampaignView, view_campaign
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.start_campaign import parse_campaign_id

REASON_REQUEST = "cancelled by request"
_OPEN = (
    CampaignState.DRAFT,
    CampaignState.SCHEDULED,
    CampaignState.RUNNING,
    CampaignState.PAUSED,
)


class CancelCampaign:
    """Cancels campaigns."""

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[CampaignView], *, campaign_id: str, void_issued: bool
    ) -> Answer:
        """The answer with the campaign cancelled, or being so while passes are voided. From its
        commit on no shard writes any more: each has either done all of its work or none.

        AppError NOT_FOUND, CAMPAIGN_STATE, INVALID_FIELD for `void_issued` where nothing is issued,
        REQUEST_ID_REUSED.
        """
        ended: list[EndReport] = []

        async def work(tx: Transaction) -> CampaignView:
            campaign = await campaigns.lock_campaign(tx, parse_campaign_id(campaign_id))
            campaign.require_state(*_OPEN)
            if void_issued and not isinstance(campaign.definition.action, IssueAction):
                raise invalid_field("void_issued", "only campaigns that issue can void")
            now = self._clock.now()
            cancelling = await _cancel(tx, campaign, void_issued=void_issued, now=now)
            if void_issued and await _plan_voiding(tx, cancelling):
                return await view_campaign(tx, cancelling, now=now)
            report = await end_campaign(tx, cancelling, now=now)
            ended.append(report)
            return CampaignView(campaign=report.campaign, progress=report.progress)

        answer = await self._mutator.run(mutation, work)
        if not mutation.validate_only:
            for report in ended:
                report.log()
        return answer


async def _cancel(
    tx: Transaction, campaign: Campaign, *, void_issued: bool, now: datetime
) -> Campaign:
    # Waits for the shards that are writing just now; those that come later find themselves skipped.
    await shards.skip_open(tx, campaign.campaign_id, now=now)
    cancelling = replace(
        campaign,
        state=CampaignState.CANCELLING,
        state_reason=REASON_REQUEST,
        void_issued=void_issued,
        version=campaign.version + 1,
    )
    await campaigns.write_campaign(tx, cancelling)
    return cancelling


async def _plan_voiding(tx: Transaction, campaign: Campaign) -> bool:
    """Queues a shard that voids for each that issued; gives whether there are any."""
    made = await shards.list_shards(tx, campaign.campaign_id)
    if not made:
        return False
    wave = max(each.wave for each in made) + 1
    number = made[-1].shard_number
    voiding = [
        replace(
            each,
            shard_number=number + at,
            kind=ShardKind.VOID_ISSUED,
            wave=wave,
            state=ShardState.WAITING,
        )
        for at, each in enumerate(
            (each for each in made if each.kind is ShardKind.ACT and each.state is ShardState.DONE),
            start=1,
        )
    ]
    await shards.insert_shards(tx, campaign.campaign_id, voiding)
    await enqueue_wave(tx, campaign, wave)
    return bool(voiding)
