"""Devices register and go: what is kept, what is told, and that nothing races."""

import asyncio
import json
import random
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from passmill.domain.ids import CampaignId, PassId, campaign_pass_id, new_uuid
from passmill.domain.registrations import Wallet, bucket_of
from passmill.errors import AppError, Reason
from passmill.store.registrations import MOST_DEVICES_OF_A_PASS
from passmill.usecases.authenticate_pass import AuthenticPass
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.registry import Device, Registry, events_of, pass_type_of, registrations_of
from tests.support.service import Club

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def device_token(club: Club, device: Device) -> str | None:
    """The push token that is kept of a phone."""
    rows = await club.tenant.fetch(
        "SELECT push_token FROM devices WHERE device_library_identifier = $1", device.name
    )
    return rows[0]["push_token"] if rows else None


async def test_a_device_registers_once(registry: Registry, club: Club) -> None:
    """The first registration is new, and says whose, which wallet's and of what it is; the same one
    again changes nothing but when the token was given, and is no event."""
    issued = await club.issue()
    device = Device()
    assert await registry.register(device, club, issued)
    [first] = await registrations_of(club, device)
    assert first["pass_id"] == uuid.UUID(issued.pass_id)
    assert first["bucket"] == bucket_of(PassId(first["pass_id"]))
    assert first["template_id"] == uuid.UUID(club.template_id)
    assert first["campaign_id"] is None
    assert first["push_token"] == device.token
    assert not await registry.register(device, club, issued)
    assert await registrations_of(club, device) == [first]
    [event] = await events_of(club, "pass.installed")
    assert event["pass_ids"] == [uuid.UUID(issued.pass_id)]
    assert json.loads(event["detail"]) == {
        "wallet": Wallet.APPLE,
        "system_version": "Darwin/24.1.0",
    }


async def test_a_new_token_is_taken_for_all_passes(registry: Registry, club: Club) -> None:
    """A device that registers again with another token is reached by that one for all of its
    passes, and each of its registrations gets a new tag; no other device's does."""
    passes = [await club.issue() for _ in range(3)]
    device, other = Device(), Device()
    for each in passes:
        assert await registry.register(device, club, each)
        assert await registry.register(other, club, each)
    before = {row["pass_id"]: row["tag"] for row in await registrations_of(club, device)}
    others = await registrations_of(club, other)
    changed = device.with_token()
    assert not await registry.register(changed, club, passes[0])
    rows = await registrations_of(club, device)
    assert {row["push_token"] for row in rows} == {changed.token}
    assert len({row["tag"] for row in rows}) == 1
    assert all(row["tag"] > before[row["pass_id"]] for row in rows)
    assert await registrations_of(club, other) == others


async def test_a_device_goes_and_comes_back(registry: Registry, club: Club) -> None:
    """Unregistering ends one registration, and with the last one the token goes; it is told once,
    doing it again is fine; registering once more is new, and told again."""
    passes = [await club.issue() for _ in range(2)]
    device = Device()
    for each in passes:
        await registry.register(device, club, each)
    for _ in range(2):
        await registry.unregister(device, club, passes[0])
        live, ended = await registrations_of(club, device)
        assert (live["remove_time"], live["push_token"]) == (None, device.token)
        assert ended["remove_reason"] == 1
        assert ended["tag"] > live["tag"]
    await registry.unregister(device, club, passes[1])
    assert await device_token(club, device) == ""
    events = await events_of(club, "pass.removed")
    assert [event["pass_ids"] for event in events] == [[uuid.UUID(p.pass_id)] for p in passes]
    assert [json.loads(event["detail"]) for event in events] == [{"reason": 1}] * 2
    last = max(row["tag"] for row in await registrations_of(club, device))
    assert await registry.register(device, club, passes[0])
    live, _ = await registrations_of(club, device)
    assert (live["remove_time"], live["remove_reason"]) == (None, None)
    assert live["tag"] > last
    assert live["push_token"] == device.token
    assert len(await events_of(club, "pass.installed")) == 3


async def test_an_unknown_device_may_go(registry: Registry, club: Club) -> None:
    """Unregistering what was never registered is fine, and leaves nothing."""
    issued = await club.issue()
    await registry.unregister(Device(), club, issued)
    assert await club.tenant.count("devices") == 0
    assert await events_of(club, "pass.removed") == []


