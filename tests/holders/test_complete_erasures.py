"""CompleteErasures: one erasure that fails keeps no other waiting."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest

from passmill.usecases.complete_erasures import SETTLED_AFTER
from tests.support.campaign_worker import open_campaign_worker
from tests.support.holders import Desk
from tests.support.postgres import Database
from tests.support.service import Club, Service, SetClock
from tests.support.small_card import draft

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


@asynccontextmanager
async def broken(database: Database, holder_id: str) -> AsyncIterator[None]:
    """A database that has a fault with this holder's row."""
    async with asyncpg.create_pool(database.owner_url, min_size=1, max_size=1) as owner:
        await owner.execute(
            "CREATE FUNCTION fail_on_holder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'no such block'; END $$;"
            "CREATE TRIGGER fail_on_holder BEFORE UPDATE ON holders FOR EACH ROW"
            f" WHEN (NEW.holder_id = '{holder_id}') EXECUTE FUNCTION fail_on_holder()"
        )
        try:
            yield
        finally:
            await owner.execute("DROP FUNCTION fail_on_holder CASCADE")


async def test_one_that_fails_keeps_nobody_waiting(
    service: Service, shared_database: Database, rowing_club: Club
) -> None:
    """The oldest erasure fails: that of another tenant's holder is completed all the same. The one
    that failed is tried again once a while has passed, and not before."""
    clock = SetClock()
    clock.advance(2 * SETTLED_AFTER)
    first, second = Desk(club=rowing_club), Desk(club=await service.add_club())
    failing = await first.erase(await rowing_club.issue(draft("Ada")))
    waiting = await second.erase(await second.club.issue(draft("Grace")))
    async with open_campaign_worker(service, rowing_club, clock=clock) as worker:
        async with broken(shared_database, failing.holder_id):
            await worker.services.complete_erasures()
        assert (await second.get(waiting.holder_id)).HasField("erase_end_time")
        await worker.services.complete_erasures()
        assert not (await first.get(failing.holder_id)).HasField("erase_end_time")
        clock.advance(timedelta(minutes=1))
        assert await worker.services.complete_erasures() == 1
        assert (await first.get(failing.holder_id)).HasField("erase_end_time")
        assert await worker.services.complete_erasures() == 0
