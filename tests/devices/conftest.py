"""A registry for the tests that share a service, and a tenant with a pass type of its own."""

import itertools
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.registry import Registry, add_registry_club, open_registry
from tests.support.service import Club, Service

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def registry(service: Service) -> AsyncIterator[Registry]:
    """The edge's use cases on the service that is shared."""
    async with open_registry(service) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def club(service: Service) -> Club:
    """A tenant that can issue, whose pass type no other test's tenant has."""
    return await add_registry_club(service, f"pass.com.example.club{next(_numbers)}")
