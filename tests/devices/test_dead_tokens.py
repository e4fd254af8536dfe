"""What APNs says of tokens: dead ones end registrations, unless the device has given them since."""

import json
import uuid
from datetime import datetime, timedelta

import pytest

from passmill.domain.registrations import DeviceNumber
from passmill.store import devices
from passmill.store.devices import DeadToken, PushRecord
from tests.support.registry import Device, Registry, events_of, pass_type_of, registrations_of
from tests.support.service import Club

pytestmark = pytest.mark.asyncio(loop_scope="session")

INSTANT = timedelta(microseconds=1)


async def forget(club: Club, *dead: DeadToken, pass_type: str | None = None) -> set[uuid.UUID]:
    """Ends what these tokens reach; gives the passes."""
    pass_type = pass_type or await pass_type_of(club)
    async with club.tenant.service.services.database.transaction(club.tenant.caller) as tx:
        [row] = await tx.fetch("SELECT now()")
        ended = await devices.forget_tokens(
            tx, dead, pass_type_identifier=pass_type, now=row["now"]
        )
    return {each.pass_id for each in ended}


async def token_time(club: Club, device: Device) -> datetime:
    """When the phone last gave its token."""
    [row] = await club.tenant.fetch(
        "SELECT token_time FROM devices WHERE device_library_identifier = $1", device.name
    )
    moment: datetime = row["token_time"]
    return moment


async def live(club: Club, device: Device) -> set[uuid.UUID]:
    """For which passes the phone is registered."""
    rows = await registrations_of(club, device)
    return {row["pass_id"] for row in rows if row["remove_time"] is None}


async def test_a_dead_token_ends_its_registrations(registry: Registry, club: Club) -> None:
    """A token that died after it was given ends all registrations of its device, with new tags and
    one event that says why; the device can come back."""
    passes = [await club.issue() for _ in range(2)]
    ids = {uuid.UUID(each.pass_id) for each in passes}
    device, other = Device(), Device()
    for each in passes:
        await registry.register(device, club, each)
        await registry.register(other, club, each)
    before = await registrations_of(club, device)
    dead = DeadToken(
        push_token=device.token, invalidated_at=await token_time(club, device) + INSTANT
    )
    assert await forget(club, dead) == ids
    assert await forget(club, dead) == set()
    rows = await registrations_of(club, device)
    assert [row["remove_reason"] for row in rows] == [2, 2]
    assert min(row["tag"] for row in rows) > max(row["tag"] for row in before)
    assert {row["push_token"] for row in rows} == {""}
    assert await live(club, other) == ids
    [event] = await events_of(club, "pass.removed")
    assert set(event["pass_ids"]) == ids
    assert json.loads(event["detail"]) == {"reason": 2}
    assert await registry.register(device, club, passes[0])
    assert await live(club, device) == {uuid.UUID(passes[0].pass_id)}


async def test_a_token_given_since_lives(registry: Registry, club: Club) -> None:
    """A token that the device gave at the very moment of its end, or again later, or that is
    another one by now, or another pass type's, ends nothing."""
    issued = await club.issue()
    device = Device()
    await registry.register(device, club, issued)
    at = await token_time(club, device)
    assert await forget(club, DeadToken(push_token=device.token, invalidated_at=at)) == set()
    await registry.register(device, club, issued)
    assert await token_time(club, device) > at
    late = DeadToken(push_token=device.token, invalidated_at=at + INSTANT)
    assert await forget(club, late) == set()
    changed = device.with_token()
    await registry.register(changed, club, issued)
    much_later = at + timedelta(days=1)
    old = DeadToken(push_token=device.token, invalidated_at=much_later)
    new = DeadToken(push_token=changed.token, invalidated_at=much_later)
    assert await forget(club, old) == set()
    assert await forget(club, new, pass_type="pass.com.example.other") == set()
    assert await live(club, device) == {uuid.UUID(issued.pass_id)}
    assert await forget(club, old, new) == {uuid.UUID(issued.pass_id)}


async def test_all_who_have_a_dead_token_lose_it(registry: Registry, club: Club) -> None:
    """A token may be that of several device ids: those that gave it before its end go, one that
    gave it since stays; of two answers about one token the later one counts."""
    issued = await club.issue()
    early = Device()
    twin, late = Device(token=early.token), Device(token=early.token)
    for device in (early, twin, late):
        await registry.register(device, club, issued)
    between = await token_time(club, twin) + INSTANT
    dead = DeadToken(push_token=early.token, invalidated_at=between)
    stale = DeadToken(push_token=early.token, invalidated_at=between - timedelta(days=1))
    await forget(club, dead, stale)
    assert [len(await live(club, each)) for each in (early, twin, late)] == [0, 0, 1]


@pytest.mark.parametrize("count", [500])
async def test_only_the_dead_go(registry: Registry, club: Club, count: int) -> None:
    """F11: of many devices, each with a 410 from before or after its last registration, exactly
    those go whose registration is older than the 410."""
    issued = await club.issue()
    mine = await registry.authentic(club, issued)
    phones = [Device() for _ in range(count)]
    for phone in phones:
        await registry.register_as(mine, phone)
    times = [await token_time(club, phone) for phone in phones]
    for phone in phones[::4]:
        await registry.register_as(mine, phone)  # once more, after the 410 that comes now
    dead = [
        DeadToken(
            push_token=phone.token,
            invalidated_at=times[at] + (INSTANT if at % 2 == 0 else -INSTANT),
        )
        for at, phone in enumerate(phones)
    ]
    await forget(club, *dead)
    alive = [bool(await live(club, phone)) for phone in phones]
    assert alive == [at % 2 == 1 or at % 4 == 0 for at in range(count)]


async def test_pushes_are_remembered(registry: Registry, club: Club) -> None:
    """The last push of each device, and how it ended, is kept with the device."""
    issued = await club.issue()
    phones = [Device() for _ in range(5)]
    for phone in phones:
        await registry.register(phone, club, issued)
    rows = [(await registrations_of(club, phone))[0] for phone in phones]
    wanted = {
        DeviceNumber(row["device_number"]): (at % 2, "" if at % 2 else "Unregistered")
        for at, row in enumerate(rows)
    }
    for _ in range(2):
        async with club.tenant.service.services.database.transaction(club.tenant.caller) as tx:
            [row] = await tx.fetch("SELECT now()")
            await devices.record_pushes(
                tx,
                [
                    PushRecord(device_number=number, state=state, reason=reason)
                    for number, (state, reason) in wanted.items()
                ],
                now=row["now"],
            )
    kept = await club.tenant.fetch(
        "SELECT device_number, push_state, push_reason, push_time FROM devices"
    )
    assert {row["device_number"]: (row["push_state"], row["push_reason"]) for row in kept} == wanted
    assert {each["push_time"] for each in kept} == {row["now"]}
