"""EventService: events in an order in which nothing is skipped, from any cursor, by kind."""

import ast
import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

import passmill
from passmill.domain.events import Event as StoredEvent
from passmill.domain.events import EventKind as StoredKind
from passmill.domain.ids import PassId, new_uuid
from passmill.store.events import read_events
from passmill.store.outbox import insert_event
from passmill.v1 import event_service_pb2 as pb
from passmill.v1.event_pb2 import Event, EventDetail, EventKind
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.refusals import Refusal, refusal_of
from tests.support.service import Club, Service, Tenant

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def listed(tenant: Tenant, cursor: str = "", **request: Any) -> tuple[list[Event], str]:
    """All events behind a cursor, page after page, and the cursor behind them."""
    events: list[Event] = []
    has_more = True
    while has_more:
        page = await tenant.member.events.ListEvents(pb.ListEventsRequest(cursor=cursor, **request))
        events += page.events
        cursor, has_more = page.cursor, page.has_more
    return events, cursor


async def refusal(tenant: Tenant, request: pb.ListEventsRequest) -> Refusal:
    """How a page is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await tenant.member.events.ListEvents(request)
    return refusal_of(caught.value)


@asynccontextmanager
async def watching(tenant: Tenant, **request: Any) -> AsyncIterator[Any]:
    """A watcher's stream."""
    call: Any = tenant.member.events.WatchEvents(pb.WatchEventsRequest(**request), timeout=None)
    try:
        yield call
    finally:
        call.cancel()


async def next_events(call: Any, count: int) -> list[Event]:
    """The next events of a stream, `count` at least."""
    events: list[Event] = []
    while len(events) < count:
        answer = await call.read()
        assert isinstance(answer, pb.WatchEventsResponse)
        events += answer.events
    return events


def kinds(events: Iterable[Event]) -> list[str]:
    """Their kinds, as the outbox names them."""
    return [EventKind.Name(each.kind).removeprefix("EVENT_KIND_") for each in events]


@asynccontextmanager
async def written(tenant: Tenant, kind: str = "pass.installed") -> AsyncIterator[uuid.UUID]:
    """An event inside a transaction that commits when the block ends; gives its one pass."""
    pass_id = new_uuid()
    async with tenant.service.services.database.transaction(tenant.caller) as tx:
        await insert_event(
            tx, kind=kind, pass_ids=[PassId(pass_id)], detail="{}", now=datetime.now(UTC)
        )
        yield pass_id


def passes_of(events: Iterable[Event]) -> list[uuid.UUID]:
    """The passes that events tell of."""
    return [uuid.UUID(each) for event in events for each in event.pass_ids]


async def test_what_happens_is_told(service: Service) -> None:
    """A tenant's way from its first key to a voided pass, event by event, with what each says; read
    again it is the same, ids and all; and no other tenant hears of it."""
    club = await service.add_club()
    issued = await club.issue()
    await club.update(issued, "holder.name", wanted=Pass(holder=Holder(name="Grace")))
    events, cursor = await listed(club.tenant)
    assert kinds(events) == [
        "API_KEY_CREATED",
        "SIGNING_IDENTITY_UPLOADED",
        "SIGNING_IDENTITY_ACTIVATED",
        "PROGRAM_CREATED",
        *["ASSET_UPLOADED"] * 3,
        "TEMPLATE_CREATED",
        "TEMPLATE_PUBLISHED",
        "PASS_ISSUED",
        "PASS_UPDATED",
    ]
    by_kind = dict(zip(kinds(events), events, strict=True))
    assert by_kind["TEMPLATE_PUBLISHED"].detail == EventDetail(
        template_id=club.template_id, revision=1
    )
    assert by_kind["PROGRAM_CREATED"].detail == EventDetail(program_id=club.program_id)
    assert by_kind["PASS_ISSUED"].pass_ids == [issued.pass_id]
    assert by_kind["PASS_UPDATED"].detail == EventDetail(visible=True)
    assert await listed(club.tenant) == (events, cursor)
    assert await listed(club.tenant, page_size=1) == (events, cursor)
    nothing, _ = await listed(club.tenant, cursor)
    assert nothing == []
    others, _ = await listed(await service.add_tenant())
    assert kinds(others) == ["API_KEY_CREATED"]


