"""The sharing policy of a template: one device too many is told of, and nobody honest is kept
out."""

import asyncio
import random
import uuid
from datetime import timedelta

import pytest

from passmill.domain.registrations import Wallet
from passmill.domain.templates import SharingExcess
from passmill.store import passes
from passmill.store.sharing import MOST_OVER_SHARES
from tests.support.registry import Device, Registry, events_of, registrations_of
from tests.support.service import Service
from tests.support.sharing import (
    DECAY,
    add_sharing_club,
    age,
    excesses,
    holders_of,
    is_refused,
    let_token_die,
    policy,
    pushed_devices,
)
from tests.support.voiding import void

pytestmark = pytest.mark.asyncio(loop_scope="session")

FREE = [SharingExcess.ALLOW, SharingExcess.FLAG, SharingExcess.VOID_AND_REISSUE]


async def test_one_too_many_is_refused(registry: Registry, service: Service) -> None:
    """Of a pass for two devices the third is refused, each time, told of once, and not kept; those
    that have the pass may register again, also with another token; one that goes makes room."""
    club = await add_sharing_club(service, policy(2))
    issued = await club.issue()
    first, second, third = Device(), Device(), Device()
    assert await registry.register(first, club, issued)
    assert await registry.register(second, club, issued)
    for _ in range(3):
        assert await is_refused(registry, third, club, issued)
    assert await registrations_of(club, third) == []
    assert await club.tenant.count("devices") == 2
    assert await excesses(club) == [
        {
            "action": "refuse",
            "device_count": 3,
            "max_devices": 2,
            "wallet": Wallet.APPLE,
            "system_version": "Darwin/24.1.0",
        }
    ]
    assert not await registry.register(first, club, issued)
    assert not await registry.register(second.with_token(), club, issued)
    await registry.unregister(first, club, issued)
    assert await registry.register(third, club, issued)
    assert await is_refused(registry, first, club, issued)
    assert await holders_of(club, issued) == {second.name, third.name}
    assert len(await excesses(club)) == 2


async def test_a_refused_device_keeps_its_other_passes(
    registry: Registry, service: Service
) -> None:
    """A phone that is refused for one pass has its others as before, by the token it had; the limit
    is each pass's own."""
    club = await add_sharing_club(service, policy(2))
    shared, own = [await club.issue() for _ in range(2)]
    phone = Device()
    for device in (Device(), Device()):
        await registry.register(device, club, shared)
    assert await registry.register(phone, club, own)
    before = await registrations_of(club, phone)
    assert await is_refused(registry, phone.with_token(), club, shared)
    assert await registrations_of(club, phone) == before


@pytest.mark.parametrize("excess", FREE)
async def test_one_too_many_may_register(
    registry: Registry, service: Service, excess: SharingExcess
) -> None:
    """Where an excess is not refused, the device registers like any other, is told of once, and
    only FLAG gives the pass its tag."""
    club = await add_sharing_club(service, policy(2, excess))
    issued = await club.issue()
    phones = [Device() for _ in range(4)]
    for phone in phones:
        assert await registry.register(phone, club, issued)
        assert not await registry.register(phone, club, issued)
    assert await holders_of(club, issued) == {phone.name for phone in phones}
    told = [(each["action"], each["device_count"]) for each in await excesses(club)]
    assert told == [(excess.value, 3), (excess.value, 4)]
    assert len(await events_of(club, "pass.installed")) == 4
    tags = (await club.get(issued)).tags
    assert list(tags) == (["over_shared"] if excess is SharingExcess.FLAG else [])
    assert await club.tenant.count("pass_reissues") == (
        1 if excess is SharingExcess.VOID_AND_REISSUE else 0
    )


async def test_no_policy_has_no_trace(registry: Registry, service: Service) -> None:
    """Without a policy, or with one that limits nothing, any number registers and nothing is told:
    such a revision is not even marked."""
    for sharing in (None, policy(0)):
        club = await add_sharing_club(service, sharing)
        issued = await club.issue()
        for _ in range(5):
            assert await registry.register(Device(), club, issued)
        assert await excesses(club) == []
        [row] = await club.tenant.fetch("SELECT sharing FROM template_revisions")
        assert row["sharing"] is None


async def test_a_changed_phone_replaces_the_silent_one(
    registry: Registry, service: Service
) -> None:
    """A holder's new phone gets in once the old one has not been seen for as long as the policy
    says, and not a day before."""
    club = await add_sharing_club(service, policy(1))
    issued = await club.issue()
    old, new = Device(), Device()
    await registry.register(old, club, issued)
    await age(club, old, days=DECAY - 1)
    assert await is_refused(registry, new, club, issued)
    await age(club, old, days=1)
    assert await registry.register(new, club, issued)


