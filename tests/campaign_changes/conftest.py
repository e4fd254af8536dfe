"""A worker's acts in a tenant of its own, for tests of what campaigns change."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.service import Club, Service
from tests.support.shards import ShardRunner, open_runner


@pytest_asyncio.fixture(loop_scope="session")
async def runner(service: Service, rowing_club: Club) -> AsyncIterator[ShardRunner]:
    """Serves shards in the rowing club."""
    async with open_runner(service, rowing_club) as opened:
        yield opened
