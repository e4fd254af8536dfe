"""A pass on too many devices is voided, and one like it issued: once, whatever happens between."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from prometheus_client import CollectorRegistry

from passmill.compose_worker import WorkerServices, open_worker
from passmill.domain.ids import PassId
from passmill.domain.templates import SharingExcess
from passmill.errors import AppError, Reason
from passmill.usecases.issue_passes import IssuePasses
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.v1 import template_service_pb2
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.balances import open_till
from tests.support.holders import Desk, ids_of
from tests.support.registry import Device, Registry, events_of
from tests.support.service import Club, Service, meta
from tests.support.sharing import (
    add_sharing_club,
    excesses,
    holders_of,
    let_token_die,
    policy,
)
from tests.support.small_card import draft
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXPIRES = Timestamp(seconds=int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()))


@pytest_asyncio.fixture(loop_scope="session")
async def worker(service: Service) -> AsyncIterator[WorkerServices]:
    """A worker's use cases; none of its queues is served."""
    async with open_worker(service.settings, registry=CollectorRegistry()) as services:
        yield services


@pytest_asyncio.fixture(loop_scope="session")
async def club(service: Service) -> Club:
    """A tenant whose passes are voided and issued anew when a third device registers."""
    return await add_sharing_club(service, policy(2, SharingExcess.VOID_AND_REISSUE))


async def share(registry: Registry, club: Club, phones: int = 3) -> tuple[Pass, list[Device]]:
    """A pass on so many phones."""
    wanted = draft("Zoë", phone="+41446681800", crm="4711", points=12, tier="Gold")
    wanted.tags.append("vip")
    wanted.expire_time.CopyFrom(EXPIRES)
    issued = await club.issue(wanted)
    devices = [Device() for _ in range(phones)]
    for device in devices:
        await registry.register(device, club, issued)
    return issued, devices


async def reissue(worker: WorkerServices, club: Club, wallet_pass: Pass) -> PassId | None:
    """What the job does."""
    pass_id = PassId(uuid.UUID(wallet_pass.pass_id))
    return await worker.sharing.reissue_pass(club.tenant.caller.tenant_id, pass_id)


async def states(club: Club) -> dict[str, str]:
    """Why each pass of the club is voided, '' when it is not."""
    rows = await club.tenant.fetch("SELECT pass_id, state, void_reason FROM passes")
    return {str(row["pass_id"]): row["void_reason"] if row["state"] == 2 else "" for row in rows}


async def test_one_takes_the_place_of_the_other(
    registry: Registry, worker: WorkerServices, club: Club
) -> None:
    """The shared pass is voided, its devices hear of it, and a pass with its holder, values, tags
    and expiry is issued and signed; one event names both. Another time nothing happens."""
    issued, _ = await share(registry, club)
    new_id = await reissue(worker, club, issued)
    assert new_id is not None
    assert await states(club) == {issued.pass_id: "shared", str(new_id): ""}
    old = await club.get(issued)
    new = await club.get(Pass(pass_id=str(new_id)))
    assert (old.holder, old.values, old.tags) == (new.holder, new.values, new.tags)
    assert new.expire_time == EXPIRES
    assert new.holder.external_ids["crm"] == "4711"
    assert new.serial_number != old.serial_number
    assert new.reference_id != old.reference_id
    assert (await club.bundle(new))[:2] == b"PK"
    [event] = await events_of(club, "pass.reissued")
    assert event["pass_ids"] == [uuid.UUID(issued.pass_id), new_id]
    assert json.loads(event["detail"]) == {"new_pass_id": str(new_id), "reason": "shared"}
    [voided] = await events_of(club, "pass.voided")
    assert json.loads(voided["detail"]) == {"visible": True}

    assert await reissue(worker, club, issued) == new_id
    assert await registry.register(Device(), club, issued)
    assert len(await states(club)) == 2
    assert len(await excesses(club)) == 1
    assert len(await events_of(club, "pass.reissued")) == 1
    assert await holders_of(club, new) == set()