async def test_tokens_of_another_generation_are_worth_nothing(
    registry: Registry, club: Club
) -> None:
    """When a pass's tokens are of a new generation, whoever has an old one can neither register
    nor unregister nor see it; nothing of it is kept."""
    issued = await club.issue()
    old = await registry.authentic(club, issued)
    device = Device()
    await registry.register(device, club, issued)
    await club.tenant.fetch("UPDATE passes SET token_generation = 1")
    before = await registrations_of(club, device)
    for attempt in (
        registry.register_as(old, device),
        registry.register_as(old, device.with_token()),
        registry.register_as(old, Device()),
        registry.unregister_device(old, device.name),
        registry.serve.version(old),
        registry.serve.bundle(old),
    ):
        with pytest.raises(AppError) as refusal:
            await attempt
        assert refusal.value.reason is Reason.NOT_FOUND
    assert await registrations_of(club, device) == before
    assert await club.tenant.count("devices") == 1
    assert not await registry.register(device, club, issued)


async def test_a_pass_is_not_of_another_pass_type(registry: Registry, club: Club) -> None:
    """Another pass type of the same tenant is not the pass's: under it there is nothing."""
    issued = await club.issue()
    mine = await registry.authentic(club, issued)
    foreign = AuthenticPass(
        caller=mine.caller,
        pass_id=mine.pass_id,
        pass_type_identifier="pass.com.example.other",
        token_generation=0,
    )
    device = Device()
    for attempt in (
        registry.register_as(foreign, device),
        registry.unregister_device(foreign, device.name),
        registry.serve.version(foreign),
        registry.serve.bundle(foreign),
    ):
        with pytest.raises(AppError) as refusal:
            await attempt
        assert refusal.value.reason is Reason.NOT_FOUND
    assert await club.tenant.count("devices") == 0


@pytest.mark.parametrize("campaigns", [0, 1, 2])
async def test_a_campaigns_pass_is_counted_for_it(
    registry: Registry, club: Club, campaigns: int
) -> None:
    """A registration knows the campaign that issued its pass; not, when two began in the same
    millisecond, which one it was."""
    await club.issue()
    first = new_uuid()
    ids = [CampaignId(uuid.UUID(bytes=first.bytes[:15] + bytes([n]))) for n in range(campaigns)]
    for campaign_id in ids:
        await club.tenant.fetch(
            "INSERT INTO campaigns (tenant_id, campaign_id, display_name, action, definition,"
            " state, state_reason, priority, version, total, invalid, first_reference, void_issued,"
            " create_time) VALUES ($1, $2, 'Spring', 1, '{}', 1, '', 1, 1, 0, 0, 0, false, now())",
            club.tenant.caller.tenant_id,
            campaign_id,
        )
    pass_id = campaign_pass_id(CampaignId(first), "member-1")
    await club.tenant.fetch("UPDATE passes SET pass_id = $1", pass_id)
    mine = AuthenticPass(
        caller=club.tenant.caller,
        pass_id=pass_id,
        pass_type_identifier=await pass_type_of(club),
        token_generation=0,
    )
    device = Device()
    assert await registry.register_as(mine, device)
    [row] = await registrations_of(club, device)
    assert row["campaign_id"] == (ids[0] if campaigns == 1 else None)


async def test_another_wallet_is_news_for_all_passes(registry: Registry, club: Club) -> None:
    """A device that registers again by another wallet's scheme, with the same token, is that
    wallet's for all of its passes, and each of its registrations gets a new tag, so that the
    fan-out index hears of it; the same wallet again is no news."""
    passes = [await club.issue() for _ in range(3)]
    device = Device()
    for each in passes:
        await registry.register(device, club, each)
    before = {row["pass_id"]: row["tag"] for row in await registrations_of(club, device)}
    android = replace(device, wallet=Wallet.ANDROID_PASS)
    assert not await registry.register(android, club, passes[0])
    rows = await registrations_of(club, device)
    assert {(row["wallet"], row["push_token"]) for row in rows} == {
        (Wallet.ANDROID_PASS, device.token)
    }
    assert all(row["tag"] > before[row["pass_id"]] for row in rows)
    assert not await registry.register(android, club, passes[1])
    assert await registrations_of(club, device) == rows


