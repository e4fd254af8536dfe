"""Points that end: what tills, holds and workers make of them, through the service."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.domain.callers import internal_caller
from passmill.domain.ids import TenantId
from passmill.domain.ledger import AccountId
from passmill.errors import AppError
from passmill.store.expiries import lock_settled
from passmill.v1 import balance_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.balances import (
    BURN,
    EARN,
    EXPIRE,
    BalanceWorker,
    Till,
    euros,
    keyed,
    open_balance_worker,
    post_request,
    refusal,
)
from tests.support.service import by_id, meta
from tests.support.times import Times

pytestmark = pytest.mark.asyncio(loop_scope="session")


AN_HOUR, A_DAY = timedelta(hours=1), timedelta(days=1)


async def earn(till: Till, issued: Pass, amount: int, end: Timestamp | None = None) -> None:
    """Earns points that end then, or never."""
    assert not refusal(await till.post(issued, amount, EARN, expire_time=end))


async def amounts(till: Till, issued: Pass) -> list[int]:
    """The amounts of the account's entries, in order."""
    return [each.amount for each in reversed(await till.entries(issued))]


async def test_what_has_ended_is_taken_and_shown(
    times: Times, till: Till, worker: BalanceWorker
) -> None:
    """Of points that end first, next and never the holder spends those first; a worker takes what
    is left when its end has come, in one entry that names the end, and the pass shows it; done
    again it does nothing."""
    issued = await till.issue()
    await earn(till, issued, 100, times.stamp(AN_HOUR))
    await earn(till, issued, 50, times.stamp(A_DAY))
    await earn(till, issued, 20)
    await till.post(issued, 30, BURN)
    view = await till.stub.GetBalance(pb.GetBalanceRequest(ref=by_id(issued)))
    [following] = view.next_expiries
    assert (following.unit, following.amount) == ("points", 70)
    assert following.expire_time == times.stamp(AN_HOUR)
    times.clock.advance(AN_HOUR)
    assert await worker.services.expire_balances() >= 1
    assert await amounts(till, issued) == [100, 50, 20, -30, -70]
    newest = (await till.entries(issued))[0]
    assert newest.kind == EXPIRE
    assert newest.expire_time == newest.occur_time == following.expire_time
    assert (await till.points(issued)).balance == 70
    assert await till.shown(issued) == 140
    await worker.run()
    assert await till.shown(issued) == 70
    before = await till.club.get(issued)
    await worker.services.expire_balances()
    assert await worker.run() == 0
    assert await till.club.get(issued) == before
    view = await till.stub.GetBalance(pb.GetBalanceRequest(ref=by_id(issued)))
    assert view.next_expiries[0].amount == 50


async def test_two_workers_at_once(times: Times, till: Till) -> None:
    """Two workers who find the same hundred accounts take what has ended of each once."""
    passes = [await till.issue() for _ in range(8)]
    for issued in passes:
        await earn(till, issued, 40, times.stamp(AN_HOUR))
        await earn(till, issued, 2)
    times.clock.advance(AN_HOUR)
    async with (
        open_balance_worker(times.service, till.club, clock=times.clock) as first,
        open_balance_worker(times.service, till.club, clock=times.clock) as second,
    ):
        await asyncio.gather(
            *(each.services.expire_balances() for each in (first, second, first, second))
        )
    for issued in passes:
        assert await amounts(till, issued) == [40, 2, -40]


async def test_no_till_takes_what_has_ended(times: Times, till: Till) -> None:
    """From the moment of the end on the points are not available, before any worker came: neither
    to burn, nor to hold, nor to pay, nor in a batch; what did not end is."""
    issued = await till.issue()
    await earn(till, issued, 100, times.stamp(AN_HOUR))
    await earn(till, issued, 7)
    times.clock.advance(AN_HOUR)
    points = await till.points(issued)
    assert (points.balance, points.available) == (107, 7)
    refused = await till.post(issued, 8, BURN)
    assert refusal(refused) == "INSUFFICIENT_BALANCE"
    assert (refused.balance.balance, refused.balance.available) == (7, 7)
    assert refusal(await till.post(issued, 7, BURN)) == ""
    assert await amounts(till, issued) == [100, 7, -100, -7]


@pytest.mark.parametrize("way", ["hold", "pay", "batch"])
async def test_no_other_way_to_what_has_ended(times: Times, till: Till, way: str) -> None:
    """Holding, paying a sale and posting in a batch take none of it either."""
    issued = await till.issue()
    await earn(till, issued, 100, times.stamp(AN_HOUR))
    await earn(till, issued, 7)
    times.clock.advance(AN_HOUR)
    if way == "hold":
        request = pb.HoldBalanceRequest(ref=by_id(issued), unit="points", amount=8, meta=meta())
        assert refusal(await till.stub.HoldBalance(request)) == "INSUFFICIENT_BALANCE"
    elif way == "pay":
        sale = pb.PaySaleRequest(
            ref=by_id(issued), unit="points", sale_total=euros(10_000), meta=meta()
        )
        assert (await till.stub.PaySale(sale)).amount == 7
    else:
        batch = pb.BatchPostEntriesRequest(entries=[keyed(issued, 8, BURN), keyed(issued, 7, BURN)])
        outcomes = (await till.stub.BatchPostEntries(batch)).outcomes
        assert [refusal(each) for each in outcomes] == ["INSUFFICIENT_BALANCE", ""]
    assert (await amounts(till, issued))[:3] == [100, 7, -100]


