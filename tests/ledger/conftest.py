"""A club whose passes count points."""

from __future__ import annotations

import pytest_asyncio

from tests.support.balances import Till, open_till
from tests.support.service import Club


@pytest_asyncio.fixture(loop_scope="session")
async def till(rowing_club: Club) -> Till:
    """A tenant of its own that counts points."""
    return await open_till(rowing_club)