async def test_a_changed_phone_replaces_the_dead_one(registry: Registry, service: Service) -> None:
    """A refused phone has the others pushed, once; the old one's token turns out to be gone, and
    the new one gets in at once."""
    club = await add_sharing_club(service, policy(1))
    issued = await club.issue()
    old, new = Device(), Device()
    await registry.register(old, club, issued)
    assert await pushed_devices(club) == set()
    assert await is_refused(registry, new, club, issued)
    assert await pushed_devices(club) == {old.name}
    jobs = await club.tenant.fetch("SELECT id FROM pgqueuer.pgqueuer WHERE entrypoint = 'push'")
    assert await is_refused(registry, new, club, issued)
    assert jobs == await club.tenant.fetch(
        "SELECT id FROM pgqueuer.pgqueuer WHERE entrypoint = 'push'"
    )
    await let_token_die(club, old)
    assert await registry.register(new, club, issued)
    assert len(await excesses(club)) == 1


async def test_a_phone_restored_under_a_new_name(registry: Registry, service: Service) -> None:
    """The same token under another device id is the same device: a pass bound to one device lets
    it in, where two may be there is room for one more, and no excess is told."""
    club = await add_sharing_club(service, policy(1, binds=True))
    issued = await club.issue()
    before = Device()
    await registry.register(before, club, issued)
    assert await registry.register(Device(token=before.token), club, issued)
    assert await excesses(club) == []

    club = await add_sharing_club(service, policy(2))
    issued = await club.issue()
    for device in (before, Device(token=before.token), Device()):
        assert await registry.register(device, club, issued)
    assert await excesses(club) == []


async def test_a_reinstalled_pass(registry: Registry, service: Service) -> None:
    """A phone that removes the pass and adds it again gets in, with a new token as well, whatever
    the policy."""
    for binds in (False, True):
        club = await add_sharing_club(service, policy(1, binds=binds))
        issued = await club.issue()
        phone = Device()
        for device in (phone, phone, phone.with_token()):
            assert await registry.register(device, club, issued)
            await registry.unregister(device, club, issued)
        assert await excesses(club) == []


@pytest.mark.parametrize("watch_first", [False, True])
async def test_a_watch_beside_the_phone(
    registry: Registry, service: Service, watch_first: bool
) -> None:
    """A watch with a token of its own gets in beside the phone where two may, whichever comes
    first, also where the pass is bound; one that is reached by the phone's token where one may."""
    for binds in (False, True):
        club = await add_sharing_club(service, policy(2, SharingExcess.REFUSE, binds=binds))
        issued = await club.issue()
        pair = [Device(), Device(system_version="Darwin/24.0.0")]
        for device in reversed(pair) if watch_first else pair:
            assert await registry.register(device, club, issued)
        assert await is_refused(registry, Device(), club, issued)
        single = await add_sharing_club(service, policy(1, binds=binds))
        issued = await single.issue()
        phone = Device()
        for device in (phone, Device(token=phone.token)):
            assert await registry.register(device, single, issued)
        assert await excesses(single) == []


async def test_a_bound_pass_is_not_handed_on(registry: Registry, service: Service) -> None:
    """A pass bound to its first device stays so when that removes the pass: another is refused
    until the decay has passed since, or the first one's token is gone; without binding it gets in
    at once."""
    free = await add_sharing_club(service, policy(1))
    bound = await add_sharing_club(service, policy(1, binds=True))
    for club in (free, bound):
        issued = await club.issue()
        first, other = Device(), Device()
        await registry.register(first, club, issued)
        await registry.unregister(first, club, issued)
        assert await is_refused(registry, other, club, issued) is (club is bound)
    await age(bound, first, days=DECAY)
    assert await registry.register(other, bound, issued)

    issued = await bound.issue()
    first, other = Device(), Device()
    await registry.register(first, bound, issued)
    await let_token_die(bound, first)
    assert await registry.register(other, bound, issued)


async def test_who_has_the_pass_keeps_it(registry: Registry, service: Service) -> None:
    """When a pass gets a revision with a stricter policy, the devices that have it stay and may
    register again; a further one is refused."""
    club = await add_sharing_club(service, None)
    issued = await club.issue()
    phones = [Device() for _ in range(3)]
    for phone in phones:
        await registry.register(phone, club, issued)
    strict = await add_sharing_club(service, policy(1))
    [row] = await strict.tenant.fetch("SELECT sharing FROM template_revisions")
    await club.tenant.fetch(
        "INSERT INTO template_revisions (tenant_id, revision_id, template_id, number, content,"
        " pass_type_identifier, team_identifier, web_service_url, publish_time, sharing)"
        " SELECT tenant_id, 7, template_id, 2, content, pass_type_identifier, team_identifier,"
        " web_service_url, publish_time, $1 FROM template_revisions",
        row["sharing"],
    )
    await club.tenant.fetch("UPDATE passes SET revision_id = 7")
    for phone in phones:
        assert not await registry.register(phone, club, issued)
    assert not await registry.register(phones[0].with_token(), club, issued)
    assert await is_refused(registry, Device(), club, issued)


