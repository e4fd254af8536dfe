"""A club with claim links, an edge before it, and a worker that issues."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.edge.rig import Edge, open_edge_on
from tests.support.claims import ClubLinks, open_claim_worker
from tests.support.service import Service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def edge(service: Service) -> AsyncIterator[Edge]:
    """The HTTPS door of the service that is shared."""
    async with open_edge_on(service.settings, allowed_origins=["https://shop.example"]) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def links(service: Service) -> ClubLinks:
    """A tenant of its own that can issue."""
    return ClubLinks(club=await service.add_club())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def worker(service: Service) -> AsyncIterator[None]:
    """A worker at work on claims, as long as the tests run."""
    async with open_claim_worker(service):
        yield
