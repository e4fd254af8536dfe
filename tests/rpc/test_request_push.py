"""RequestPush: events that name the passes, jobs that name the events, once a request."""

import itertools
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from passmill.store.push_jobs import PushPayload
from passmill.v1 import device_service_pb2 as pb
from passmill.v1.event_pb2 import EventKind
from passmill.v1.event_service_pb2 import ListEventsRequest
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.registry import Device, Registry, add_registry_club, open_registry
from tests.support.service import Club, Service, by_id, meta

pytestmark = pytest.mark.asyncio(loop_scope="session")

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def registry(service: Service) -> AsyncIterator[Registry]:
    """The edge's use cases on the service that is shared."""
    async with open_registry(service) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def club(service: Service) -> Club:
    """A tenant that can issue, whose pass type no other has."""
    return await add_registry_club(service, f"pass.com.example.pushed{next(_numbers)}")


async def push(club: Club, **target: Any) -> int:
    """Asks for pushes; gives to the devices of how many passes."""
    request = pb.RequestPushRequest(**target, meta=meta())
    return (await club.tenant.member.devices.RequestPush(request)).pass_count


async def fetch(registry: Registry, club: Club, wallet_pass: Pass) -> None:
    """A device fetches a pass."""
    authentic = await registry.authentic(club, wallet_pass)
    registry.note_fetches.note(authentic, await registry.serve.version(authentic))
    await registry.note_fetches.flush()


async def test_pushes_are_asked_for(registry: Registry, club: Club) -> None:
    """Pushes to the devices of some passes, of a template's, and of laggards alone, become events
    that name the passes, and jobs that name the events, once a request; a dry run makes none."""
    passes = [await club.issue() for _ in range(3)]
    bare = await club.issue()
    for wallet_pass in passes:
        for _ in range(2):
            await registry.register(Device(), club, wallet_pass)
    changed = await club.update(passes[0], "holder.name", wanted=Pass(holder=Holder(name="Grace")))
    await jobs_of(club)
    refs = pb.RequestPushRequest.Passes(refs=[by_id(passes[1]), by_id(bare), by_id(passes[1])])
    assert await push(club, passes=refs) == 1
    assert await requested(club) == [[passes[1].pass_id]]
    assert await push(club, template_id=club.template_id) == 3
    assert await push(club, template_id=club.template_id, only_laggards=True) == 1
    assert (await requested(club))[-1] == [changed.pass_id]
    await fetch(registry, club, passes[0])
    assert await push(club, template_id=club.template_id, only_laggards=True) == 0
    request = pb.RequestPushRequest(template_id=club.template_id, meta=meta(validate_only=True))
    assert (await club.tenant.member.devices.RequestPush(request)).pass_count == 3
    events = await requested(club)
    assert len(events) == 3
    again = pb.RequestPushRequest(passes=refs, meta=meta())
    for _ in range(2):
        assert (await club.tenant.member.devices.RequestPush(again)).pass_count == 1
    assert len(await requested(club)) == 4
    rows = await club.tenant.fetch("SELECT event_id FROM outbox WHERE kind = 'pass.push_requested'")
    assert await jobs_of(club) == {row["event_id"] for row in rows}


async def jobs_of(club: Club) -> set[uuid.UUID]:
    """The events that the tenant's queued pushes name; takes the jobs out of the queue."""
    rows = await club.tenant.fetch(
        "SELECT id, payload FROM pgqueuer.pgqueuer WHERE entrypoint LIKE 'push%'"
    )
    found = {}
    for row in rows:
        payload = PushPayload.decode(row["payload"])
        if payload.tenant_id == club.tenant.caller.tenant_id and payload.event_id is not None:
            found[row["id"]] = payload.event_id
    await club.tenant.fetch("DELETE FROM pgqueuer.pgqueuer WHERE id = ANY($1)", list(found))
    return set(found.values())


async def requested(club: Club) -> list[list[str]]:
    """The passes of the events that ask for pushes, as watchers are told them."""
    events = await club.tenant.member.events.ListEvents(
        ListEventsRequest(kinds=[EventKind.EVENT_KIND_PASS_PUSH_REQUESTED], page_size=500)
    )
    return [list(each.pass_ids) for each in events.events]


async def test_many_passes_are_pushed_in_parts(club: Club) -> None:
    """A request for more passes than an event may name becomes several, each pass in one."""
    tenant_id = club.tenant.caller.tenant_id
    await club.tenant.fetch(
        "INSERT INTO registrations (tenant_id, device_number, pass_id, bucket, tag, template_id,"
        " create_time) SELECT $1, n % 7000 + 1, ('00000000-0000-7000-8000-' ||"
        " lpad(to_hex(n % 12001), 12, '0'))::uuid, 0, 1, $2, now()"
        " FROM generate_series(1, 20000) n",
        tenant_id,
        uuid.UUID(club.template_id),
    )
    assert await push(club, template_id=club.template_id) == 12_001
    parts = await club.tenant.fetch(
        "SELECT pass_ids FROM outbox WHERE kind = 'pass.push_requested' ORDER BY pass_ids"
    )
    assert [len(row["pass_ids"]) for row in parts] == [5000, 5000, 2001]
    assert len({each for row in parts for each in row["pass_ids"]}) == 12_001
    assert len(await jobs_of(club)) == 3