async def test_every_kind_is_in_the_protocol() -> None:
    """Each kind of event that a statement or use case writes is one that watchers are told by name,
    but the one that no tenant could hear of; and each that is told, something writes."""
    written_kinds: set[str] = set()
    for layer in ("usecases", "store"):
        for path in (Path(passmill.__file__).parent / layer).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    words = node.value.replace("'", " ").split()
                    written_kinds |= {w for w in words if w in set(StoredKind)}
                if isinstance(node, ast.keyword) and node.arg in ("kind", "event"):
                    value = node.value
                    if isinstance(value, ast.Constant):
                        written_kinds.add(str(value.value))
                    elif isinstance(value, ast.Attribute) and value.attr in StoredKind.__members__:
                        written_kinds.add(StoredKind[value.attr].value)
    assert written_kinds - set(StoredKind) == {"tenant.created"}
    declared = {name.removeprefix("EVENT_KIND_") for name in EventKind.keys()}  # noqa: SIM118
    assert declared - {"UNSPECIFIED"} == set(StoredKind.__members__)
    assert set(StoredKind) - written_kinds == set()


async def test_a_watcher_hears_and_goes_on(service: Service, rowing_club: Club) -> None:
    """A watcher is told at once where it stands, then what happens; its cursor, or any event's,
    goes on right behind it, in another call, with other kinds, as a page or as a stream."""
    tenant = rowing_club.tenant
    async with watching(tenant, only_new=True) as call:
        first = await call.read()
        assert (len(first.events), bool(first.cursor)) == (0, True)
        issued = [await rowing_club.issue() for _ in range(3)]
        events = await next_events(call, 3)
    assert passes_of(events) == [uuid.UUID(each.pass_id) for each in issued]
    assert (await listed(tenant, first.cursor))[0] == events
    for at, event in enumerate(events):
        assert (await listed(tenant, event.cursor))[0] == events[at + 1 :]
    async with watching(tenant, cursor=events[0].cursor) as call:
        assert await next_events(call, 2) == events[1:]
    async with watching(
        tenant, cursor=first.cursor, kinds=[EventKind.EVENT_KIND_PASS_VOIDED]
    ) as call:
        assert len((await call.read()).events) == 0


async def test_nothing_is_told_before_what_began_earlier(rowing_club: Club) -> None:
    """While an earlier transaction is open a later one's event waits, then both come in order; a
    reader that went by the time of events would have passed the earlier one by."""
    tenant = rowing_club.tenant
    _, start = await listed(tenant)
    async with written(tenant) as late:
        async with written(tenant) as early:
            pass
        before, cursor = await listed(tenant, start)
        naive = await tenant.fetch("SELECT pass_ids, create_time FROM outbox ORDER BY create_time")
        assert before == []
        assert naive[-1]["pass_ids"] == [early]
    after, _ = await listed(tenant, cursor)
    assert passes_of(after) == [late, early]
    behind = await tenant.fetch(
        "SELECT pass_ids FROM outbox WHERE create_time > $1", naive[-1]["create_time"]
    )
    assert behind == []


async def test_no_late_commit_is_skipped(rowing_club: Club) -> None:
    """Writers that hold their transactions open for all kinds of times, several events in some, and
    readers meanwhile: each reader gets each event once, all in one order. The naive reader, by the
    time of events, misses some of the same ones."""
    tenant = rowing_club.tenant
    _, start = await listed(tenant)
    chance = random.Random(4711)  # noqa: S311 - a test's choice
    done = asyncio.Event()
    committed: list[uuid.UUID] = []

    async def write(times: Sequence[float]) -> None:
        for seconds in times:
            async with written(tenant) as first, written(tenant) as second:
                await asyncio.sleep(seconds)
            async with written(tenant) as third:
                pass
            committed.extend((first, second, third))

    async def watch() -> list[uuid.UUID]:
        found: list[uuid.UUID] = []
        cursor = start
        is_last_look = False
        while not is_last_look:
            is_last_look = done.is_set()
            events, cursor = await listed(tenant, cursor, page_size=chance.randint(1, 20))
            found += passes_of(events)
        return found

    async def watch_naively() -> set[uuid.UUID]:
        found: set[uuid.UUID] = set()
        since = datetime.now(UTC)
        is_last_look = False
        while not is_last_look:
            is_last_look = done.is_set()
            rows = await tenant.fetch(
                "SELECT pass_ids, create_time FROM outbox WHERE create_time > $1", since
            )
            found |= {each for row in rows for each in row["pass_ids"]}
            since = max([since, *(row["create_time"] for row in rows)])
            await asyncio.sleep(0.005)
        return found

    async with asyncio.TaskGroup() as tasks:
        readers = [tasks.create_task(watch()) for _ in range(3)]
        naive = tasks.create_task(watch_naively())
        writers = [
            tasks.create_task(write([chance.choice((0.0, 0.01, 0.05, 0.2)) for _ in range(20)]))
            for _ in range(2)
        ]
        for writer in writers:
            await writer
        done.set()
    for reader in readers:
        assert sorted(reader.result()) == sorted(committed)
        assert reader.result() == readers[0].result()
    assert set(committed) - naive.result()


