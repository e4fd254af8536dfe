"""Whose pass it is, where the pass type does not say: the token does; and guesses give nothing."""

import asyncio
import secrets
import uuid

import pytest

from passmill.domain.ids import PassId, encode_base32
from passmill.domain.registrations import UpdateTag
from passmill.errors import AppError
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.bundles import pass_json
from tests.support.registry import (
    Device,
    Registry,
    add_registry_club,
    deadline,
    pass_type_of,
    registrations_of,
)
from tests.support.service import Club, Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHARED = "pass.com.example.shared"


async def token_of(registry: Registry, club: Club, issued: Pass) -> str:
    """The token in the pass."""
    served = await registry.serve.bundle(await registry.authentic(club, issued))
    token: str = pass_json(served.content)["authenticationToken"]
    return token


async def test_two_tenants_with_one_pass_type(service: Service, registry: Registry) -> None:
    """Two tenants have the same pass type, and a phone holds passes of both: each token opens its
    own pass alone, both are listed together under one tag, and neither tenant sees the other's
    registrations."""
    clubs = [await add_registry_club(service, SHARED) for _ in range(2)]
    passes = [await club.issue() for club in clubs]
    tokens = [await token_of(registry, *each) for each in zip(clubs, passes, strict=True)]
    for at, issued in enumerate(passes):
        for token_at, token in enumerate(tokens):
            found = await registry.authenticate(
                SHARED, issued.serial_number, token, deadline=deadline()
            )
            assert (found is not None) == (at == token_at)
            if found is not None:
                assert str(found.caller.tenant_id) == clubs[at].tenant.tenant_id
    device = Device()
    for club, issued in zip(clubs, passes, strict=True):
        assert await registry.register(device, club, issued)
        assert len(await registrations_of(club, device)) == 1
    since, told = UpdateTag(0), set[str]()
    async with asyncio.timeout(30):
        while (updated := await registry.list(device, clubs[0], since)) is not None:
            told |= set(updated.serial_numbers)
            since = updated.last_updated
    assert told == {each.serial_number for each in passes}
    for club, issued in zip(clubs, passes, strict=True):
        await club.update(issued, "holder.name", wanted=Pass(holder=Holder(name="Grace")))
        updated = await registry.list(device, club, since)
        assert updated is not None
        assert updated.serial_numbers == [issued.serial_number]
        async with asyncio.timeout(30):
            while (updated := await registry.list(device, club, since)) is not None:
                since = updated.last_updated


async def test_a_new_tenant_is_heard_of(service: Service, registry: Registry) -> None:
    """A pass type that nobody had a moment ago, and was asked for, is known soon after somebody
    has it."""
    name = "pass.com.example.new"
    assert await registry.list_updated_passes("x", name, UpdateTag(0), deadline=deadline()) is None
    club = await add_registry_club(service, name)
    issued = await club.issue()
    token = registry.service.services.keyring.pass_tokens.of(
        club.tenant.caller.tenant_id, PassId(uuid.UUID(issued.pass_id)), 0
    )
    async with asyncio.timeout(10):
        while not await registry.authenticate(  # noqa: ASYNC110 - time is what passes
            name, issued.serial_number, token, deadline=deadline()
        ):
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("count", [2_000])
async def test_guesses_give_nothing(registry: Registry, club: Club, count: int) -> None:
    """Random devices, serial numbers and tokens, of pass types that exist or not, yield nothing,
    not even with a true serial number or a true token of another pass."""
    issued, other = await club.issue(), await club.issue()
    device = Device()
    await registry.register(device, club, issued)
    mine, token = await pass_type_of(club), await token_of(registry, club, other)
    kinds = [mine, "pass.com.example.unknown", "", "\x00", "ü" * 300, mine + "\ud800"]
    for at in range(count // 2):
        kind = kinds[at % len(kinds)]
        serial = (
            encode_base32(secrets.token_bytes(16)) if at % 3 else secrets.token_urlsafe(at % 40)
        )
        for serial_number, given in (
            (serial, token),
            (issued.serial_number, secrets.token_urlsafe(24)),
            (issued.serial_number, token),
            (other.serial_number, token[:-1]),
        ):
            assert (
                await registry.authenticate(kind, serial_number, given, deadline=deadline()) is None
            )
        names = [secrets.token_hex(16), device.name[:-1], "\x00", "\ud800"]
        name = names[at // len(kinds) % len(names)]
        assert (
            await registry.list_updated_passes(name, kind, UpdateTag(at), deadline=deadline())
            is None
        )


async def test_a_wrong_token_costs_no_read(registry: Registry, club: Club) -> None:
    """Once a pass type's tenants are known, wrong tokens are refused while the database is not even
    asked: with no time left for it, the answer is the same."""
    issued = await club.issue()
    mine = await pass_type_of(club)
    await registry.authentic(club, issued)
    for _ in range(100):
        no_time = asyncio.get_running_loop().time() - 1
        found = await registry.authenticate(mine, issued.serial_number, "wrong", deadline=no_time)
        assert found is None
    with pytest.raises(AppError):
        await registry.list_updated_passes("x", mine, UpdateTag(0), deadline=no_time)
