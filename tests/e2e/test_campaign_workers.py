"""A campaign on worker machines: process groups of their own, each with its own address."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from passmill.dev.local_service import LocalService
from passmill.v1.campaign_pb2 import Campaign
from tests.support.bundles import verify
from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.campaigns import ClubCampaigns, recipient
from tests.support.postgres import Database
from tests.support.service import authority, open_service
from tests.support.serving import Serving, serve

pytestmark = pytest.mark.timeout(150)
STREAMS = 60
RECIPIENTS = 3_000
DONE = 'passmill_shard_seconds_count{action="issue"}'
HEARTBEAT = {"WORKER__HEARTBEAT_SECONDS": "1", "LOG__LEVEL": "info"}


async def test_two_machines_share_a_campaign_and_one_may_die(database: Database) -> None:
    """Both machines finish shards; the one that is killed, with all of its processes, changes
    nothing but the time; the other ends the campaign, tells its report, and stops when it is told
    to."""
    async with open_service(database.url) as service:
        club = await service.add_club()
        async with open_campaign_worker(service, club) as hand:
            first = await loaded(hand)
            second = await loaded(hand)
            with (
                serve(
                    service.settings, role="worker", metrics_host="127.0.0.2", variables=HEARTBEAT
                ) as one,
                serve(
                    service.settings, role="worker", metrics_host="127.0.0.3", variables=HEARTBEAT
                ) as other,
            ):
                assert (await fetch(one, "/readyz")) == (200, "1 of 1 processes ready\n")
                assert not one.is_listening()
                await hand.start(first)
                ended = await until(hand, first, lambda now: now.state >= Campaign.STATE_CANCELLED)
                assert (ended.state, ended.progress.succeeded) == (
                    Campaign.STATE_SUCCEEDED,
                    RECIPIENTS,
                )
                shares = [await asyncio.to_thread(each.sample, DONE) for each in (one, other)]
                assert sum(shares) == STREAMS
                assert min(shares) > 0

                await hand.start(second)
                await until(hand, second, lambda now: now.progress.shards_done > 3)
                os.killpg(one.process.pid, signal.SIGKILL)
                ended = await until(hand, second, lambda now: now.state >= Campaign.STATE_CANCELLED)
                assert (ended.state, ended.progress.succeeded) == (
                    Campaign.STATE_SUCCEEDED,
                    RECIPIENTS,
                )
                status, errors = await asyncio.to_thread(other.terminate)
        assert status == 0
        assert errors.count("campaign.ended") >= 1
        assert await club.tenant.count("passes") == 2 * RECIPIENTS
        [row] = await club.tenant.fetch(
            "SELECT count(DISTINCT reference_number) AS numbers, count(signature) AS signed"
            " FROM passes"
        )
        assert (row["numbers"], row["signed"]) == (2 * RECIPIENTS, 2 * RECIPIENTS)
        for result in (await ClubCampaigns(club=club).results(second))[:: RECIPIENTS // 20]:
            wallet_pass = await hand.pass_of(result)
            assert verify(await club.bundle(wallet_pass), authority())["serialNumber"]


def test_a_local_service_has_workers() -> None:
    """`LocalService(workers=2)` runs two workers beside the API process, all ready together."""
    with LocalService(processes=1, workers=2) as service:
        assert len(service.api_process_ids) == 1
        assert len(service.worker_process_ids) == 2
        assert not set(service.api_process_ids) & set(service.worker_process_ids)


async def loaded(hand: CampaignWorker) -> Campaign:
    """A campaign of many small shards."""
    rows = [recipient(f"m{at}", name=f"Ada {at}", points=at) for at in range(RECIPIENTS)]
    return await hand.loaded(rows, streams=STREAMS)


async def fetch(serving: Serving, path: str) -> tuple[int, str]:
    """A path of the metrics port."""
    return await asyncio.to_thread(serving.get, path)


async def until(
    hand: CampaignWorker, campaign: Campaign, condition: Callable[[Campaign], bool]
) -> Campaign:
    """Waits until the campaign is so."""
    while True:
        found = await hand.get(campaign)
        if condition(found):
            return found
        await asyncio.sleep(0.05)
