"""Update tags against a plain model: changes that are held open, committed or given up in any
order, devices that register, go, list, and lose answers; in the end each has the newest of all."""

import asyncio
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from passmill.domain.registrations import UpdateTag
from passmill.usecases.authenticate_pass import AuthenticPass
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.postgres import Database
from tests.support.registry import CALL_SECONDS, Device, Registry, open_registry
from tests.support.service import Club, open_service

T = TypeVar("T")

PASSES: Final = 4
DEVICES: Final = 2
# Nothing of ours is under way then; what else is on the server ends soon.
SILENT_AFTER_SECONDS: Final = 30

_CHANGE: Final = (
    "UPDATE passes SET update_tag = pg_current_xact_id()::text::bigint, version = version + 1"
    " WHERE pass_id = $1"
)

passes = st.integers(0, PASSES - 1)
devices = st.integers(0, DEVICES - 1)


@dataclass(kw_only=True)
class Phone:
    """A device, and what it must know. `held`: the version it has of each pass it is registered
    for; it registers with one from before."""

    device: Device = field(default_factory=Device)
    since: UpdateTag = UpdateTag(0)  # noqa: RUF009 - a number
    held: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class World:
    """What all runs share: a tenant, its passes, and connections to change them by."""

    runner: asyncio.Runner
    registry: Registry
    club: Club
    passes: list[Pass]
    proofs: list[AuthenticPass]
    url: str

    def run(self, call: Awaitable[T]) -> T:
        """Waits for a call."""

        async def wait() -> T:
            return await call

        return self.runner.run(wait())

    def proof(self, at: int) -> AuthenticPass:
        """A pass that was proved, as for a call that begins now."""
        proved = self.proofs[at]
        deadline = self.runner.get_loop().time() + CALL_SECONDS
        return replace(proved, caller=replace(proved.caller, deadline=deadline))


class TagLife(RuleBasedStateMachine):
    """Passes, phones, and changes under way."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._phones = [Phone() for _ in range(DEVICES)]
        self._open: dict[int, tuple[asyncpg.Connection, asyncpg.transaction.Transaction]] = {}

    @initialize()
    def hold(self) -> None:
        """Every phone has every pass, and has listed."""
        for number in range(DEVICES):
            for at in range(PASSES):
                self.register(number, at, renews=False)
            self.list_passes(number, is_heard=True)

    @rule(at=passes)
    def begin_change(self, at: int) -> None:
        """A change gets its number now and commits some time later."""
        if at not in self._open:
            self._open[at] = self._world.run(self._begin(at))

    async def _begin(self, at: int) -> tuple[asyncpg.Connection, asyncpg.transaction.Transaction]:
        connection = await asyncpg.connect(self._world.url)
        transaction = connection.transaction()
        await transaction.start()
        tenant_id = int(self._world.club.tenant.tenant_id)
        await connection.execute(f"SET LOCAL passmill.tenant_id = '{tenant_id}'")
        await connection.execute(_CHANGE, uuid.UUID(self._world.passes[at].pass_id))
        return connection, transaction

    async def _end(self, at: int, *, commits: bool) -> None:
        connection, transaction = self._open.pop(at)
        await (transaction.commit() if commits else transaction.rollback())
        await connection.close()

    @precondition(lambda self: self._open)
    @rule(data=st.data(), commits=st.booleans())
    def end_change(self, data: st.DataObject, commits: bool) -> None:
        """One of the changes under way commits, or is given up."""
        at = data.draw(st.sampled_from(sorted(self._open)))
        self._world.run(self._end(at, commits=commits))

    @rule(at=passes)
    def change(self, at: int) -> None:
        """A change that commits at once."""
        if at not in self._open:
            self._open[at] = self._world.run(self._begin(at))
            self._world.run(self._end(at, commits=True))

    @rule(number=devices, at=passes, renews=st.booleans())
    def register(self, number: int, at: int, renews: bool) -> None:
        """A phone registers for a pass of which it has an old version, maybe by a new token. Not
        while a change is under way, whose end it would wait for."""
        if at in self._open:
            return
        phone = self._phones[number]
        if renews:
            phone.device = phone.device.with_token()
        world = self._world
        is_new = world.run(world.registry.register_as(world.proof(at), phone.device))
        assert is_new == (at not in phone.held)
        phone.held.setdefault(at, 0)

    @rule(number=devices, at=passes)
    def unregister(self, number: int, at: int) -> None:
        """A phone gives a pass up."""
        phone, world = self._phones[number], self._world
        world.run(world.registry.unregister_device(world.proof(at), phone.device.name))
        phone.held.pop(at, None)

    @rule(number=devices, is_heard=st.booleans())
    def list_passes(self, number: int, is_heard: bool) -> None:
        """A phone lists, and fetches what it is told of; or the answer is lost on its way."""
        self._world.run(self._list(self._phones[number], is_heard=is_heard))

    async def _list(self, phone: Phone, *, is_heard: bool) -> bool:
        world = self._world
        updated = await world.registry.list(phone.device, world.club, phone.since)
        if updated is None:
            return False
        told = {
            at
            for at, issued in enumerate(world.passes)
            if issued.serial_number in updated.serial_numbers
        }
        assert len(updated.serial_numbers) == len(told)
        assert told <= phone.held.keys()
        if is_heard:
            versions = await self._versions()
            phone.held.update({at: versions[at] for at in told})
            phone.since = updated.last_updated
        return True

    async def _versions(self) -> list[int]:
        rows = await self._world.club.tenant.fetch("SELECT pass_id, version FROM passes")
        by_id = {str(row["pass_id"]): row["version"] for row in rows}
        return [by_id[each.pass_id] for each in self._world.passes]

    def teardown(self) -> None:
        """All changes end; every phone lists until it is told nothing, soon, and has the newest."""
        self._world.run(self._settle())

    async def _settle(self) -> None:
        for at in list(self._open):
            await self._end(at, commits=at % 2 == 0)
        newest = await self._versions()
        for phone in self._phones:
            async with asyncio.timeout(SILENT_AFTER_SECONDS):
                while await self._list(phone, is_heard=True):
                    pass
            assert phone.held == {at: newest[at] for at in phone.held}


def test_every_phone_ends_with_the_newest(shared_database: Database) -> None:
    """Whatever is held open, and whoever lists when, nothing is skipped, nothing else is told, and
    when all is quiet there is silence."""
    with asyncio.Runner() as runner:
        opened = open_service(shared_database.url)
        service = runner.run(opened.__aenter__())
        try:
            registries = open_registry(service)
            registry = runner.run(registries.__aenter__())
            try:
                world = runner.run(_world(runner, registry))
                run_state_machine_as_test(
                    lambda: TagLife(world),  # type: ignore[arg-type] # any maker
                    settings=settings(
                        max_examples=30,
                        stateful_step_count=25,
                        deadline=None,
                        suppress_health_check=list(HealthCheck),
                    ),
                )
            finally:
                runner.run(registries.__aexit__(None, None, None))
        finally:
            runner.run(opened.__aexit__(None, None, None))


async def _world(runner: asyncio.Runner, registry: Registry) -> World:
    club = await registry.service.add_club()
    issued = [await club.issue() for _ in range(PASSES)]
    return World(
        runner=runner,
        registry=registry,
        club=club,
        passes=issued,
        proofs=[await registry.authentic(club, each) for each in issued],
        url=registry.service.settings.database_url.get_secret_value(),
    )
