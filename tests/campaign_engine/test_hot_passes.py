"""Campaigns over passes that others change all the time, in transactions that they keep open."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from passmill.compose_worker import open_worker
from passmill.domain.ids import PassId
from passmill.store.database import Database, open_database
from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import (
    Campaign,
    CampaignAction,
    RecipientResult,
    UpdateAction,
    VoidAction,
)
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.bundles import verify
from tests.support.campaign_worker import CampaignWorker
from tests.support.campaigns import named_recipient
from tests.support.service import Service, authority, meta
from tests.support.shards import issue_many
from tests.support.small_card import value

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

WRITERS: Final = 50
PASSES: Final = 120
HELD_SECONDS: Final = 1.5


@dataclass(kw_only=True)
class Writers:
    """What others did to the passes."""

    worker: CampaignWorker
    changes: Counter[str] = field(default_factory=Counter)
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, database: Database, passes: Sequence[Pass], seed: int) -> None:
        """Changes one after the other, each in a transaction that is held open."""
        choice = random.Random(seed)  # noqa: S311 - a seeded choice
        while not self.is_over.is_set():
            pass_id = choice.choice(passes).pass_id
            async with database.transaction(self.worker.club.tenant.caller) as tx:
                await tx.execute(
                    "UPDATE passes SET version = version + 1,"
                    " update_tag = pg_current_xact_id()::text::bigint WHERE pass_id = $1",
                    UUID(pass_id),
                )
                await asyncio.sleep(choice.uniform(0, HELD_SECONDS))
            self.changes[pass_id] += 1


@asynccontextmanager
async def writing(worker: CampaignWorker, passes: Sequence[Pass]) -> AsyncIterator[Writers]:
    """While this is open, writers are at work."""
    writers = Writers(worker=worker)
    url = worker.club.tenant.service.settings.database_url.get_secret_value()
    async with (
        open_database(url, min_connections=0, max_connections=WRITERS) as database,
        asyncio.TaskGroup() as tasks,
    ):
        for seed in range(WRITERS):
            tasks.create_task(writers.write(database, passes, seed))
        async with asyncio.timeout(30):
            while writers.changes.total() < WRITERS // 2:  # noqa: ASYNC110 - done by others
                await asyncio.sleep(0.05)
        try:
            yield writers
        finally:
            writers.is_over.set()


async def load(worker: CampaignWorker, action: CampaignAction, passes: Sequence[Pass]) -> Campaign:
    """A campaign about these passes, started."""
    campaign = await worker.campaigns.create(action)
    recipients = [named_recipient(f"m{at}", each.pass_id) for at, each in enumerate(passes)]
    await worker.campaigns.load(campaign, recipients)
    return await worker.start(campaign)


async def test_a_campaign_ends_while_others_hold_its_passes(worker: CampaignWorker) -> None:
    """50 writers change 120 passes without a pause, each for up to 1.5 s: an update of all of them
    ends meanwhile, every pass changed once by it and nothing that the writers changed lost. A
    roll-back knows all of them, in how many steps they ever came."""
    club = worker.club
    issued = await issue_many(club, PASSES)
    update = UpdateAction(template_id=club.template_id, values={"tier": value("Gold")})
    async with writing(worker, issued) as writers:
        campaign = await load(worker, CampaignAction(update=update), issued)
        await worker.serve_due()
        ended = await worker.get(campaign)
        assert not writers.is_over.is_set()
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, PASSES)
    assert ended.progress.shards_done == ended.progress.shards > 1
    for each in issued:
        now = await club.get(each)
        assert now.values["tier"] == value("Gold")
        assert now.version == 2 + writers.changes[each.pass_id]
    verify(await club.bundle(issued[0]), authority())
    told = [pass_id for some in await worker.told() for pass_id in some]
    assert sorted(map(str, told)) == sorted(each.pass_id for each in issued)
    states = Counter(each.state for each in await worker.campaigns.results(campaign))
    assert states == {RecipientResult.STATE_SUCCEEDED: PASSES}
    await club.tenant.fetch(
        "UPDATE passes SET version = version + 1 WHERE pass_id = $1", UUID(issued[0].pass_id)
    )
    request = pb.RollBackCampaignRequest(campaign_id=campaign.campaign_id, meta=meta())
    back = (await worker.stub.RollBackCampaign(request)).campaign
    await worker.serve_due()
    told_back = (await worker.get(back)).progress
    assert told_back.total == told_back.succeeded + told_back.failed == PASSES
    assert 0 < told_back.failed < PASSES


async def test_what_is_held_is_put_off_not_lost(worker: CampaignWorker) -> None:
    """Passes that somebody holds all the time a shard tries are left to another one: the others are
    voided, those count as failed meanwhile and not for the threshold; paused and resumed, the
    campaign serves them when they are free, and nobody twice."""
    club = worker.club
    issued = await issue_many(club, 6)
    held = [PassId(UUID(each.pass_id)) for each in issued[2:4]]
    async with worker.services.database.transaction(club.tenant.caller) as tx:
        await tx.fetch("SELECT FROM passes WHERE pass_id = ANY($1) FOR UPDATE", held)
        campaign = await load(worker, CampaignAction(void=VoidAction(reason="lost")), issued)
        await worker.serve_due(at_most=1)
        going = await worker.get(campaign)
        assert (going.state, going.progress.succeeded) == (Campaign.STATE_RUNNING, 4)
        failures = {each.reason: each.count for each in going.progress.failures}
        assert failures == {"UNAVAILABLE": 2}
        await worker.pause(campaign)
    await worker.serve_due()
    assert (await worker.get(campaign)).progress.succeeded == 4
    await worker.resume(campaign)
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 6)
    assert (ended.progress.failed, ended.progress.shards) == (0, 2)
    assert [(await club.get(each)).version for each in issued] == [2] * 6


async def test_what_is_held_as_a_whole_is_waited_for(worker: CampaignWorker) -> None:
    """While somebody holds all passes of a shard it writes nothing; freed,
    and changed meanwhile, they are served as they are then, by that shard."""
    club = worker.club
    issued = await issue_many(club, 3)
    update = UpdateAction(template_id=club.template_id, values={"tier": value("Gold")})
    async with asyncio.TaskGroup() as tasks:
        async with worker.services.database.transaction(club.tenant.caller) as tx:
            await tx.execute("UPDATE passes SET version = 7")
            campaign = await load(worker, CampaignAction(update=update), issued)
            serving = tasks.create_task(worker.serve_due())
            await asyncio.sleep(1)
            assert not serving.done()
        await serving
    ended = await worker.get(campaign)
    assert (ended.state, ended.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 3)
    assert ended.progress.shards == 1
    assert [(await club.get(each)).version for each in issued] == [8] * 3


def signed(registry: CollectorRegistry) -> float:
    """How many signatures a worker made."""
    return registry.get_sample_value("passmill_signatures_total", {"outcome": "signed"}) or 0.0


async def looked(worker: CampaignWorker, campaign: Campaign, times: int) -> None:
    """Waits until a shard has looked so often whether passes are free: each time it locks the
    campaign, which leaves another transaction's number on the row."""
    seen: set[str] = set()
    async with asyncio.timeout(30):
        while len(seen) <= times:
            [row] = await worker.club.tenant.fetch(
                "SELECT xmax::text FROM campaigns WHERE campaign_id = $1",
                UUID(campaign.campaign_id),
            )
            seen.add(row["xmax"])
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("is_changed", [False, True])
async def test_what_is_held_is_signed_once(
    worker: CampaignWorker, service: Service, is_changed: bool
) -> None:
    """A shard that looks again and again at passes that somebody holds signs each of them once, and
    once more only when they are free and were changed meanwhile."""
    registry, club = CollectorRegistry(), worker.club
    issued = await issue_many(club, 20)
    update = UpdateAction(template_id=club.template_id, values={"tier": value("Gold")})
    async with open_worker(service.settings, registry=registry) as services:
        counted = replace(worker, services=services)
        async with asyncio.TaskGroup() as tasks:
            async with worker.services.database.transaction(club.tenant.caller) as tx:
                await tx.execute(
                    "UPDATE passes SET version = 7"
                    if is_changed
                    else "SELECT FROM passes FOR UPDATE"
                )
                campaign = await load(counted, CampaignAction(update=update), issued)
                serving = tasks.create_task(counted.serve_due())
                await looked(worker, campaign, 6)
                assert not serving.done()
            await serving
    assert (await worker.get(campaign)).progress.succeeded == 20
    assert signed(registry) == (40 if is_changed else 20)
