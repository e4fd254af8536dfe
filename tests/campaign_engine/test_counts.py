"""What metrics count of campaigns: each recipient under what was done to it, and once a try."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from passmill.compose_worker import open_worker
from passmill.v1.campaign_pb2 import CampaignAction, NotifyAction, RolloutPlan
from tests.campaign_engine.test_issue_shard import replace_values
from tests.support.campaign_worker import CampaignWorker
from tests.support.campaigns import ClubCampaigns, named_recipient
from tests.support.service import Club, Service
from tests.support.shards import card_with_news, issue_many
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def registry() -> CollectorRegistry:
    """The worker's."""
    return CollectorRegistry()


@pytest_asyncio.fixture(loop_scope="session")
async def counted(
    service: Service, rowing_club: Club, registry: CollectorRegistry
) -> AsyncIterator[CampaignWorker]:
    """A worker whose metrics are at hand."""
    async with open_worker(service.settings, registry=registry) as services:
        campaigns = ClubCampaigns(club=rowing_club)
        yield CampaignWorker(club=rowing_club, campaigns=campaigns, services=services)


def recipients(registry: CollectorRegistry, action: str, outcome: str) -> float | None:
    """How many were tried so with this outcome; None when none ever were."""
    return registry.get_sample_value(
        "passmill_campaign_recipients_total", {"action": action, "outcome": outcome}
    )


def failures(registry: CollectorRegistry, reason: str) -> float | None:
    """How many failed for this reason."""
    return registry.get_sample_value("passmill_campaign_failures_total", {"reason": reason})


async def test_voiding_what_was_issued_counts_as_voiding(
    counted: CampaignWorker, registry: CollectorRegistry
) -> None:
    """A campaign that is cancelled and voids its passes counts as issued what it issued and no
    more; what is voided, or cannot be, counts as voiding, and who failed before fails no second
    time."""
    campaign = await counted.loaded(20, rollout=RolloutPlan(canary_ppm=500_000))
    await replace_values(counted, {3: "{}"})
    await counted.start(campaign)
    await counted.serve_due()
    broken = (await counted.campaigns.results(campaign))[0].pass_id
    await counted.club.tenant.fetch(
        "UPDATE passes SET slot_values = '{' WHERE pass_id = $1::uuid", broken
    )
    assert failures(registry, "INTERNAL") == 1
    await counted.cancel(campaign, void_issued=True)
    await counted.serve_due()
    assert registry.get_sample_value("passmill_passes_issued_total") == 9
    assert recipients(registry, "issue", "succeeded") == 9
    assert recipients(registry, "issue", "failed") == 1
    assert recipients(registry, "void", "succeeded") == 8
    assert recipients(registry, "void", "failed") == 1
    assert failures(registry, "INTERNAL") == 2


async def test_a_retry_counts_those_that_it_tries(
    counted: CampaignWorker, registry: CollectorRegistry
) -> None:
    """When some of a shard's failures are tried again those that fail again are counted again, and
    the others are not."""
    club = counted.club
    await club.tenant.publish(club.template_id, card_with_news())
    issued = await issue_many(club, 3)
    notify = NotifyAction(template_id=club.template_id, slot="news", message="Regatta")
    rows = [named_recipient(str(at), each.pass_id) for at, each in enumerate(issued)]
    for told in (rows[:1], rows):
        if told == rows:
            await void(club, issued[1])
        campaign = await counted.campaigns.create(CampaignAction(notify=notify))
        await counted.campaigns.load(campaign, told)
        await counted.start(campaign)
        await counted.serve_due()
    assert failures(registry, "INVALID_VALUES") == 1
    assert failures(registry, "PASS_VOIDED") == 1
    assert (await counted.retry(campaign, "PASS_VOIDED")).count == 1
    await counted.serve_due()
    assert failures(registry, "PASS_VOIDED") == 2
    assert failures(registry, "INVALID_VALUES") == 1
    assert recipients(registry, "notify", "succeeded") == 2