async def test_points_are_the_holders(
    registry: Registry, worker: WorkerServices, club: Club
) -> None:
    """The new pass has the account of the one whose place it takes: it earns and spends on."""
    till = await open_till(club)
    issued, _ = await share(registry, club)
    await till.post(issued, 30)
    new_id = await reissue(worker, club, issued)
    new = await club.get(Pass(pass_id=str(new_id)))
    posted = await till.post(new, 5)
    assert (posted.balance.account_id, posted.balance.balance) == (issued.pass_id, 35)
    assert await till.shown(new) == 35


async def test_the_queue_has_it_done(
    registry: Registry, service: Service, worker: WorkerServices, club: Club
) -> None:
    """The job that the registration queued begins a minute later and does it."""
    issued, _ = await share(registry, club)
    [job] = await club.tenant.fetch(
        "SELECT id, extract(epoch FROM execute_after - created)::int AS delay"
        " FROM pgqueuer.pgqueuer WHERE entrypoint = 'pass_reissue'"
        " AND position(convert_to($1, 'UTF8') IN payload) > 0",
        issued.pass_id,
    )
    assert job["delay"] == 60
    await club.tenant.fetch(
        "UPDATE pgqueuer.pgqueuer SET execute_after = now() WHERE id = $1", job["id"]
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.sharing.worker.run(stop))
        for _ in range(600):
            if len(await states(club)) == 2:
                break
            await asyncio.sleep(0.05)
        stop.set()
    assert sorted((await states(club)).values()) == ["", "shared"]


async def test_an_honest_holder_keeps_the_pass(
    registry: Registry, worker: WorkerServices, club: Club
) -> None:
    """When a minute later one of the devices turns out to be gone, by a dead token or because it
    removed the pass, the pass stays; should it be shared again, that counts anew."""
    issued, [first, second, third] = await share(registry, club)
    await let_token_die(club, first)
    assert await reissue(worker, club, issued) is None
    assert await states(club) == {issued.pass_id: ""}
    assert await club.tenant.count("pass_reissues") == 0

    await registry.register(Device(), club, issued)
    await registry.unregister(third, club, issued)
    assert await reissue(worker, club, issued) is None
    await registry.register(Device(), club, issued)
    assert await reissue(worker, club, issued) is not None
    assert (await states(club))[issued.pass_id] == "shared"
    assert second.name in await holders_of(club, issued)