async def test_a_version_that_an_expiry_has_moved(times: Times, till: Till) -> None:
    """A till that saw the balance before the end posts nothing for that version: the balance has
    moved since. Sent again under its key, what was posted before the end is given again."""
    issued = await till.issue()
    await earn(till, issued, 100, times.stamp(AN_HOUR))
    await earn(till, issued, 50)
    early = post_request(issued, 10, BURN)
    first = await till.stub.PostEntry(early)
    times.clock.advance(AN_HOUR)
    stale = await till.post(issued, 10, BURN, expected_version=first.balance.version)
    assert refusal(stale) == "VERSION_MISMATCH"
    assert (stale.balance.version, stale.balance.balance) == (first.balance.version + 1, 50)
    assert await till.stub.PostEntry(early) == first
    again = await till.post(issued, 10, BURN, expected_version=stale.balance.version)
    assert (refusal(again), again.balance.balance) == ("", 40)


@pytest.mark.parametrize("ending", ["captured", "released", "over"])
async def test_held_while_it_ended(
    times: Times, till: Till, worker: BalanceWorker, ending: str
) -> None:
    """What is held when its end comes is not taken; what is captured of it is spent. What is
    released, or left over, or held too long, is taken then, and all of it sums up."""
    issued = await till.issue()
    await earn(till, issued, 100, times.stamp(timedelta(minutes=10)))
    await earn(till, issued, 5)
    request = pb.HoldBalanceRequest(ref=by_id(issued), unit="points", amount=60, meta=meta())
    held = (await till.stub.HoldBalance(request)).hold
    times.clock.advance(timedelta(minutes=10))
    await worker.services.expire_balances()
    await worker.services.expire_balances()
    assert await amounts(till, issued) == [100, 5, -40]
    points = await till.points(issued)
    assert (points.balance, points.held, points.available) == (65, 60, 5)
    if ending == "captured":
        capture = pb.CaptureHoldRequest(hold_id=held.hold_id, amount=45, meta=meta())
        answer = await till.stub.CaptureHold(capture)
        assert (answer.balance.balance, answer.balance.available) == (5, 5)
        taken = [-45, -15]
    elif ending == "released":
        release = pb.ReleaseHoldRequest(hold_id=held.hold_id, meta=meta())
        released = await till.stub.ReleaseHold(release)
        assert (released.balance.balance, released.balance.available) == (5, 5)
        taken = [-60]
    else:
        times.clock.advance(timedelta(minutes=5))
        assert (await till.points(issued)).available == 5
        await worker.services.expire_balances()
        taken = [-60]
    assert await amounts(till, issued) == [100, 5, -40, *taken]
    await worker.run()
    assert await till.shown(issued) == 5


async def test_a_worker_that_dies(times: Times, till: Till, worker: BalanceWorker) -> None:
    """What a worker had taken when its database connection died, before it committed, is taken by
    the next one, once."""
    issued = await till.issue()
    await earn(till, issued, 100, times.stamp(AN_HOUR))
    times.clock.advance(AN_HOUR)
    account = AccountId(UUID(issued.pass_id))
    database = worker.services.database
    deadline = asyncio.get_running_loop().time() + 30
    caller = internal_caller(TenantId(int(till.club.tenant.tenant_id)), deadline=deadline)

    async def die() -> None:
        async with database.transaction(caller) as tx:
            settled = await lock_settled(tx, [(account, "points")], now=times.clock.now())
            assert [each.amount for each in settled.entries] == [-100]
            await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(AppError):
        await die()
    assert await amounts(till, issued) == [100]
    await worker.services.expire_balances()
    await worker.services.expire_balances()
    assert await amounts(till, issued) == [100, -100]


async def test_what_comes_back_ends_as_before(
    times: Times, till: Till, worker: BalanceWorker
) -> None:
    """A burn that is taken back after the end gives back what is taken at once; one of points that
    still are good gives them back."""
    issued = await till.issue()
    await earn(till, issued, 100, times.stamp(AN_HOUR))
    await earn(till, issued, 100, times.stamp(A_DAY))
    burnt = (await till.post(issued, 130, BURN)).entry
    times.clock.advance(AN_HOUR)
    await worker.services.expire_balances()
    back = pb.ReverseEntryRequest(entry_id=burnt.entry_id, meta=meta())
    answer = await till.stub.ReverseEntry(back)
    assert (answer.entry.amount, answer.balance.balance) == (130, 100)
    assert await amounts(till, issued) == [100, 100, -130, 130, -100]
    assert await till.shown(issued) == 100
    expiry = (await till.entries(issued))[0]
    given = pb.ReverseEntryRequest(entry_id=expiry.entry_id, meta=meta())
    assert (await till.stub.ReverseEntry(given)).balance.balance == 200
    times.clock.advance(A_DAY)
    await worker.services.expire_balances()
    assert (await till.points(issued)).balance == 100


async def test_tills_race_the_end(times: Times, till: Till, worker: BalanceWorker) -> None:
    """Tills burn one by one while the end comes and workers take what is left: what was spent and
    what was taken, by one entry, are the hundred, and nothing is spent behind it."""
    issued = await till.issue()
    await earn(till, issued, 100, times.stamp(AN_HOUR))

    async def burn(count: int) -> int:
        return sum([not refusal(await till.post(issued, 1, BURN)) for _ in range(count)])

    async def come() -> int:
        burnt = await burn(10)
        times.clock.advance(AN_HOUR)
        for _ in range(3):
            await worker.services.expire_balances()
        return burnt

    counts = await asyncio.gather(burn(30), burn(30), burn(30), come(), come())
    burnt = sum(counts)
    entries = await amounts(till, issued)
    assert entries.count(-1) == burnt
    assert 20 <= burnt < 100
    assert entries == [100, *[-1] * burnt, burnt - 100]
    assert (await till.points(issued)).balance == 0