async def test_a_voided_pass_limits_nobody(registry: Registry, service: Service) -> None:
    """Whoever registers for a voided pass gets in, to hear that it is voided."""
    club = await add_sharing_club(service, policy(1))
    issued = await club.issue()
    await registry.register(Device(), club, issued)
    await void(club, issued)
    assert await registry.register(Device(), club, issued)
    assert await excesses(club) == []


async def test_all_at_once(registry: Registry, service: Service) -> None:
    """Of 60 phones that register at once, three times each, for one pass of three, exactly three
    get in, and each of the others is told of once."""
    club = await add_sharing_club(service, policy(3))
    issued = await club.issue()
    phones = [Device() for _ in range(60)] * 3
    random.Random(3).shuffle(phones)  # noqa: S311 - a seeded choice
    refused = await asyncio.gather(*(is_refused(registry, phone, club, issued) for phone in phones))
    holders = await holders_of(club, issued)
    assert len(holders) == 3
    names = {phone.name for phone, was in zip(phones, refused, strict=True) if not was}
    assert names == holders
    assert sorted(refused) == [False] * 9 + [True] * 171
    assert len(await excesses(club)) == 57
    assert await club.tenant.count("devices") == 3


async def test_a_registration_waits_for_no_change(registry: Registry, service: Service) -> None:
    """While somebody holds the pass's row, a device under a policy is admitted and another refused,
    and the one admitted is pushed, as it may have missed the change."""
    club = await add_sharing_club(service, policy(1))
    issued = await club.issue()
    mine = await registry.authentic(club, issued)
    phone = Device()
    async with registry.database.transaction(mine.caller) as tx:
        await passes.lock_pass(tx, mine.pass_id)
        assert await registry.register(phone, club, issued)
        assert await pushed_devices(club) == {phone.name}
        assert await is_refused(registry, Device(), club, issued)


async def test_nobody_waits_in_a_circle(registry: Registry, service: Service) -> None:
    """While phones come and go for several passes with ever other tokens, no call fails but those
    refused, and no pass is ever on more devices than it may be on."""
    club = await add_sharing_club(service, policy(2))
    passes = [await club.issue() for _ in range(3)]
    proofs = [await registry.authentic(club, each) for each in passes]
    devices = [Device() for _ in range(5)]
    choice = random.Random(12)  # noqa: S311 - a seeded choice

    async def act() -> None:
        for _ in range(25):
            at, device = choice.randrange(3), choice.choice(devices)
            if choice.random() < 0.6:
                token = f"{device.name}{choice.randrange(2)}".encode().hex()
                await is_refused(registry, device.with_token(token), club, passes[at])
            else:
                await registry.unregister_device(proofs[at], device.name)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(act())
    for each in passes:
        assert len(await holders_of(club, each)) <= 2


async def test_made_up_devices_are_told_of_so_often(registry: Registry, service: Service) -> None:
    """Whoever has a pass's token and makes up devices without end writes no events without end."""
    club = await add_sharing_club(service, policy(1))
    issued = await club.issue()
    await registry.register(Device(), club, issued)
    await club.tenant.fetch(
        "INSERT INTO over_shares (tenant_id, pass_id, token_hash, create_time)"
        " SELECT $1, $2, int4send(n), now() FROM generate_series(1, $3::int) AS n",
        club.tenant.caller.tenant_id,
        uuid.UUID(issued.pass_id),
        MOST_OVER_SHARES - 1,
    )
    for _ in range(3):
        assert await is_refused(registry, Device(), club, issued)
    assert len(await excesses(club)) == 1


async def test_excesses_are_forgotten(registry: Registry, service: Service) -> None:
    """A device that was one too many is remembered for 30 days; when it comes again after that, it
    is told of again."""
    club = await add_sharing_club(service, policy(1))
    issued = await club.issue()
    await registry.register(Device(), club, issued)
    other = Device()
    assert await is_refused(registry, other, club, issued)
    while await registry.forget_devices():
        pass
    assert await club.tenant.count("over_shares") == 1
    [row] = await club.tenant.fetch("DELETE FROM over_shares RETURNING *")
    await club.tenant.fetch(
        "INSERT INTO over_shares VALUES ($1, $2, $3, $4)",
        *(row["tenant_id"], row["pass_id"], row["token_hash"]),
        row["create_time"] - timedelta(days=31),
    )
    while await registry.forget_devices():
        pass
    assert await club.tenant.count("over_shares") == 0
    assert await is_refused(registry, other, club, issued)
    assert len(await excesses(club)) == 2