async def test_kinds_are_chosen(rowing_club: Club) -> None:
    """Only the kinds asked for are told, and the cursor moves over the others; where they are rare,
    statements look at so many events and no more."""
    tenant = rowing_club.tenant
    _, start = await listed(tenant)
    for kind in ["pass.installed"] * 5 + ["pass.removed"] + ["pass.installed"] * 5:
        async with written(tenant, kind):
            pass
    removed, cursor = await listed(tenant, start, kinds=[EventKind.EVENT_KIND_PASS_REMOVED])
    assert kinds(removed) == ["PASS_REMOVED"]
    assert (await listed(tenant, cursor))[0] == []
    everything, _ = await listed(tenant, start)
    place, looks, is_last = None, 0, False
    found: list[StoredEvent] = []
    async with tenant.service.services.database.transaction(tenant.caller) as tx:
        while not is_last:
            page = await read_events(
                tx, after=place, kinds=[StoredKind.PASS_REMOVED], at_most=10, window=3
            )
            place, is_last, looks = page.place, page.is_last, looks + 1
            found += page.events
    assert [str(each.event_id) for each in found] == [each.event_id for each in removed]
    assert looks > len(everything) // 3


async def test_a_page_is_never_large(rowing_club: Club) -> None:
    """Events that tell of thousands of passes come few in a message, none is left out."""
    tenant = rowing_club.tenant
    _, start = await listed(tenant)
    async with tenant.service.services.database.transaction(tenant.caller) as tx:
        for _ in range(30):
            ids = [PassId(uuid.uuid4()) for _ in range(5000)]
            await insert_event(
                tx, kind="pass.push_requested", pass_ids=ids, detail="{}", now=datetime.now(UTC)
            )
    sizes, count, has_more, cursor = [], 0, True, start
    while has_more:
        page = await tenant.member.events.ListEvents(
            pb.ListEventsRequest(cursor=cursor, page_size=500)
        )
        sizes.append(page.ByteSize())
        count += len(page.events)
        cursor, has_more = page.cursor, page.has_more
    assert count == 30
    assert max(sizes) < 1 << 20
    assert len(sizes) > 5


async def test_cursors_that_are_none_are_refused(service: Service, rowing_club: Club) -> None:
    """Any text, another tenant's cursor, one with a bit changed, and a page token of another list
    are INVALID_CURSOR; a cursor and only_new together are a bad field."""
    tenant = rowing_club.tenant
    stranger = (await service.add_club()).tenant
    _, cursor = await listed(tenant)
    _, theirs = await listed(stranger)
    changed = cursor[:-3] + ("A" if cursor[-3] != "A" else "B") + cursor[-2:]
    for text in ("x", "é", "AAAA", cursor[:-4], cursor + "AAAA", changed, theirs, "x" * 5000):
        refused = await refusal(tenant, pb.ListEventsRequest(cursor=text))
        assert refused.reason == "INVALID_CURSOR", text
    async with watching(tenant, cursor=cursor, only_new=True) as call:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert set(refusal_of(caught.value).fields) == {"only_new"}


async def test_kinds_that_are_none_are_refused(rowing_club: Club) -> None:
    """The unspecified kind, one that is not defined, and one twice are refused by name."""
    for numbers in ([0], [999], [1, 1]):
        request = pb.ListEventsRequest(kinds=numbers)  # type: ignore[arg-type]
        refused = await refusal(rowing_club.tenant, request)
        assert refused.reason == "INVALID_FIELD"
        assert all(each.startswith("kinds") for each in refused.fields)


async def test_events_of_a_newer_release_are_told(rowing_club: Club) -> None:
    """An event of a kind, or with a detail, that this release does not know is told all the
    same."""
    tenant = rowing_club.tenant
    _, start = await listed(tenant)
    async with tenant.service.services.database.transaction(tenant.caller) as tx:
        await insert_event(
            tx,
            kind="pass.sung",
            pass_ids=[],
            detail='{"reason": "joy", "visible": 3, "revision": "x", "key": [1]}',
            now=datetime.now(UTC),
        )
    [event], _ = await listed(tenant, start)
    assert (event.kind, event.detail) == (
        EventKind.EVENT_KIND_UNSPECIFIED,
        EventDetail(reason="joy"),
    )
