"""A service, a club, a stand-in for APNs and a worker, on a database and a Valkey of the test's
own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from passmill.dev.fake_apns import FakeApns
from passmill.domain.clock import Clock
from tests.support.fan_out import FanOut, open_fake_apns, open_fan_out, push_settings
from tests.support.postgres import Database
from tests.support.service import Club, Service, open_service

Opener: TypeAlias = Callable[..., AbstractAsyncContextManager[FanOut]]


@pytest_asyncio.fixture
async def own_service(database: Database) -> AsyncIterator[Service]:
    """A service on a database of the test's own, as workers take every tenant's jobs."""
    async with open_service(database.url) as service:
        yield service


@pytest_asyncio.fixture
async def own_club(own_service: Service) -> Club:
    """A tenant that can issue."""
    return await own_service.add_club()


@pytest_asyncio.fixture
async def apns() -> AsyncIterator[FakeApns]:
    """Accepts every push."""
    async with open_fake_apns() as server:
        yield server


@pytest.fixture
def open_worker_for(
    own_service: Service, own_club: Club, apns: FakeApns, redis_url: str, tmp_path: Path
) -> Opener:
    """Opens a worker that pushes; takes settings of the section `push`, and `redis_url`."""

    @asynccontextmanager
    async def open_one(
        *, is_running: bool = True, clock: Clock | None = None, **changed: Any
    ) -> AsyncIterator[FanOut]:
        settings = push_settings(
            own_service.settings, apns, tmp_path, **{"redis_url": redis_url, **changed}
        )
        async with open_fan_out(
            own_service, own_club, apns, settings, clock=clock, is_running=is_running
        ) as opened:
            yield opened

    return open_one


@pytest_asyncio.fixture
async def fan_out(open_worker_for: Opener) -> AsyncIterator[FanOut]:
    """A worker at work, without windows and pace."""
    async with open_worker_for() as opened:
        yield opened
