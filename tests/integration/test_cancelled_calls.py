"""Calls that are hung up on at any moment: nobody gets another's answer, nothing is lost."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import grpc
import pytest

from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import PASS_VIEW_FULL, Pass
from tests.support.bundles import pass_json
from tests.support.channels import open_channel
from tests.support.postgres import Database
from tests.support.service import Club, Service, by_id, open_service, update_request
from tests.support.small_card import draft, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

CANCELLED_CALLS = 2000
AT_ONCE = 24

Begin = Callable[[], grpc.aio.Call]


class Known:
    """A tenant with passes whose answers are known."""

    def __init__(self, club: Club, passes: list[Pass]) -> None:
        self.club = club
        self.passes = passes

    def any_call(self, dice: random.Random) -> Begin:
        """A call of any kind, not begun yet."""
        club, wallet_pass = self.club, dice.choice(self.passes)
        ref = by_id(wallet_pass)
        calls: list[Begin] = [
            lambda: club.passes.GetPass(pb.GetPassRequest(ref=ref)),
            lambda: club.passes.GetPassBundle(pb.GetPassBundleRequest(ref=ref)),
            lambda: club.passes.ListPasses(pb.ListPassesRequest(view=PASS_VIEW_FULL)),
            lambda: club.passes.IssuePass(club.issue_request(draft("cancelled"))),
            lambda: club.passes.BatchIssuePasses(club.batch_request([draft("cancelled")] * 5)),
            lambda: club.passes.UpdatePass(
                update_request(
                    wallet_pass, "values.points", wanted=Pass(values={"points": value(1)})
                )
            ),
        ]
        return dice.choice(calls)

    async def check(self, dice: random.Random) -> None:
        """A call whose answer is known, and is compared."""
        wallet_pass = dice.choice(self.passes)
        name = wallet_pass.holder.name
        match dice.randrange(3):
            case 0:
                assert (await self.club.get(wallet_pass)).holder == wallet_pass.holder
            case 1:
                shown = pass_json(await self.club.bundle(wallet_pass))
                assert shown["serialNumber"] == wallet_pass.serial_number
                assert shown["generic"]["primaryFields"][0]["value"] == name
            case _:
                name = f"new {dice.random()}"
                issued = await self.club.issue(draft(name))
                assert (await self.club.get(issued)).holder.name == name


async def known(service: Service, label: str) -> Known:
    """A tenant with twenty passes."""
    club = await service.add_club()
    issued = [await club.issue(draft(f"{label} {number}")) for number in range(20)]
    return Known(club, [await club.get(each) for each in issued])


async def hang_up(begin: Begin, dice: random.Random) -> bool:
    """Begins a call and cancels it at a random moment; whether it was still under way."""
    call = cast("grpc.aio.UnaryUnaryCall[Any, Any]", begin())
    await asyncio.sleep(dice.choice([0.0, 0.01, 0.05, 0.1, 0.2]) * dice.random())
    call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        return True
    except grpc.aio.AioRpcError as error:
        # After many resets gRPC refuses a stream before anybody has seen it.
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017
    return False


@asynccontextmanager
async def other_line(each: Known) -> AsyncIterator[Known]:
    """The same tenant over a connection of its own: gRPC refuses streams of one that resets too
    many."""
    tenant = each.club.tenant
    async with open_channel(tenant.service.api_address) as channel:
        member = replace(tenant.service, api=channel).member(tenant.member.api_key)
        yield Known(replace(each.club, tenant=replace(tenant, member=member)), each.passes)


async def test_nobody_gets_anothers_answer(database: Database) -> None:
    """Two thousand calls of every kind are cancelled at random moments while others, of two
    tenants, compare their answers: all of these are right, no connection or call stays held, and
    every pass is whole in the end."""
    seed = random.SystemRandom().getrandbits(32)
    logging.getLogger(__name__).warning("seed %d", seed)
    dice = random.Random(seed)  # noqa: S311 - for moments, not for secrets
    async with open_service(database.url) as service, AsyncExitStack() as lines:
        tenants = [await known(service, label) for label in ("first", "second")]
        fickle = [await lines.enter_async_context(other_line(each)) for each in tenants * 2]
        cancelled = 0
        left = CANCELLED_CALLS

        async def cancel_some() -> None:
            nonlocal cancelled, left
            while left > 0:
                left -= 1
                was_under_way = await hang_up(dice.choice(fickle).any_call(dice), dice)
                cancelled += was_under_way

        async def compare() -> None:
            while left > 0:
                await dice.choice(tenants).check(dice)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(cancel_some())
            for _ in range(8):
                tasks.create_task(compare())
        assert cancelled > CANCELLED_CALLS / 2
        await everything_is_free(service, tenants)
        for each in tenants:
            for wallet_pass in each.passes:
                await each.club.bundle(wallet_pass)
            assert await came_through(each) > 0
            unsigned = await each.club.tenant.fetch(
                "SELECT count(*) FROM passes p WHERE signature IS NULL AND NOT EXISTS"
                " (SELECT FROM signing_intents i WHERE i.pass_id = p.pass_id)"
            )
            assert unsigned[0]["count"] == 0


async def came_through(each: Known) -> int:
    """How many passes were issued by calls that were cancelled after that."""
    rows = await each.club.tenant.fetch("SELECT FROM passes WHERE holder_name = 'cancelled'")
    return len(rows)


async def everything_is_free(service: Service, tenants: list[Known]) -> None:
    """As many transactions as the pool has connections can be open at once, and none of them finds
    a transaction of before, or another's tenant."""
    size = service.settings.database.max_connections
    barrier = asyncio.Barrier(size)
    owner = {each.club.tenant.tenant_id: each.club for each in tenants}

    async def open_one(club: Club) -> None:
        async with service.services.database.transaction(club.tenant.caller) as tx:
            await barrier.wait()
            seen = await tx.fetch("SELECT DISTINCT tenant_id::text FROM passes")
            assert [row["tenant_id"] for row in seen] == [club.tenant.tenant_id]

    clubs = [*owner.values()] * (size // 2)
    await asyncio.gather(*(open_one(club) for club in clubs))
