"""A club that counts points, in a service and with a worker whose clock a test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.balances import BalanceWorker, Till, open_balance_worker, open_till
from tests.support.postgres import Database
from tests.support.service import SetClock, open_service
from tests.support.times import Times


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def times(shared_database: Database) -> AsyncIterator[Times]:
    """A service with a clock of its own."""
    clock = SetClock()
    async with open_service(shared_database.url, clock=clock) as service:
        yield Times(clock=clock, service=service)


@pytest_asyncio.fixture(loop_scope="session")
async def till(times: Times) -> Till:
    """A tenant of its own that counts points."""
    return await open_till(await times.service.add_club())


@pytest_asyncio.fixture(loop_scope="session")
async def worker(times: Times, till: Till) -> AsyncIterator[BalanceWorker]:
    """A worker."""
    async with open_balance_worker(times.service, till.club, clock=times.clock) as opened:
        yield opened
