"""Recipients that come again, wherever they lie: the first counts, as it does where passes are
issued."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from passmill.domain.campaigns import RolloutPlan, VoidAction
from passmill.v1.campaign_pb2 import Campaign, CampaignAction, Recipient, RecipientResult
from passmill.v1.campaign_pb2 import UpdateAction as UpdateMessage
from passmill.v1.campaign_pb2 import VoidAction as VoidMessage
from passmill.v1.wallet_pass_pb2 import Pass, PassRef
from tests.support.campaign_worker import open_campaign_worker
from tests.support.campaigns import bad_recipient, named_recipient
from tests.support.service import Club, Service
from tests.support.shards import Row, ShardRunner, issue_many

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Of one recipient a minute each shard has one: nothing is found within a shard.
ONE_A_SHARD = RolloutPlan(canary_ppm=1, canary_seconds=0, recipients_per_minute=1)
ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


def served_first(rows: Sequence[tuple[int, int]]) -> set[int]:
    """In plain words: of the rows with one id the first counts; of those that count and name one
    pass, the first."""
    ids: set[int] = set()
    counting = []
    for at, (external_id, pass_at) in enumerate(rows):
        if external_id not in ids:
            ids.add(external_id)
            counting.append((at, pass_at))
    passes: set[int] = set()
    first = set()
    for at, pass_at in counting:
        if pass_at not in passes:
            passes.add(pass_at)
            first.add(at)
    return first


@pytest.mark.timeout(300)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=ROWS, plan=st.sampled_from([ONE_A_SHARD, RolloutPlan()]))
async def test_the_first_counts(
    service: Service, runner: ShardRunner, drawn: list[tuple[int, int]], plan: RolloutPlan
) -> None:
    """Whatever ids and passes come again, one a shard or all in one: exactly those are served that
    plain words say, and each other one is told as a duplicate."""
    del service
    passes = await _six(runner)
    rows = [
        Row(pass_id=passes[pass_at].pass_id, external_id=f"r{external_id}")
        for external_id, pass_at in drawn
    ]
    campaign = await runner.begin(await runner.draft(VoidAction(reason=""), rows, rollout=plan))
    served = await runner.serve(campaign, runner.void)
    first = served_first(drawn)
    assert (served.succeeded, served.failed) == (len(first), 0)
    assert served.duplicate == len(drawn) - len(first)
    assert set(served.reasons) == set(range(len(drawn))) - first
    assert set(served.reasons.values()) <= {"DUPLICATE_RECIPIENT"}


async def _six(runner: ShardRunner) -> list[Pass]:
    rows = await runner.club.tenant.fetch("SELECT pass_id::text FROM passes ORDER BY pass_id")
    if len(rows) < 6:
        return await issue_many(runner.club, 6)
    return [Pass(pass_id=row["pass_id"]) for row in rows[:6]]


async def test_streams_are_compared_with_each_other(service: Service, rowing_club: Club) -> None:
    """Two streams that hold the same recipients: those of the first are served and those of the
    second are duplicates, also while both are served at once, and also tried again; recipients
    that were refused are in nobody's way. What ListRecipients tells adds up."""
    passes = await issue_many(rowing_club, 30)
    half = [named_recipient(f"r{at}", each.pass_id) for at, each in enumerate(passes)]
    refused = [Recipient(external_id=f"r{at}", ref=PassRef(pass_id="x")) for at in range(40)]
    action = CampaignAction(void=VoidMessage(reason="twice"))
    async with open_campaign_worker(service, rowing_club) as worker:
        campaign = await worker.campaigns.create(action)
        for rows in (refused, half, half[::-1]):
            await worker.campaigns.load(campaign, rows)
        started = await worker.start(campaign)
        assert (started.state, started.progress.total) == (Campaign.STATE_RUNNING, 100)
        assert await worker.serve_due(at_most=1) == 1
        compared = await worker.get(campaign)
        assert (compared.progress.shards, compared.progress.duplicate) == (3, 30)
        await asyncio.gather(*(worker.serve_shard(campaign, number) for number in (2, 1, 0)))
        await worker.serve_due()
        ended = await worker.get(campaign)
        progress = ended.progress
        assert ended.state == Campaign.STATE_PARTIALLY_FAILED
        assert (progress.succeeded, progress.duplicate, progress.invalid) == (30, 30, 40)
        assert progress.failed == progress.skipped == 0
        states = [each.state for each in await worker.campaigns.results(campaign)]
        assert states[40:70] == [RecipientResult.STATE_SUCCEEDED] * 30
        assert states[70:] == [RecipientResult.STATE_DUPLICATE] * 30
        assert (await worker.retry(campaign)).count == 0


async def test_a_pause_before_the_comparison(service: Service, rowing_club: Club) -> None:
    """Paused before its recipients were compared, a campaign does nothing; resumed, compared more
    than once and by two at the same time, it does all of it once. Cancelled then, it ends."""
    [only] = await issue_many(rowing_club, 1)
    update = UpdateMessage(template_id=rowing_club.template_id)
    async with open_campaign_worker(service, rowing_club) as worker:
        for is_cancelled in (False, True):
            campaign = await worker.campaigns.create(CampaignAction(update=update))
            for _ in range(2):
                rows = [named_recipient("again", only.pass_id), bad_recipient("no pass")]
                await worker.campaigns.load(campaign, rows)
            await worker.start(campaign)
            await worker.pause(campaign)
            await worker.serve_due()
            assert (await worker.get(campaign)).progress.shards == 0
            if is_cancelled:
                await worker.cancel(campaign)
                assert (await worker.get(campaign)).state == Campaign.STATE_CANCELLED
                continue
            await worker.resume(campaign)
            compare = worker.services.compare_recipients
            campaign_id = worker.campaign_id(campaign)
            await asyncio.gather(*(compare(worker.tenant_id, campaign_id) for _ in range(3)))
            await worker.serve_due()
            ended = await worker.get(campaign)
            assert (ended.progress.succeeded, ended.progress.duplicate) == (1, 1)
            assert (ended.progress.shards, ended.progress.invalid) == (2, 2)