async def test_a_pass_is_on_so_many_devices(registry: Registry, club: Club) -> None:
    """The 1,000th device may register, the next is told to come back in an hour, and nothing of it
    is kept; those that are there may register again, also with another token, and when one goes
    there is room for another."""
    issued = await club.issue()
    pass_id = uuid.UUID(issued.pass_id)
    first = Device()
    await registry.register(first, club, issued)
    await club.tenant.fetch(
        "INSERT INTO registrations (tenant_id, device_number, pass_id, bucket, tag, template_id,"
        " create_time) SELECT $1, n, $2, $3, 1, $4, now() FROM generate_series(1, $5::int) AS n",
        club.tenant.caller.tenant_id,
        pass_id,
        bucket_of(PassId(pass_id)),
        uuid.UUID(club.template_id),
        MOST_DEVICES_OF_A_PASS - 2,
    )
    last, beyond = Device(), Device()
    assert await registry.register(last, club, issued)
    for _ in range(2):
        with pytest.raises(AppError) as refusal:
            await registry.register(beyond, club, issued)
        assert refusal.value.reason is Reason.RATE_LIMITED
        assert refusal.value.retry_after == timedelta(hours=1)
        assert await device_token(club, beyond) is None
    for again in (first, first.with_token()):
        assert not await registry.register(again, club, issued)
        assert await device_token(club, again) == again.token
    assert await registry.register(beyond, club, await club.issue())
    with pytest.raises(AppError):
        await registry.register(beyond.with_token(), club, issued)
    assert await device_token(club, beyond) == beyond.token
    await registry.unregister(last, club, issued)
    assert await registry.register(beyond, club, issued)


async def test_many_at_once_are_one(registry: Registry, club: Club) -> None:
    """F15: of 200 registrations of one device and pass at once, half with a new token, exactly one
    is new and none fails; one row is left, with the token of the last to commit."""
    issued = await club.issue()
    mine = await registry.authentic(club, issued)
    device = Device()
    other = device.with_token()
    phones = [device, other] * 100
    random.Random(15).shuffle(phones)  # noqa: S311 - a seeded choice
    commits = await asyncio.gather(*(registry.register_as(mine, each) for each in phones))
    assert sorted(commits) == [False] * 199 + [True]
    [row] = await registrations_of(club, device)
    # Whoever committed last gave its token last: the database's own times say so.
    assert row["push_token"] in {device.token, other.token}
    assert len(await events_of(club, "pass.installed")) == 1
    for last in (device, other, other):
        assert not await registry.register_as(mine, last)
        assert await device_token(club, device) == last.token


async def test_coming_and_going_at_once_leaves_no_half(registry: Registry, club: Club) -> None:
    """F15: while one device registers and unregisters for several passes with changing tokens, and
    is forgotten in between, no call fails, and in the end no registration is without device and no
    device with a live registration without token."""
    passes = [await club.issue() for _ in range(3)]
    proofs = [await registry.authentic(club, each) for each in passes]
    devices = [Device() for _ in range(2)]
    tokens = [device.with_token() for device in devices for _ in range(2)]
    choice = random.Random(151)  # noqa: S311 - a seeded choice

    async def act() -> None:
        for _ in range(25):
            device, mine = choice.choice(tokens), choice.choice(proofs)
            what = choice.random()
            if what < 0.5:
                await registry.register_as(mine, device)
            elif what < 0.9:
                await registry.unregister_device(mine, device.name)
            else:
                # As if everything that ended had ended long ago.
                await club.tenant.fetch(
                    "UPDATE registrations SET remove_time = remove_time - interval '60 days'"
                    " WHERE pass_id = (SELECT pass_id FROM registrations"
                    " WHERE remove_time > now() - interval '1 day' LIMIT 1)"
                    " AND remove_time IS NOT NULL"
                )
                await registry.forget_devices()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(act())
    halves = await club.tenant.fetch(
        "SELECT FROM registrations r WHERE NOT EXISTS (SELECT FROM devices d"
        " WHERE d.tenant_id = r.tenant_id AND d.device_number = r.device_number)"
        " OR r.remove_time IS NULL AND (SELECT push_token FROM devices d"
        " WHERE d.tenant_id = r.tenant_id AND d.device_number = r.device_number) = ''"
    )
    silent = await club.tenant.fetch(
        "SELECT FROM devices d WHERE push_token <> '' AND NOT EXISTS (SELECT FROM registrations r"
        " WHERE r.device_number = d.device_number AND r.remove_time IS NULL)"
    )
    assert (halves, silent) == ([], [])


