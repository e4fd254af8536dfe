"""One scanner's idle streams, and everybody else."""

import asyncio
from typing import Final

import grpc
import pytest

from passmill.settings import Limits
from passmill.v1 import balance_service_pb2 as balances
from passmill.v1.balance_service_pb2_grpc import BalanceServiceStub
from tests.support.balances import keyed as keyed_entry
from tests.support.balances import open_till
from tests.support.counters import open_counter, shown
from tests.support.postgres import Database
from tests.support.refusals import refusal_of
from tests.support.service import open_service, service_settings

pytestmark = pytest.mark.asyncio(loop_scope="session")

LIMITS: Final = Limits(max_calls=20, max_streams=20, max_streams_per_key=5)


async def test_one_scanner_starves_nobody(shared_database: Database) -> None:
    """A scanner opens four times as many streams as there are places for calls, over several
    connections, and says nothing. It keeps its share; the calls and streams of another tenant, and
    those of its own, are answered throughout."""
    settings = service_settings(shared_database.url).model_copy(update={"limits": LIMITS})
    async with open_service(shared_database.url, settings=settings) as service:
        theirs, counter = [await open_counter(await service.add_club()) for _ in range(2)]
        till = await open_till(theirs.club)
        issued, own = await till.issue(), await counter.club.issue()
        scanner = await counter.scanner()
        header = (("authorization", f"Bearer {scanner.api_key}"),)
        channels = [
            grpc.aio.insecure_channel(
                service.api_address, options=[("grpc.use_local_subchannel_pool", 1)]
            )
            for _ in range(4)
        ]
        idle = [
            BalanceServiceStub(channel).StreamEntries(metadata=header, timeout=30)
            for channel in channels
            for _ in range(20)
        ]
        try:
            for _ in range(500):
                if sum(each.done() for each in idle) == len(idle) - LIMITS.max_streams_per_key:
                    break
                await asyncio.sleep(0.02)
            over = [each for each in idle if each.done()]
            assert len(over) == len(idle) - LIMITS.max_streams_per_key
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await over[0].read()
            refusal = refusal_of(caught.value)
            assert (refusal.reason, refusal.retry_after is None) == ("RATE_LIMITED", False)
            for _ in range(10):
                assert (await theirs.till.look(issued)).pass_id == issued.pass_id
                assert (await scanner.verify(shown(own))).passes
            stream = till.stub.StreamEntries()
            await stream.write(
                balances.StreamEntriesRequest(sequence=1, entries=[keyed_entry(issued, 1)])
            )
            answer = await stream.read()
            assert isinstance(answer, balances.StreamEntriesResponse)
            assert answer.acknowledged_sequence == 1
            await stream.done_writing()
        finally:
            for each in idle:
                each.cancel()
            for channel in channels:
                await channel.close()
