"""Recipients whose passes make the signer panic in Rust, served by a worker process."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from passmill import _signer
from passmill.settings import Settings
from passmill.v1.campaign_pb2 import Campaign, RecipientResult
from tests.support.bundles import verify
from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.campaigns import recipient
from tests.support.postgres import Database
from tests.support.service import authority, open_service
from tests.support.serving import environment_of

pytestmark = pytest.mark.timeout(150)

ROOT = Path(__file__).parents[2]
RECIPIENTS = 4_000
POISON = (0, 1_111, 1_112, 2_999)  # one in a thousand, two of them side by side


async def test_a_panic_in_rust_costs_its_own_row_alone(database: Database) -> None:
    """Four of 4,000 recipients make the signer panic: these four fail, each told as INTERNAL with
    nothing of the panic, the 3,996 others have verified passes, and the one worker process, which
    panicked again and again, serves the next campaign."""
    mark = secrets.token_hex(16)
    names = [mark if at in POISON else f"Ada {at}" for at in range(RECIPIENTS)]
    rows = [recipient(f"m{at}", name=name, points=at) for at, name in enumerate(names)]
    async with open_service(database.url) as service:
        club = await service.add_club()
        async with open_campaign_worker(service, club) as hand:
            campaign = await hand.loaded(rows, streams=2)
            with poisoned_worker(service.settings, mark) as process:
                ended = await run(hand, campaign)
                assert ended.state == Campaign.STATE_PARTIALLY_FAILED
                assert (ended.progress.succeeded, ended.progress.failed) == (3_996, 4)
                assert [(each.reason, each.count) for each in ended.progress.failures] == [
                    ("INTERNAL", 4)
                ]
                after = await run(hand, await hand.loaded(100))
                assert (after.state, after.progress.succeeded) == (Campaign.STATE_SUCCEEDED, 100)
                assert process.poll() is None
                process.terminate()
                _, log = await asyncio.to_thread(process.communicate, timeout=30)
        assert process.returncode == 0
        assert log.count("panicked") >= len(POISON)
        assert mark not in log
        assert await club.tenant.count("passes") == 3_996 + 100
        results = await hand.campaigns.results(campaign)
        failed = [each for each in results if each.state == RecipientResult.STATE_FAILED]
        assert [each.external_id for each in failed] == [f"m{at}" for at in POISON]
        assert not any("panic" in each.message for each in failed)
        for result in [each for each in results if each.pass_id][:: RECIPIENTS // 10]:
            wallet_pass = await hand.pass_of(result)
            assert verify(await club.bundle(wallet_pass), authority())["serialNumber"]


def test_nothing_of_the_service_can_make_the_signer_panic() -> None:
    """No module of the service names the call; a process has one mark, and this one has none."""
    name = _signer.panic_on.__name__
    modules = list((ROOT / "server" / "passmill").rglob("*.py"))
    assert len(modules) > 200
    assert [str(each) for each in modules if name in each.read_text(encoding="utf-8")] == []


async def run(hand: CampaignWorker, campaign: Campaign) -> Campaign:
    """The campaign when it has ended."""
    await hand.start(campaign)
    while True:
        found = await hand.get(campaign)
        if found.state >= Campaign.STATE_CANCELLED:
            return found
        await asyncio.sleep(0.05)


@contextmanager
def poisoned_worker(settings: Settings, mark: str) -> Iterator[subprocess.Popen[str]]:
    """A worker process that panics on passes that hold `mark`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.signer.poisoned_worker", mark],
        cwd=ROOT,
        env=environment_of(settings)
        | {"RUST_BACKTRACE": "0", "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