async def test_the_tags_follow_a_token(registry: Registry, club: Club) -> None:
    """While devices register for more passes with ever other tokens, whoever reads registrations by
    their tags, each time from the last complete tag on, ends with each device's present token for
    each of its passes: the fan-out index does just that."""
    passes = [await club.issue() for _ in range(8)]
    proofs = [await registry.authentic(club, each) for each in passes]
    device = Device()
    index: dict[uuid.UUID, str] = {}
    complete = 0
    is_over = False

    async def follow() -> None:
        nonlocal complete
        [seen] = await club.tenant.fetch(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1 AS complete,"
            " ARRAY(SELECT pass_id FROM registrations WHERE tag > $1 ORDER BY pass_id) AS passes,"
            " ARRAY(SELECT (SELECT push_token FROM devices d WHERE d.tenant_id = r.tenant_id"
            " AND d.device_number = r.device_number) FROM registrations r WHERE tag > $1"
            " ORDER BY pass_id) AS tokens",
            complete,
        )
        index.update(zip(seen["passes"], seen["tokens"], strict=True))
        complete = seen["complete"]

    async def follow_until_over() -> None:
        while not is_over:
            await follow()

    async def register(seed: int) -> None:
        choice = random.Random(seed)  # noqa: S311 - a seeded choice
        for _ in range(20):
            mine = choice.choice(proofs)
            await registry.register_as(mine, device.with_token(f"{choice.randrange(9):02}"))

    follower = asyncio.create_task(follow_until_over())
    await asyncio.gather(*(register(seed) for seed in range(6)))
    is_over = True
    await follower
    await follow()
    rows = await registrations_of(club, device)
    assert index == {row["pass_id"]: row["push_token"] for row in rows}


async def test_wallets_of_android_register_too(registry: Registry, club: Club) -> None:
    """What a device says of its wallet and system is kept, and renewed when it says otherwise."""
    issued = await club.issue()
    device = Device(wallet=Wallet.WALLET_UNION, token="fcm:abc_1", system_version="Android/14")
    await registry.register(device, club, issued)
    [row] = await registrations_of(club, device)
    assert (row["wallet"], row["system_version"]) == (Wallet.WALLET_UNION, "Android/14")


async def test_what_ended_long_ago_is_forgotten(registry: Registry, club: Club) -> None:
    """Registrations that ended 30 days ago go, counted by their days, and devices with no other
    registration; those that live or ended later stay."""
    passes = [await club.issue() for _ in range(2)]
    gone, half_gone, recent = Device(), Device(), Device()
    for device in (gone, half_gone, recent):
        for each in passes:
            await registry.register(device, club, each)
    await registry.unregister(gone, club, passes[0])
    await registry.unregister(gone, club, passes[1])
    await registry.unregister(half_gone, club, passes[0])
    long_ago = datetime.now(UTC) - timedelta(days=31)
    await club.tenant.fetch(
        "UPDATE registrations SET remove_time = $1, create_time = $1 WHERE remove_time IS NOT NULL",
        long_ago,
    )
    await registry.unregister(recent, club, passes[0])
    while await registry.forget_devices():
        pass
    assert await device_token(club, gone) is None
    assert [row["remove_time"] for row in await registrations_of(club, half_gone)] == [None]
    assert len(await registrations_of(club, recent)) == 2
    counted = await club.tenant.fetch("SELECT install_day, remove_day, count FROM install_counts")
    assert [tuple(row) for row in counted] == [(long_ago.date(), long_ago.date(), 3)]


async def test_a_forgotten_device_is_new(registry: Registry, club: Club) -> None:
    """A device that was forgotten registers as any other, whatever tag it gives back."""
    issued: Pass = await club.issue()
    device = Device()
    await registry.register(device, club, issued)
    updated = await registry.list(device, club)
    assert updated is not None
    await registry.unregister(device, club, issued)
    await club.tenant.fetch("UPDATE registrations SET remove_time = '2020-01-01Z'")
    while await registry.forget_devices():
        pass
    assert await registry.register(device, club, issued)
    assert await registry.listed(device, club, updated.last_updated) == {issued.serial_number}


async def test_what_a_registration_left_behind_is_forgotten(registry: Registry, club: Club) -> None:
    """A device that is in the table without any registration, as where a process died between two
    statements, goes after a day; one of an hour ago stays, and so does one that has a pass."""
    issued = await club.issue()
    bare, fresh, holder = Device(), Device(), Device()
    for device in (bare, fresh, holder):
        await registry.register(device, club, issued)
    for device in (bare, fresh):
        await club.tenant.fetch(
            "DELETE FROM registrations WHERE device_number = (SELECT device_number FROM devices"
            " WHERE device_library_identifier = $1)",
            device.name,
        )
    for device, hours in ((bare, 25), (fresh, 1), (holder, 25)):
        await club.tenant.fetch(
            "UPDATE devices SET create_time = now() - make_interval(hours => $2)"
            " WHERE device_library_identifier = $1",
            device.name,
            hours,
        )
    for _ in range(3):
        await registry.forget_devices.forget_bare()
    assert await device_token(club, bare) is None
    assert await device_token(club, fresh) is not None
    assert await device_token(club, holder) is not None
