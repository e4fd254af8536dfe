"""Tiers whose window passes: passes fall by themselves."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import pytest_asyncio

from passmill.v1 import balance_service_pb2 as pb
from passmill.v1.balance_pb2 import Tier
from tests.support.balances import BalanceWorker, Till, keyed, open_balance_worker
from tests.support.service import by_id, meta
from tests.support.times import Times

pytestmark = pytest.mark.asyncio(loop_scope="session")

A_DAY = timedelta(days=1)


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def tiers(till: Till) -> None:
    """Silver from 100 points within 30 days on, gold from 300; blue below."""
    await till.set_tiers(
        *(
            Tier(
                tier=name.lower(),
                unit="points",
                at_least=at_least,
                within_days=30,
                slot="tier",
                slot_value=name,
            )
            for name, at_least in (("Blue", 0), ("Silver", 100), ("Gold", 300))
        )
    )


async def tier(till: Till, wallet_pass: object) -> str:
    """What the account has reached, as the service says."""
    return (await till.stub.GetBalance(pb.GetBalanceRequest(ref=by_id(wallet_pass)))).tier  # type: ignore[arg-type]


async def test_a_tier_falls_when_its_window_has_passed(
    times: Times, till: Till, worker: BalanceWorker
) -> None:
    """Gold falls to silver, and silver to blue, when what was earned is thirty days old, by the
    worker alone; each time the pass changes once, whoever else looks or looks again."""
    issued, steady = await till.issue(), await till.issue()
    await till.post(issued, 250)
    await till.post(steady, 400)
    times.clock.advance(10 * A_DAY)
    await till.post(issued, 150)
    assert await till.shown(issued, "tier") == "Gold"
    await worker.services.lower_tiers()
    assert await worker.run() == 0
    for days, shown in ((20, "Silver"), (10, "Blue")):
        times.clock.advance(days * A_DAY - timedelta(minutes=1))
        await till.post(steady, 1)
        await worker.services.lower_tiers()
        await worker.run()
        version = (await till.club.get(issued)).version
        times.clock.advance(timedelta(minutes=2))
        async with open_balance_worker(times.service, till.club, clock=times.clock) as other:
            await asyncio.gather(
                worker.services.lower_tiers(),
                other.services.lower_tiers(),
                worker.services.lower_tiers(),
            )
            assert await worker.run() >= 1
            await other.services.lower_tiers()
            await other.run()
        fallen = await till.club.get(issued)
        assert (fallen.version, await till.shown(issued, "tier")) == (version + 1, shown)
        assert await tier(till, issued) == shown.lower()


async def test_nobody_is_asked_for_without_need(
    times: Times, till: Till, worker: BalanceWorker
) -> None:
    """Who earned enough since, or keeps the tier without what is no longer counted, or whose
    earning was taken back, makes no job."""
    earner, rich, undone = [await till.issue() for _ in range(3)]
    await till.post(earner, 120)
    await till.post(rich, 5)
    entry = (await till.post(undone, 500)).entry
    await till.stub.ReverseEntry(pb.ReverseEntryRequest(entry_id=entry.entry_id, meta=meta()))
    times.clock.advance(15 * A_DAY)
    await till.post(rich, 300)
    await till.post(earner, 150)
    times.clock.advance(15 * A_DAY)
    await worker.services.lower_tiers()
    assert await worker.run() == 0
    assert [await till.shown(each, "tier") for each in (earner, rich, undone)] == [
        "Silver",
        "Gold",
        "Blue",
    ]


async def test_a_worker_that_was_away(times: Times, till: Till, worker: BalanceWorker) -> None:
    """When no worker looked for days, all who have fallen meanwhile fall, by what was earned when
    it happened, not when it was posted."""
    passes = [await till.issue() for _ in range(6)]
    for days, issued in enumerate(passes):
        occur_time = times.stamp(-days * A_DAY)
        batch = pb.BatchPostEntriesRequest(entries=[keyed(issued, 100, occur_time=occur_time)])
        await till.stub.BatchPostEntries(batch)
    await worker.run()
    assert {await till.shown(each, "tier") for each in passes} == {"Silver"}
    times.clock.advance(27 * A_DAY + timedelta(hours=1))
    await worker.services.lower_tiers()
    await worker.run()
    shown = [await till.shown(each, "tier") for each in passes]
    assert shown == ["Silver"] * 3 + ["Blue"] * 3
