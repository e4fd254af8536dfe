"""A worker for the campaigns of a club of its own, in the service that tests share."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.service import Club, Service, SetClock


@pytest_asyncio.fixture(loop_scope="session")
async def worker(service: Service, rowing_club: Club) -> AsyncIterator[CampaignWorker]:
    """The club's worker."""
    async with open_campaign_worker(service, rowing_club) as opened:
        yield opened


@pytest.fixture
def clock() -> SetClock:
    """The clock of `timed`."""
    return SetClock()


@pytest_asyncio.fixture(loop_scope="session")
async def timed(
    service: Service, rowing_club: Club, clock: SetClock
) -> AsyncIterator[CampaignWorker]:
    """A worker whose time the test sets."""
    async with open_campaign_worker(service, rowing_club, clock=clock) as opened:
        yield opened
