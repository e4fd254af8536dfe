"""The client and the service together: processes, ports, signatures, all real."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import uuid4

import pytest

from passmill.demo.club import Club, set_up
from passmill.dev.local_service import LocalService
from passmill_client import (
    AsyncClient,
    Client,
    Money,
    Pass,
    PassmillError,
    PassRef,
    Reply,
    from_value,
    messages,
    pass_draft,
)

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A running service with a coffee club in it."""

    service: LocalService
    club: Club


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """Two API processes, watched over, and a club."""
    stop = threading.Event()
    with LocalService(processes=2) as service:
        watching = threading.Thread(target=service.supervisor.run, args=(stop,))
        watching.start()
        try:
            club = set_up(
                api_address=service.api_address,
                admin_address=service.admin_address,
                operator_key=service.operator_key,
            )
            yield Place(service=service, club=club)
        finally:
            stop.set()
            watching.join()


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    """The club's client."""
    with Client(place.service.api_address, place.club.issue_key) as client:
        yield client


def test_life_of_a_pass(client: Client, place: Place) -> None:
    """Issued, read, changed, voided and reinstated by name of its reference id, a pass keeps its
    serial number, and its bundle follows."""
    issued = client.issue_pass(
        place.club.template_id,
        name="Zoë Ōtani",
        external_ids={"crm": "4711"},
        values={"points": 9, "balance": Money(minor_units=1250, currency_code="USD")},
    )
    spelt = issued.reference_id.lower().replace("-", " ")
    bundle = client.get_pass_bundle(reference_id=spelt)
    assert bundle == client.get_pass_bundle(serial_number=issued.serial_number)
    client.update_pass(reference_id=spelt, values={"points": 10}, etag=issued.etag)
    found = client.get_pass(reference_id=spelt)
    assert found.serial_number == issued.serial_number
    assert from_value(found.values["points"]) == 10
    assert found.holder.name == "Zoë Ōtani"
    assert client.get_pass_bundle(pass_id=issued.pass_id) != bundle
    [listed] = client.list_passes(external_id=("crm", "4711"))
    assert listed.pass_id == issued.pass_id
    assert client.void_pass(reference_id=spelt).state == messages.Pass.STATE_VOIDED
    assert client.reinstate_pass(reference_id=spelt).state == messages.Pass.STATE_ACTIVE


def test_refused_values_are_named(client: Client, place: Place) -> None:
    """Values that do not fit their slots are refused with their paths; so is a stale etag."""
    with pytest.raises(PassmillError) as caught:
        client.issue_pass(place.club.template_id, values={"points": Decimal("1.5"), "cups": 1})
    assert caught.value.reason == "INVALID_VALUES"
    assert {problem.path for problem in caught.value.fields} == {
        'draft.values["points"]',
        'draft.values["cups"]',
    }
    issued = client.issue_pass(place.club.template_id, values={"points": 1})
    client.update_pass(pass_id=issued.pass_id, values={"points": 2})
    with pytest.raises(PassmillError) as caught:
        client.update_pass(pass_id=issued.pass_id, values={"points": 3}, etag=issued.etag)
    assert caught.value.reason == "ETAG_MISMATCH"


async def test_the_same_request_id_is_replayed(place: Place) -> None:
    """A repeated call gives the first answer again and says so; the caller is known by its key."""
    request_id = uuid4()
    replies = [Reply(), Reply()]
    async with AsyncClient(place.service.api_address, place.club.issue_key) as client:
        assert (await client.get_caller()).tenant_id == place.club.tenant_id
        first, second = [
            await client.issue_pass(
                place.club.template_id, values={"points": 1}, request_id=request_id, reply=reply
            )
            for reply in replies
        ]
    assert first == second
    assert [reply.replayed for reply in replies] == [False, True]


def test_issue_many_survives_a_killed_process(client: Client, place: Place) -> None:
    """While a process that answers is killed, each recipient gets exactly one pass; and the same
    run again gives the same passes and issues none."""
    count, run_id = 2000, uuid4()
    phone = "+12065550188"
    recipients = [
        pass_draft(name=f"Member {number}", phone=phone, values={"points": number})
        for number in range(count)
    ]

    def run(kill_at: int | None = None) -> Iterator[str]:
        for number, outcome in client.issue_many(
            place.club.template_id, recipients, batch_size=100, concurrency=4, run_id=run_id
        ):
            if number == kill_at:
                kill_a_process(place.service)
            assert isinstance(outcome, Pass), outcome
            yield outcome.pass_id

    issued = list(run(kill_at=150))
    assert len(set(issued)) == count
    listed = {each.pass_id: each for each in client.list_passes(holder_phone=phone)}
    assert listed.keys() == set(issued)
    for number in (0, 150, 999, count - 1):
        assert listed[issued[number]].holder.name == f"Member {number}"
        assert client.get_pass_bundle(pass_id=issued[number])
    assert list(run()) == issued
    assert sum(1 for _ in client.list_passes(holder_phone=phone)) == count


async def test_watchers_outlive_a_killed_process(place: Place) -> None:
    """Watchers, some on a process that is killed meanwhile, hear of every pass that is issued, in
    one order; so does who lists afterwards, from the same cursor."""
    count = 30
    async with AsyncClient(place.service.api_address, place.club.issue_key) as client:
        issued = [messages.EVENT_KIND_PASS_ISSUED]
        *_, last = [event async for event in client.list_events()]

        async def watch() -> list[str]:
            heard: dict[str, str] = {}  # an event may come twice
            async for event in client.watch_events(cursor=last.cursor, kinds=issued):
                [heard[event.event_id]] = event.pass_ids
                if len(heard) == count:
                    break
            return list(heard.values())

        async with asyncio.TaskGroup() as tasks:
            watchers = [tasks.create_task(watch()) for _ in range(6)]
            made = []
            for number in range(count):
                wallet_pass = await client.issue_pass(
                    place.club.template_id, values={"points": number}
                )
                made.append(wallet_pass.pass_id)
                if number == count // 2:
                    await asyncio.to_thread(kill_a_process, place.service)
        assert [each.result() for each in watchers] == [made] * len(watchers)
        listed = [event async for event in client.list_events(cursor=last.cursor, page_size=7)]
        assert [pass_id for event in listed for pass_id in event.pass_ids] == made


def test_devices_are_asked_about(client: Client, place: Place) -> None:
    """Of a pass on no device there is nothing to list, to count or to push, and a bad call is
    refused before it is sent."""
    issued = client.issue_pass(place.club.template_id, values={"points": 1})
    assert list(client.list_registrations(pass_id=issued.pass_id)) == []
    counted = client.get_install_statistics(
        template_id=place.club.template_id,
        day_from=date(2026, 1, 1),
        group_by=[messages.INSTALL_DIMENSION_WALLET],
    )
    assert (list(counted.counts), counted.is_cut) == ([], False)
    assert list(client.get_push_statistics(day_before=date(2026, 1, 1)).counts) == []
    convergence = client.get_convergence(place.club.template_id)
    assert (convergence.revision, convergence.installed, convergence.share) == (1, 0, 0.0)
    assert client.request_push(template_id=place.club.template_id) == 0
    assert client.request_push(refs=[PassRef(pass_id=issued.pass_id)], only_laggards=True) == 0
    with pytest.raises(TypeError):
        client.request_push()
    with pytest.raises(TypeError):
        client.request_push(template_id="x", campaign_id="y")


def kill_a_process(service: LocalService) -> None:
    """Ends an API process as a crash would; the supervisor starts another."""
    process = service.supervisor._processes[1]
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
