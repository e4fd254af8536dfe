"""A club with a counter, on the service that is shared."""

import pytest_asyncio

from tests.support.counters import Counter, open_counter
from tests.support.service import Service


@pytest_asyncio.fixture(loop_scope="session")
async def counter(service: Service) -> Counter:
    """A tenant's club with one venue."""
    return await open_counter(await service.add_club())
