"""A device that registers for a pass which changed is pushed to, whenever the change was: it may
hold the content before, and asks for nothing by itself."""

import asyncio
import contextlib
import uuid
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from passmill.domain.registrations import Wallet
from passmill.store import passes, registrations
from passmill.store.database import Transaction
from passmill.store.jobs import JobKind
from passmill.store.push_jobs import PushPayload
from passmill.store.registrations import NotRegistered, Registered
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.registry import Device, Registry, registrations_of
from tests.support.service import Club, Service
from tests.support.sharing import add_sharing_club, policy

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Undone(Exception):
    """Raised to roll back."""


async def change(club: Club, wallet_pass: Pass) -> None:
    """The pass changes for all to see."""
    await club.update(wallet_pass, "holder.name", wanted=Pass(holder=Holder(name="Grace")))


async def device_pushes(club: Club) -> list[tuple[int, str]]:
    """The devices of the tenant that pushes are queued for, each with the transaction's number that
    queued it; all of them later than now."""
    rows = await club.tenant.fetch(
        "SELECT payload, xmin::text, execute_after > now() AS is_later FROM pgqueuer.pgqueuer"
        " WHERE entrypoint = $1 ORDER BY id",
        JobKind.PUSH.value,
    )
    queued = [(PushPayload.decode(row["payload"]), row) for row in rows]
    mine = [
        (payload, row)
        for payload, row in queued
        if payload.tenant_id == club.tenant.caller.tenant_id and payload.device_numbers
    ]
    assert all(row["is_later"] for _, row in mine)
    return [(number, row["xmin"]) for payload, row in mine for number in payload.device_numbers]


async def until_waited_for(club: Club, tx: Transaction) -> None:
    """Waits until somebody waits for a lock of this transaction."""
    pid = await tx.fetch_value("SELECT pg_backend_pid()")
    async with asyncio.timeout(30):
        while not await club.tenant.fetch(  # noqa: ASYNC110 - the database tells nobody
            "SELECT FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))", pid
        ):
            await asyncio.sleep(0.01)


async def test_a_change_before_is_pushed(registry: Registry, club: Club) -> None:
    """F17: who registers for a pass that changed, a moment or days ago, is pushed to, by a job that
    is queued with the registration or not at all; not for a pass as it was issued, not a second
    time, and not where APNs does not reach."""
    fresh, stale, untouched = [await club.issue() for _ in range(3)]
    for each in (fresh, stale):
        await change(club, each)
    await club.tenant.fetch(
        "UPDATE passes SET signing_time = signing_time - interval '1 day',"
        " create_time = create_time - interval '2 days' WHERE pass_id = $1",
        uuid.UUID(stale.pass_id),
    )
    device, android = Device(), Device(wallet=Wallet.ANDROID_PASS)
    await registry.register(device, club, untouched)
    await registry.register(android, club, fresh)
    assert await device_pushes(club) == []
    for each in (fresh, stale, fresh, stale):
        await registry.register(device, club, each)
    rows = {str(row["pass_id"]): row for row in await registrations_of(club, device)}
    # A transaction's number is the low half of the tag that it gave.
    assert await device_pushes(club) == [
        (rows[each.pass_id]["device_number"], str(rows[each.pass_id]["tag"] % 2**32))
        for each in (fresh, stale)
    ]


@pytest.mark.parametrize("is_limited", [False, True])
async def test_another_token_is_pushed_to(
    registry: Registry, service: Service, is_limited: bool
) -> None:
    """A change that was pushed to a token is pushed once more when the phone gives another one, by
    a job that is queued with the token: APNs may have taken the push for a phone that was not there
    any more, or be about to refuse it. Not for the same token again, not for each of the phone's
    passes, and not where APNs does not reach."""
    club = await add_sharing_club(service, policy(3) if is_limited else None)
    first, second = await club.issue(), await club.issue()
    device, android = Device(), Device(wallet=Wallet.ANDROID_PASS)
    await registry.register(device, club, first)
    await registry.register(android, club, first)
    await registry.register(device, club, second)
    await change(club, first)
    await registry.register(device, club, first)
    assert await device_pushes(club) == []
    await registry.register(android.with_token(), club, first)
    assert await device_pushes(club) == []
    renewed = device.with_token()
    for each in (first, second, first):
        assert not await registry.register(renewed, club, each)
    row, _ = await registrations_of(club, device)
    assert await device_pushes(club) == [(row["device_number"], str(row["tag"] % 2**32))]


async def test_who_comes_back_is_pushed(registry: Registry, club: Club) -> None:
    """A registration that begins again after the pass changed counts as any new one."""
    issued = await club.issue()
    device = Device()
    await registry.register(device, club, issued)
    await registry.unregister(device, club, issued)
    await change(club, issued)
    assert await registry.register(device, club, issued)
    [row] = await registrations_of(club, device)
    assert [number for number, _ in await device_pushes(club)] == [row["device_number"]]


