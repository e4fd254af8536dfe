"""A change reaches the phones that hold the pass."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

from passmill.domain.ids import PassId
from passmill.domain.registrations import Wallet
from passmill.store.push_jobs import PushPayload, enqueue_pass_push
from passmill.v1.wallet_pass_pb2 import Pass
from tests.fanout.conftest import Opener
from tests.support.fan_out import WAIT_SECONDS, FanOut


async def test_a_change_is_pushed_to_all_who_hold_the_pass(fan_out: FanOut) -> None:
    """Each device that holds the pass is pushed once, and nobody else."""
    changed = await fan_out.club.issue()
    other = await fan_out.club.issue()
    holders = [await fan_out.register(changed) for _ in range(3)]
    await fan_out.register(other)
    await fan_out.register(changed, wallet=Wallet.ANDROID_PASS)
    await fan_out.change(changed, 8)
    await fan_out.all_pushed(holders)
    await fan_out.all_done()
    assert fan_out.pushed() == dict.fromkeys(holders, 1)
    assert fan_out.apns.log.protocol_errors == []


class AfterAll:
    """A clock by which every certificate has expired."""

    def now(self) -> datetime:
        """A hundred years from now."""
        return datetime.now(UTC) + timedelta(days=36_500)


async def queued(fan_out: FanOut) -> list[tuple[PushPayload, timedelta]]:
    """Push jobs, and how long each is to wait."""
    rows = await fan_out.club.tenant.fetch(
        "SELECT payload, execute_after - updated AS delay FROM pgqueuer.pgqueuer"
        " WHERE entrypoint LIKE 'push%'"
    )
    return [(PushPayload.decode(row["payload"]), row["delay"]) for row in rows]


async def lose_signature(fan_out: FanOut, wallet_pass: Pass) -> None:
    """As if whoever was to sign it had died."""
    await fan_out.club.tenant.fetch(
        "UPDATE passes SET signature = NULL WHERE pass_id = $1", UUID(wallet_pass.pass_id)
    )


async def test_what_cannot_be_signed_is_looked_at_less_and_less(open_worker_for: Opener) -> None:
    """A pass whose certificate has expired stays one job, which waits 30 s, then twice as long each
    time, and an hour at most; its phone is pushed once it is signed."""
    async with open_worker_for(is_running=False) as fan_out:
        wallet_pass = await fan_out.club.issue()
        token = await fan_out.register(wallet_pass)
        await fan_out.change(wallet_pass, 100)
        await lose_signature(fan_out, wallet_pass)
        async with open_worker_for(clock=AfterAll()) as late, asyncio.timeout(WAIT_SECONDS):
            for rounds in range(1, 10):
                while (found := await queued(late))[0][0].rounds < rounds or len(found) > 1:  # noqa: ASYNC110 - done by the worker
                    await asyncio.sleep(0.02)
                [(payload, delay)] = found
                assert payload.rounds == rounds
                wanted = min(30 * 2 ** (rounds - 1), 3600)
                assert abs(delay.total_seconds() - wanted) < 1
                await late.club.tenant.fetch("UPDATE pgqueuer.pgqueuer SET execute_after = now()")
                await late.club.tenant.fetch("SELECT pg_notify('ch_pgqueuer', '')")
        await late.club.tenant.fetch("UPDATE pgqueuer.pgqueuer SET execute_after = now()")
        async with open_worker_for() as other:
            await other.all_pushed([token])
            await other.all_done()


async def test_a_job_that_is_put_back_begins_no_second_one(open_worker_for: Opener) -> None:
    """A job of a signed pass and one that is not, which is put back again and again as its pass
    type is stopped, stays one job; in the end both phones are pushed."""
    async with open_worker_for(is_running=False) as fan_out:
        passes = [await fan_out.club.issue() for _ in range(2)]
        tokens = [await fan_out.register(each) for each in passes]
        await lose_signature(fan_out, passes[1])
        async with fan_out.database.transaction(fan_out.caller) as tx:
            await enqueue_pass_push(tx, [PassId(UUID(each.pass_id)) for each in passes])
        async with open_worker_for(clock=AfterAll()) as late, asyncio.timeout(WAIT_SECONDS):
            while not await late.club.tenant.fetch("SELECT FROM stopped_topics"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await asyncio.sleep(2.5)
            [(payload, _)] = await queued(late)
            assert payload.rounds == 0
        await fan_out.club.tenant.fetch("DELETE FROM stopped_topics")
        async with open_worker_for() as other:
            await other.all_pushed(tokens)
            await other.all_done()
