"""Events are forgotten by age, and a cursor that would skip some is refused."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from passmill.domain.events import place_before
from passmill.domain.ids import TenantId
from passmill.rpc.event_cursors import EventCursors
from passmill.usecases.forget_events import ForgetEvents
from passmill.v1 import event_service_pb2 as pb
from tests.support.postgres import Database
from tests.support.refusals import refusal_of
from tests.support.service import Service, SetClock, Tenant, open_service


async def page(tenant: Tenant, cursor: str = "") -> pb.ListEventsResponse:
    """What is behind a cursor."""
    return await tenant.member.events.ListEvents(pb.ListEventsRequest(cursor=cursor))


async def reason(tenant: Tenant, cursor: str) -> str:
    """Why a cursor is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await page(tenant, cursor)
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    return refusal_of(caught.value).reason


def forget(service: Service, clock: SetClock) -> ForgetEvents:
    """The upkeep, with a memory of ten days."""
    return ForgetEvents(database=service.services.database, clock=clock, kept=timedelta(days=10))


async def test_old_events_are_forgotten(database: Database) -> None:
    """Events older than what is kept go, of all tenants, the others stay. A cursor before the last
    one forgotten is CURSOR_EXPIRED, that one's own goes on, and so does none at all."""
    clock = SetClock()
    async with open_service(database.url, clock=clock) as service:
        club, other = await service.add_club(), await service.add_tenant()
        old = (await page(club.tenant)).events
        clock.advance(timedelta(days=9))
        issued = await club.issue()
        clock.advance(timedelta(days=2))
        upkeep = forget(service, clock)
        assert await upkeep() >= len(old) + 1
        assert await upkeep() == 0
        left = (await page(club.tenant)).events
        assert [list(each.pass_ids) for each in left] == [[issued.pass_id]]
        assert await reason(club.tenant, old[0].cursor) == "CURSOR_EXPIRED"
        assert await reason(club.tenant, old[-2].cursor) == "CURSOR_EXPIRED"
        assert (await page(club.tenant, old[-1].cursor)).events == left
        assert (await page(club.tenant, left[0].cursor)).events == []
        assert (await page(other)).events == []


async def test_a_cursor_behind_all_events_lasts(database: Database) -> None:
    """Where nothing happened since, a cursor is as good after months as it was; and a watcher's,
    though the events of other kinds that it did not want are forgotten."""
    clock = SetClock()
    async with open_service(database.url, clock=clock) as service:
        club = await service.add_club()
        cursor = (await page(club.tenant)).cursor
        clock.advance(timedelta(days=100))
        await forget(service, clock)()
        [row] = await club.tenant.fetch("SELECT count(*) FROM outbox")
        assert row["count"] == 0
        assert (await page(club.tenant, cursor)).events == []
        issued = await club.issue()
        assert (await page(club.tenant, cursor)).events[0].pass_ids == [issued.pass_id]


async def test_a_cursor_of_a_lost_time_is_refused(database: Database) -> None:
    """After a restore from a backup a cursor may be of a time that the database has not come to:
    that is told, not passed over in silence."""
    async with open_service(database.url) as service:
        club = await service.add_club()
        cursors = EventCursors(keyring=service.services.keyring)
        ahead = cursors.text(TenantId(int(club.tenant.tenant_id)), place_before(1 << 40))
        assert await reason(club.tenant, ahead) == "CURSOR_EXPIRED"
