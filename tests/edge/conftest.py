"""An edge for the tests that share a service, and a tenant with a pass type of its own; and one in
processes of its own."""

import hashlib
import itertools
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from passmill.dev.local_service import LocalService
from tests.edge.rig import Edge, open_edge_on
from tests.support.registry import add_registry_club
from tests.support.service import Club, Service

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def edge(service: Service) -> AsyncIterator[Edge]:
    """The HTTPS door of the service that is shared."""
    async with open_edge_on(service.settings) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def club(service: Service) -> Club:
    """A tenant that can issue, whose pass type no other test's tenant has."""
    return await add_registry_club(service, f"pass.com.example.edge{next(_numbers)}")


@pytest.fixture(scope="session")
def master_key() -> bytes:
    """The master key of `local`."""
    return hashlib.sha256(b"the master key of these tests").digest()


@pytest.fixture(scope="session")
def local(master_key: bytes) -> Iterator[LocalService]:
    """An API process and two edges, supervised."""
    settings = {
        "PASSMILL_MASTER_KEY": b64encode(master_key).decode(),
        "PASSMILL_LIMITS__DRAIN_SECONDS": "5",
        "PASSMILL_EDGE__CLIENT_RATE": "0",
    }
    with LocalService(processes=1, edges=2, settings=settings) as service:
        yield service
