"""Take a roll-out back by one call: every pass it changed, and that nobody changed since, returns
to the revision and the values it had."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from passmill.domain.campaigns import (
    Campaign,
    CampaignState,
    Definition,
    NotifyAction,
    Segment,
    UpdateAction,
)
from passmill.domain.clock import Clock
from passmill.domain.ids import CampaignId, new_uuid
from passmill.errors import AppError, Reason
from passmill.store import campaigns, jobs, shards
from passmill.store.database import Transaction
from passmill.store.jobs import JobKind
from passmill.usecases.campaign_steps import begin
from passmill.usecases.campaign_view import CampaignView, view_campaign
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.start_campaign import parse_campaign_id

REASON_ROLLED_BACK: Final = "rolled back"
_MAX_NAME: Final = 200


class RollBackCampaign:
    """Makes and starts the campaign that takes another one back."""

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(self, mutation: Mutation[CampaignView], *, campaign_id: str) -> Answer:
        """The answer with the new campaign, running. One that was still at work, or paused, is
        cancelled with the same commit: from then on it changes nothing more.

        AppError NOT_FOUND, INVALID_CAMPAIGN for one that issues or voids, CAMPAIGN_STATE for one
        that has not begun, or that another takes back already and is not cancelled,
        REQUEST_ID_REUSED.
        """

        async def work(tx: Transaction) -> CampaignView:
            source = await campaigns.lock_campaign(tx, parse_campaign_id(campaign_id))
            action = source.definition.action
            if not isinstance(action, UpdateAction | NotifyAction):
                raise AppError(
                    reason=Reason.INVALID_CAMPAIGN,
                    message="Only campaigns that update or notify can be taken back.",
                )
            await _require_first(tx, source)
            now = self._clock.now()
            await _require_over(tx, source, now=now)
            campaign = Campaign(
                campaign_id=CampaignId(new_uuid()),
                display_name=f"Roll back: {source.display_name}"[:_MAX_NAME],
                definition=Definition(
                    action=UpdateAction(revision=action.revision),
                    # Its passes are chosen when it starts: those of the template that were changed.
                    segment=Segment(template_id=action.revision.template_id),
                ),
                state=CampaignState.DRAFT,
                state_reason="",
                priority=source.priority,
                version=1,
                total=0,
                invalid=0,
                first_reference=0,
                void_issued=False,
                rolls_back=source.campaign_id,
                create_time=now,
                start_time=None,
                end_time=None,
            )
            await campaigns.insert_campaign(tx, campaign)
            return await view_campaign(tx, await begin(tx, campaign, now=now), now=now)

        return await self._mutator.run(mutation, work)


async def _require_first(tx: Transaction, source: Campaign) -> None:
    """What was taken back is no longer as the source left it: a second time all would fail."""
    first = await campaigns.find_roll_back(tx, source.campaign_id)
    if first is not None:
        raise AppError(
            reason=Reason.CAMPAIGN_STATE,
            message=f"The campaign {first} takes it back already, or has. What failed there"
            " RetryRecipients of that campaign tries again.",
            metadata={"state": source.state.name, "roll_back_campaign_id": str(first)},
        )


async def _require_over(tx: Transaction, source: Campaign, *, now: datetime) -> None:
    source.require_remembered()
    source.require_state(
        CampaignState.RUNNING,
        CampaignState.PAUSED,
        CampaignState.CANCELLING,
        CampaignState.CANCELLED,
        CampaignState.SUCCEEDED,
        CampaignState.PARTIALLY_FAILED,
        CampaignState.FAILED,
    )
    if source.state not in {CampaignState.RUNNING, CampaignState.PAUSED}:
        return
    # Waits for the shards that are writing just now; those that come later find themselves skipped.
    await shards.skip_open(tx, source.campaign_id, now=now)
    stopped = replace(
        source,
        state=CampaignState.CANCELLING,
        state_reason=REASON_ROLLED_BACK,
        version=source.version + 1,
    )
    await campaigns.write_campaign(tx, stopped)
    await jobs.enqueue_campaign_job(tx, source.campaign_id, JobKind.SETTLE)
