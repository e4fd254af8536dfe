"""A club whose card asks for a sign-up, an edge that takes it in, and a worker that signs it."""

import itertools
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.edge.rig import Edge, open_edge_on
from tests.support.service import Club, Service
from tests.support.sign_ups import SignUpClub, add_sign_up_club, open_sign_up_worker

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def edge(service: Service) -> AsyncIterator[Edge]:
    """The HTTPS door of the service that is shared."""
    async with open_edge_on(service.settings) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def club(service: Service) -> SignUpClub:
    """A tenant of its own with such a card, and a pass type that no other test's tenant has."""
    return await add_sign_up_club(service, f"pass.com.example.signup{next(_numbers)}")


@pytest_asyncio.fixture(loop_scope="session")
async def worker(service: Service) -> AsyncIterator[None]:
    """A worker at work on sign-ups, as long as the test runs."""
    async with open_sign_up_worker(service):
        yield


@pytest_asyncio.fixture(loop_scope="session")
async def other_club(rowing_club: Club) -> Club:
    """A tenant whose card asks for nothing."""
    return rowing_club
