"""Servers, databases and settings that all tests share.

PostgreSQL and Valkey are embedded ones, started once a worker when first asked for. With
PASSMILL_DATABASE_URL, PASSMILL_DATABASE_OWNER_URL and PASSMILL_REDIS_URL the tests use those
servers instead (the owner role needs CREATEDB).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import hypothesis
import pytest
import pytest_asyncio
import structlog

from passmill.embedded import EmbeddedServers
from tests.support import valkey
from tests.support.golden import Golden
from tests.support.postgres import Database, Databases
from tests.support.service import Club, Service, open_service

# Machines differ in speed: no deadline. CI looks longer, and prints how to repeat a failure.
hypothesis.settings.register_profile("fast", max_examples=50, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=200, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where this worker's PostgreSQL and Valkey are."""

    database_url: str
    owner_url: str
    redis_url: str


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --update-golden."""
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden from what is found"
    )


@pytest.fixture(scope="session", autouse=True)
def _plain_log() -> None:
    """structlog's own default shows every exception with all locals, which keeps the event loop
    from its work for longer than some tests may take."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """This worker's servers, kept for the whole run."""
    if "PASSMILL_DATABASE_URL" in os.environ:
        yield Servers(
            database_url=os.environ["PASSMILL_DATABASE_URL"],
            owner_url=os.environ["PASSMILL_DATABASE_OWNER_URL"],
            redis_url=os.environ["PASSMILL_REDIS_URL"],
        )
        return
    embedded = EmbeddedServers()
    with asyncio.Runner() as runner:
        runner.run(embedded.__aenter__())
        try:
            yield Servers(
                database_url=embedded.database_url,
                owner_url=embedded.owner_url,
                redis_url=embedded.redis_url,
            )
        finally:
            runner.run(embedded.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def databases(servers: Servers) -> Iterator[Databases]:
    """Makes databases on this worker's server, for tests that need several or an empty one."""
    made = Databases(url=servers.database_url, owner_url=servers.owner_url)
    yield made
    asyncio.run(made.close())


@pytest.fixture
def database(databases: Databases) -> Iterator[Database]:
    """A migrated database for this test alone."""
    made = asyncio.run(databases.create())
    yield made
    asyncio.run(databases.drop(made))


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """An empty Valkey database for this test alone."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    url = valkey.worker_url(servers.redis_url, worker)
    valkey.empty(url)
    return url


@pytest.fixture(scope="session")
def shared_database(databases: Databases) -> Iterator[Database]:
    """A migrated database for all tests of this worker that keep to tenants of their own."""
    made = asyncio.run(databases.create())
    yield made
    asyncio.run(databases.drop(made))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(shared_database: Database) -> AsyncIterator[Service]:
    """A whole Passmill, for tests that keep to tenants of their own and leave it as it was. They
    run in its loop: `pytestmark = pytest.mark.asyncio(loop_scope="session")`."""
    async with open_service(shared_database.url) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def rowing_club(service: Service) -> Club:
    """A tenant of its own that can issue, in the service that is shared."""
    return await service.add_club()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares bytes with the files below tests/golden."""
    return Golden(is_updating=request.config.getoption("--update-golden"))