async def test_a_device_that_comes_between_count_and_end(
    registry: Registry, worker: WorkerServices, club: Club, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that registers once the others were counted, and found that the pass was looked at,
    is not forgotten: there is another look, a minute later."""
    issued, [*_, third] = await share(registry, club)
    await registry.unregister(third, club, issued)
    replay = Mutator.replay

    async def register_first(mutator: Mutator, mutation: Mutation[Any]) -> Answer | None:
        if mutation.method == "ReissuePass":  # it was counted
            await registry.register(Device(), club, issued)
        return await replay(mutator, mutation)

    monkeypatch.setattr(Mutator, "replay", register_first)
    assert await reissue(worker, club, issued) is None
    monkeypatch.undo()
    assert await club.tenant.count("pass_reissues") == 1
    [jobs] = await club.tenant.fetch(
        "SELECT count(*) AS count FROM pgqueuer.pgqueuer WHERE entrypoint = 'pass_reissue'"
        " AND position(convert_to($1, 'UTF8') IN payload) > 0",
        issued.pass_id,
    )
    assert jobs["count"] == 2
    assert await reissue(worker, club, issued) is not None
    assert (await states(club))[issued.pass_id] == "shared"


async def test_a_pass_voided_meanwhile_has_no_successor(
    registry: Registry, worker: WorkerServices, club: Club
) -> None:
    """When staff void the pass before the job begins, no other is issued."""
    issued, _ = await share(registry, club)
    await void(club, issued, reason="lost")
    assert await reissue(worker, club, issued) is None
    assert await states(club) == {issued.pass_id: "lost"}
    assert await events_of(club, "pass.reissued") == []


def after_issuing(issue: IssuePasses, then: Callable[[], Awaitable[None]]) -> Any:
    """Issues, and has something happen before anybody hears of it."""

    async def issue_and_then(*arguments: Any, **more: Any) -> Answer:
        answer = await issue(*arguments, **more)
        await then()
        return answer

    return issue_and_then


async def test_voided_between_the_steps(
    registry: Registry, worker: WorkerServices, club: Club
) -> None:
    """When staff void the pass after its successor was issued, the successor is voided too, and no
    event says that it takes a place."""
    issued, _ = await share(registry, club)
    use_case = worker.sharing.reissue_pass
    issue = use_case._issue_passes

    async def lose() -> None:
        await void(club, issued, reason="lost")

    use_case._issue_passes = after_issuing(issue, lose)
    assert await reissue(worker, club, issued) is None
    assert sorted((await states(club)).values()) == ["lost", "shared"]
    assert await events_of(club, "pass.reissued") == []
    assert await club.tenant.count("pass_reissues") == 0


async def test_both_are_one_holders(registry: Registry, worker: WorkerServices, club: Club) -> None:
    """The successor is a pass of the same holder: who erases one erases both."""
    issued, _ = await share(registry, club)
    new_id = await reissue(worker, club, issued)
    desk = Desk(club=club)
    assert ids_of(await desk.get(issued)) == {issued.pass_id, str(new_id)}
    await desk.erase(issued)
    assert await states(club) == {issued.pass_id: "erased", str(new_id): "erased"}
    assert (await club.get(Pass(pass_id=str(new_id)))).holder == Holder()


@pytest.mark.parametrize("is_found_later", [True, False])
async def test_erased_between_the_steps(
    registry: Registry, worker: WorkerServices, club: Club, is_found_later: bool
) -> None:
    """When the holder is erased after the successor was issued, that is as empty and voided as the
    pass itself, also if the worker died in between."""
    issued, _ = await share(registry, club)
    use_case, desk = worker.sharing.reissue_pass, Desk(club=club)
    issue = use_case._issue_passes

    async def erase() -> None:
        await desk.erase(issued)
        if is_found_later:
            raise RuntimeError("killed")

    use_case._issue_passes = after_issuing(issue, erase)
    if is_found_later:
        with pytest.raises(RuntimeError):
            await reissue(worker, club, issued)
        use_case._issue_passes = issue
    assert await reissue(worker, club, issued) is None
    found = await states(club)
    assert len(found) == 2
    assert set(found.values()) == {"erased"}
    for pass_id in found:
        assert (await club.get(Pass(pass_id=pass_id))).holder == Holder()
    assert ids_of(await desk.get(issued)) == found.keys()


@pytest.mark.parametrize("is_needed", [True, False])
async def test_a_worker_dies_between_the_steps(
    registry: Registry, worker: WorkerServices, club: Club, is_needed: bool
) -> None:
    """When the worker dies after issuing, the job's next try finds the same successor; if by then
    the pass may stay, that is voided instead."""
    issued, [first, *_] = await share(registry, club)
    use_case = worker.sharing.reissue_pass
    issue = use_case._issue_passes

    async def die() -> None:
        raise RuntimeError("killed")

    use_case._issue_passes = after_issuing(issue, die)
    with pytest.raises(RuntimeError):
        await reissue(worker, club, issued)
    use_case._issue_passes = issue
    [new_id] = set(await states(club)) - {issued.pass_id}
    if not is_needed:
        await let_token_die(club, first)
    found = await reissue(worker, club, issued)
    assert found == (uuid.UUID(new_id) if is_needed else None)
    voided, kept = (issued.pass_id, new_id) if is_needed else (new_id, issued.pass_id)
    assert await states(club) == {voided: "shared", kept: ""}


async def test_what_cannot_be_issued_anew_stays(
    registry: Registry, worker: WorkerServices, club: Club
) -> None:
    """A pass whose template is archived is not voided: its holder would be left with none. When the
    job has been given up, it may be tried again at the next excess."""
    issued, _ = await share(registry, club)
    await club.tenant.member.templates.ArchiveTemplate(
        template_service_pb2.ArchiveTemplateRequest(template_id=club.template_id, meta=meta())
    )
    with pytest.raises(AppError) as refusal:
        await reissue(worker, club, issued)
    assert refusal.value.reason is Reason.TEMPLATE_ARCHIVED
    assert await states(club) == {issued.pass_id: ""}
    pass_id = PassId(uuid.UUID(issued.pass_id))
    assert await worker.sharing.reissue_pass.give_up(club.tenant.caller.tenant_id, pass_id)
    assert await club.tenant.count("pass_reissues") == 0
    assert await reissue(worker, club, issued) is None
