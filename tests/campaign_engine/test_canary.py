"""A canary: who goes first, who waits, and what its failures say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from passmill.v1.campaign_pb2 import Campaign, RolloutPlan
from tests.campaign_engine.test_issue_shard import replace_values
from tests.support.campaign_worker import CampaignWorker
from tests.support.service import SetClock

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_canary_waits_for_a_person(worker: CampaignWorker) -> None:
    """With a canary and no time to watch it the campaign pauses behind it; resumed, the rest
    follows."""
    campaign = await worker.loaded(40, rollout=RolloutPlan(canary_ppm=250_000))
    await worker.start(campaign)
    await worker.serve_due()
    held = await worker.get(campaign)
    assert (held.state, held.state_reason) == (Campaign.STATE_PAUSED, "canary")
    assert (held.progress.succeeded, await worker.jobs()) == (10, [])
    await worker.resume(campaign)
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 40)


@pytest.mark.parametrize("canary_seconds", [0, 3])
async def test_a_canary_that_fails_is_followed_by_nobody(
    timed: CampaignWorker, clock: SetClock, canary_seconds: int
) -> None:
    """A canary of fewer than a hundred is judged as soon as it is through, before anybody else is
    tried, watched or not; whoever resumes the campaign lets the others follow all the same."""
    plan = RolloutPlan(
        canary_ppm=250_000, canary_seconds=canary_seconds, halt_above_failed_ppm=10_000
    )
    campaign = await timed.loaded(40, rollout=plan)
    await replace_values(timed, {3: "{}"})
    await timed.start(campaign)
    await timed.serve_due()
    held = await timed.get(campaign)
    assert (held.state, held.state_reason) == (Campaign.STATE_PAUSED, "error_threshold")
    assert (held.progress.succeeded, held.progress.failed) == (9, 1)
    clock.advance(timedelta(seconds=10))
    for job in await timed.jobs():
        await timed.serve(job)
    assert await timed.count_passes() == 9
    await timed.resume(campaign)
    for job in await timed.jobs():
        await timed.serve(job)
    await timed.serve_due()
    ended = await timed.get(campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_PARTIALLY_FAILED, 39)


async def test_a_canary_within_its_threshold_is_followed(
    timed: CampaignWorker, clock: SetClock
) -> None:
    """A canary that failed no more than the plan allows is followed after its time; behind it, few
    failures among few recipients stop nobody."""
    plan = RolloutPlan(canary_ppm=250_000, canary_seconds=3, halt_above_failed_ppm=100_000)
    campaign = await timed.loaded(40, rollout=plan)
    await replace_values(timed, dict.fromkeys([3, 30, 31, 32, 33, 34], "{}"))
    await timed.start(campaign)
    await timed.serve_due()
    assert (await timed.get(campaign)).state == Campaign.STATE_RUNNING
    clock.advance(timedelta(seconds=3))
    for job in await timed.jobs():
        await timed.serve(job)
    await timed.serve_due()
    ended = await timed.get(campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_PARTIALLY_FAILED, 34)
