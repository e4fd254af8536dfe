"""Try the recipients of an ended campaign again that were tried in vain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from passmill.domain.campaigns import Campaign, CampaignState, ShardKind, ShardState
from passmill.domain.clock import Clock
from passmill.errors import AppError, Reason
from passmill.store import campaigns, shards
from passmill.store.database import Transaction
from passmill.usecases.campaign_steps import enqueue_wave
from passmill.usecases.campaign_view import CampaignView, view_campaign
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.start_campaign import parse_campaign_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriedRecipients:
    """The campaign, running again if `count` recipients are tried again, and not none."""

    view: CampaignView
    count: int


class RetryRecipients:
    """Tries failed recipients again."""

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[RetriedRecipients], *, campaign_id: str, reasons: Sequence[str]
    ) -> Answer:
        """The answer. `reasons`: only those that failed for one of these; empty means all.

        AppError NOT_FOUND, CAMPAIGN_STATE for one that has not ended, was cancelled or was rolled
        back, REQUEST_ID_REUSED.
        """

        async def work(tx: Transaction) -> RetriedRecipients:
            campaign = await campaigns.lock_campaign(tx, parse_campaign_id(campaign_id))
            campaign.require_state(
                CampaignState.SUCCEEDED, CampaignState.PARTIALLY_FAILED, CampaignState.FAILED
            )
            campaign.require_remembered()
            if await campaigns.is_rolled_back(tx, campaign.campaign_id):
                # What it would change now no roll-back knows of.
                raise AppError(
                    reason=Reason.CAMPAIGN_STATE,
                    message="The campaign was rolled back, so its recipients cannot be tried again."
                    " Make another campaign for them.",
                    metadata={"state": campaign.state.name},
                )
            failed = await shards.failed_by_shard(tx, campaign.campaign_id, reasons=reasons)
            if failed:
                campaign = await _retry(tx, campaign, failed)
            return RetriedRecipients(
                view=await view_campaign(tx, campaign, now=self._clock.now()),
                count=sum(len(row_offsets) for row_offsets in failed.values()),
            )

        return await self._mutator.run(mutation, work)


async def _retry(tx: Transaction, campaign: Campaign, failed: dict[int, list[int]]) -> Campaign:
    running = replace(
        campaign,
        state=CampaignState.RUNNING,
        state_reason="",
        end_time=None,
        version=campaign.version + 1,
    )
    await campaigns.write_campaign(tx, running)
    made = await shards.list_shards(tx, campaign.campaign_id)
    wave = max(each.wave for each in made) + 1
    number = made[-1].shard_number
    again = [
        replace(
            each,
            shard_number=number + at,
            kind=ShardKind.RETRY,
            wave=wave,
            state=ShardState.WAITING,
            row_offsets=failed[each.shard_number],
        )
        for at, each in enumerate((each for each in made if each.shard_number in failed), start=1)
    ]
    await shards.insert_shards(tx, campaign.campaign_id, again)
    # Somebody looked at what failed before, and wants it tried again.
    await shards.forgive_failures(tx, campaign.campaign_id)
    await enqueue_wave(tx, running, wave)
    return running