@pytest.mark.parametrize("has_new_token", [False, True])
async def test_a_change_while_it_waits_is_pushed(
    registry: Registry, club: Club, has_new_token: bool
) -> None:
    """A change that commits while the registration waits for its device's lock found nobody to push
    to; the registration sees it all the same."""
    other, issued = await club.issue(), await club.issue()
    device = Device()
    await registry.register(device, club, other)
    mine = await registry.authentic(club, issued)
    again = device.with_token() if has_new_token else device
    async with asyncio.TaskGroup() as tasks:
        async with registry.database.transaction(club.tenant.caller) as tx:
            await tx.execute("SELECT FROM devices WHERE tenant_id = $1 FOR UPDATE", tx.tenant_id)
            waiting = tasks.create_task(registry.register_as(mine, again))
            await until_waited_for(club, tx)
            await change(club, issued)
        assert await waiting
    [number] = {row["device_number"] for row in await registrations_of(club, device)}
    assert [each for each, _ in await device_pushes(club)] == [number]


async def test_a_change_waits_for_a_registration(registry: Registry, club: Club) -> None:
    """A change that comes between a registration and its commit waits for it, so its own push finds
    the device; other registrations of the pass do not wait."""
    issued = await club.issue()
    mine = await registry.authentic(club, issued)
    device = Device()
    async with asyncio.TaskGroup() as tasks:
        async with registry.database.transaction(mine.caller) as tx:
            outcome = await registrations.register(
                tx,
                mine.key,
                device.claim(mine.pass_type_identifier),
                only_as_issued=True,
                now=datetime.now(UTC),
            )
            assert isinstance(outcome, Registered)
            assert not outcome.is_changed
            changing = tasks.create_task(change(club, issued))
            await until_waited_for(club, tx)
            assert await registry.register(Device(), club, issued)
            assert not changing.done()
        await changing
    [registered] = await club.tenant.fetch(
        "SELECT r.tag < p.update_tag AS is_before FROM registrations r"
        " JOIN devices d USING (tenant_id, device_number) JOIN passes p USING (tenant_id, pass_id)"
        " WHERE d.device_library_identifier = $1",
        device.name,
    )
    assert registered["is_before"]
    assert await device_pushes(club) == []


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("is_changed", [True, False])
async def test_a_registration_waits_for_no_change(
    registry: Registry, club: Club, commits: bool, is_changed: bool
) -> None:
    """Who registers while somebody changes the pass and holds his transaction open is answered
    meanwhile, and is pushed to, whether that change is made in the end or not: a new device, one
    that is known, and one with another token."""
    other, issued = await club.issue(), await club.issue()
    known, renewed = Device(), Device()
    for device in (known, renewed):
        await registry.register(device, club, other)
    if is_changed:
        await change(club, issued)
    mine = await registry.authentic(club, issued)
    devices = [Device(), known, renewed.with_token()]
    with contextlib.suppress(Undone):
        async with registry.database.transaction(club.tenant.caller) as tx:
            await tx.execute(
                "UPDATE passes SET version = version + 1,"
                " update_tag = pg_current_xact_id()::text::bigint WHERE pass_id = $1",
                mine.pass_id,
            )
            for device in devices:
                assert await registry.register_as(mine, device)
                assert not await registry.register_as(mine, device)
            if not commits:
                raise Undone
    numbers = [
        row["device_number"]
        for device in devices
        for row in await registrations_of(club, device)
        if row["pass_id"] == mine.pass_id
    ]
    assert [number for number, _ in await device_pushes(club)] == numbers


async def test_a_change_that_commits_first_is_pushed(registry: Registry, club: Club) -> None:
    """A change that was open when the registration was written, and commits before it: its push
    finds nobody yet, but the registration brings its own."""
    issued = await club.issue()
    mine = await registry.authentic(club, issued)
    async with AsyncExitStack() as changing, AsyncExitStack() as registering:
        tx = await changing.enter_async_context(registry.database.transaction(mine.caller))
        await passes.lock_pass(tx, mine.pass_id)
        other = await registering.enter_async_context(registry.database.transaction(mine.caller))
        claim = Device().claim(mine.pass_type_identifier)
        found = await registrations.register(
            other, mine.key, claim, only_as_issued=True, now=datetime.now(UTC)
        )
        assert found is NotRegistered.PASS_CHANGED
        found = await registrations.register(
            other, mine.key, claim, only_as_issued=False, now=datetime.now(UTC)
        )
        assert isinstance(found, Registered)
        assert (found.is_new, found.is_changed) == (True, True)
        await changing.aclose()
        assert await club.tenant.count("registrations") == 0
    assert await club.tenant.count("registrations") == 1
