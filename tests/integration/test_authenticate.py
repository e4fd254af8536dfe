"""Authentication against the database: how often it is asked, and what happens when it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from passmill.domain.api_keys import NewKey, hash_secret, new_api_key
from passmill.domain.callers import Caller, Scope, internal_caller, operator_caller
from passmill.domain.ids import TenantId
from passmill.domain.tenants import ApiKey, Tenant, TenantState
from passmill.errors import AppError, Reason
from passmill.store.api_keys import insert_api_key
from passmill.store.database import Database, Transaction, open_database
from passmill.store.tenants import insert_tenant
from passmill.usecases.authenticate import Authenticate, AuthenticateOperator
from tests.support.admin_api import SetClock, SetSeconds
from tests.support.postgres import Database as MadeDatabase

TENANT = TenantId(5)


class CountingDatabase(Database):
    """The real thing, counting its transactions."""

    transactions = 0

    @asynccontextmanager
    async def transaction(
        self,
        caller: Caller,
        *,
        read_only: bool = False,
        presented_key: str = "",
        presented_secret: bytes = b"",
    ) -> AsyncIterator[Transaction]:
        """As ever."""
        self.transactions += 1
        async with super().transaction(
            caller,
            read_only=read_only,
            presented_key=presented_key,
            presented_secret=presented_secret,
        ) as tx:
            yield tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What a test needs of one process."""

    authenticate: Authenticate
    database: CountingDatabase
    seconds: SetSeconds
    key: NewKey

    async def enter(self, text: str | None = None, *, seconds: float = 20.0) -> Caller:
        """Presents a key, the right one unless another is given."""
        credential = f"Bearer {self.key.text if text is None else text}"
        deadline = asyncio.get_running_loop().time() + seconds
        return await self.authenticate.authenticate(credential, deadline=deadline)


@pytest.fixture
async def door(database: MadeDatabase) -> AsyncIterator[Door]:
    """A process that has not seen its one key yet."""
    clock, seconds, key = SetClock(), SetSeconds(), new_api_key()
    deadline = asyncio.get_running_loop().time() + 20
    async with open_database(database.url, min_connections=1, max_connections=4) as opened:
        async with opened.transaction(operator_caller(deadline=deadline)) as tx:
            tenant = Tenant(
                tenant_id=TENANT,
                display_name="",
                state=TenantState.ACTIVE,
                serial_key=bytes(16),
                reference_key=bytes(24),
                create_time=clock.now(),
            )
            await insert_tenant(tx, tenant)
        async with opened.transaction(internal_caller(TENANT, deadline=deadline)) as tx:
            api_key = ApiKey(
                tenant_id=TENANT,
                key_id=key.key_id,
                secret_hash=key.secret_hash,
                display_name="",
                scopes=frozenset({Scope.ISSUE, Scope.READ}),
                create_time=clock.now(),
                expire_time=None,
                revoke_time=None,
            )
            await insert_api_key(tx, api_key)
        counting = CountingDatabase(opened._pool)
        yield Door(
            authenticate=Authenticate(database=counting, clock=clock, monotonic=seconds),
            database=counting,
            seconds=seconds,
            key=key,
        )


async def test_key_tells_tenant_and_scopes(door: Door) -> None:
    """The caller is the key's tenant with the key's scopes, and no operator."""
    caller = await door.enter()
    assert caller.tenant_id == TENANT
    assert caller.key_id == door.key.key_id
    assert caller.scopes == {Scope.ISSUE, Scope.READ}
    assert not caller.is_operator


async def test_many_at_once_ask_once(door: Door) -> None:
    """A burst with a key not known yet costs one question, and so does the next after four
    seconds."""
    for questions in (1, 2):
        callers = await asyncio.gather(*(door.enter() for _ in range(50)))
        assert {each.tenant_id for each in callers} == {TENANT}
        assert door.database.transactions == questions
        door.seconds.seconds += 4


async def test_unknown_keys_are_remembered_for_a_second(door: Door) -> None:
    """A client that hammers with a key nobody knows costs a question a second."""
    unknown = new_api_key().text
    for questions in (1, 1, 2):
        with pytest.raises(AppError) as refused:
            await door.enter(unknown)
        assert refused.value.reason is Reason.UNAUTHENTICATED
        assert door.database.transactions == questions
        door.seconds.seconds += 0.5


async def test_guesses_do_not_drive_out_a_key_in_use(door: Door) -> None:
    """However many unknown keys are tried, the known one is not asked about again for it."""
    await door.enter()
    for _ in range(200):
        with pytest.raises(AppError):
            await door.enter(new_api_key().text)
    asked = door.database.transactions
    await door.enter()
    assert door.database.transactions == asked


async def test_cancelled_call_does_not_fail_those_who_wait(door: Door) -> None:
    """When the call that asks is cancelled, the next that waits asks."""
    async with asyncio.TaskGroup() as group:
        first = group.create_task(door.enter())
        others = [group.create_task(door.enter()) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
    assert first.cancelled()
    assert {each.result().tenant_id for each in others} == {TENANT}


async def test_database_away_is_no_verdict_on_the_key(door: Door) -> None:
    """Without an answer from the database the call fails as one to retry, not as unauthenticated,
    and nothing is remembered."""
    with pytest.raises(AppError) as refused:
        await door.enter(seconds=0.0)
    assert refused.value.reason is Reason.DEADLINE_EXCEEDED
    assert (await door.enter()).tenant_id == TENANT


async def test_operators_key_is_compared_whole(door: Door) -> None:
    """The operator's key makes an operator, a prefix of it or its hash does not, and API keys go on
    to work beside it."""
    operators = AuthenticateOperator(
        authenticate=door.authenticate, operator_key_hash=hash_secret("operator's key")
    )
    deadline = asyncio.get_running_loop().time() + 20
    operator = await operators.authenticate("Bearer operator's key", deadline=deadline)
    assert operator.is_operator
    for wrong in ("operator's ke", hash_secret("operator's key").hex(), ""):
        with pytest.raises(AppError):
            await operators.authenticate(f"Bearer {wrong}", deadline=deadline)
    caller = await operators.authenticate(f"Bearer {door.key.text}", deadline=deadline)
    assert not caller.is_operator
    with pytest.raises(ValueError, match="32 bytes"):
        AuthenticateOperator(authenticate=door.authenticate, operator_key_hash=b"")
