"""The pool and its transactions: settings, deadlines, cancelling, a server that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from passmill.domain.callers import Caller, internal_caller, operator_caller
from passmill.domain.ids import TenantId
from passmill.errors import AppError, Reason
from passmill.store.database import Database, columns, open_database
from tests.support.postgres import Database as MadeDatabase

_SETTINGS = (
    "SELECT current_setting('passmill.tenant_id', true),"
    " current_setting('passmill.operator', true), current_setting('passmill.key_id', true),"
    " current_setting('passmill.secret_hash', true)"
)


@pytest.fixture
async def pool(database: MadeDatabase) -> AsyncIterator[Database]:
    """One connection, so that each transaction gets the one before's."""
    async with open_database(database.url, min_connections=1, max_connections=1) as opened:
        yield opened


def caller(tenant: int = 7, *, seconds: float = 30.0) -> Caller:
    """Work inside a tenant, worthless after so many seconds."""
    deadline = asyncio.get_running_loop().time() + seconds
    return internal_caller(TenantId(tenant), deadline=deadline)


async def count_answers(pool: Database) -> int:
    """How many answers tenant 7 has."""
    async with pool.transaction(caller()) as tx:
        count: int = await tx.fetch_value("SELECT count(*) FROM request_answers")
        return count


INSERT_ANSWER = (
    "INSERT INTO request_answers (tenant_id, request_id, method, fingerprint, answer, create_time)"
    " VALUES (7, gen_random_uuid(), 'm', '', '', now())"
)


async def test_block_commits_or_rolls_back(pool: Database) -> None:
    """A block that ends commits, one that raises leaves nothing, and the error passes through."""
    async with pool.transaction(caller()) as tx:
        assert await tx.execute(INSERT_ANSWER) == 1
    assert await count_answers(pool) == 1

    async def fail() -> None:
        async with pool.transaction(caller()) as tx:
            await tx.execute(INSERT_ANSWER)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await count_answers(pool) == 1


async def test_settings_end_with_the_transaction(pool: Database) -> None:
    """Tenant, operator, presented key and secret hold inside the block alone, on the same
    connection."""
    operator = operator_caller(deadline=asyncio.get_running_loop().time() + 30)
    async with pool.transaction(operator, presented_key="abc", presented_secret=b"\x0f'") as tx:
        assert tuple(await tx.fetch_one(_SETTINGS) or ()) == ("0", "on", "abc", "0f27")
    async with pool.transaction(caller(9)) as tx:
        assert tuple(await tx.fetch_one(_SETTINGS) or ()) == ("9", "off", "", "")
        assert tx.tenant_id == 9


async def test_read_only_cannot_write(pool: Database) -> None:
    """A transaction opened for reading refuses a write."""
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with pool.transaction(caller(), read_only=True) as tx:
            await tx.execute(INSERT_ANSWER)


@pytest.mark.parametrize("key_id", ["a'b", "a b", "é", "x; DROP TABLE passes", "-", "a\x00"])
async def test_presented_key_is_letters_and_digits(pool: Database, key_id: str) -> None:
    """What could end the quoted text never reaches the server."""
    with pytest.raises(ValueError, match="letters and digits"):
        async with pool.transaction(caller(), presented_key=key_id):
            pass
    assert await count_answers(pool) == 0


async def test_slow_statement_ends_at_the_deadline(pool: Database) -> None:
    """A statement still running at the deadline is stopped, in the server too, and the connection
    serves on."""
    with pytest.raises(AppError) as refused:
        async with pool.transaction(caller(seconds=0.2)) as tx:
            await tx.execute("SELECT pg_sleep(30)")
    assert refused.value.reason is Reason.DEADLINE_EXCEEDED
    async with pool.transaction(caller()) as tx:
        running = await tx.fetch_value(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event = 'PgSleep'"
        )
    assert running == 0


async def test_deadline_that_has_passed_costs_no_connection(pool: Database) -> None:
    """Work that is worthless before it begins is refused without asking the server."""
    with pytest.raises(AppError) as refused:
        async with pool.transaction(caller(seconds=0.0)):
            pytest.fail("no transaction should open")
    assert refused.value.reason is Reason.DEADLINE_EXCEEDED


async def test_waiting_for_a_connection_ends_at_the_deadline(pool: Database) -> None:
    """While all connections are at work, others wait for as long as they have time."""
    async with pool.transaction(caller()):
        with pytest.raises(AppError) as refused:
            async with pool.transaction(caller(seconds=0.2)):
                pytest.fail("there is but one connection")
    assert refused.value.reason is Reason.DEADLINE_EXCEEDED


async def test_cancelled_work_leaves_no_open_transaction(
    database: MadeDatabase, pool: Database
) -> None:
    """A call cancelled in the middle of a statement rolls back and gives its connection back."""

    async def work() -> None:
        async with pool.transaction(caller()) as tx:
            await tx.execute(INSERT_ANSWER)
            await tx.execute("SELECT pg_sleep(30)")

    observer = await asyncpg.connect(database.url)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())
        while not await observer.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event = 'PgSleep'"
        ):
            assert not task.done()
        task.cancel()
    await observer.close()
    assert task.cancelled()
    assert await count_answers(pool) == 0


async def test_lost_connection_is_unavailable_and_then_replaced(
    database: MadeDatabase, pool: Database
) -> None:
    """A connection the server ends is told as UNAVAILABLE with a time to wait, in words that are
    not the driver's; the next call gets a new one."""

    async def lose_connection() -> None:
        async with pool.transaction(caller()) as tx:
            process_id = await tx.fetch_value("SELECT pg_backend_pid()")
            other = await asyncpg.connect(database.url)
            await other.execute("SELECT pg_terminate_backend($1, 5000)", process_id)
            await other.close()
            await tx.execute(INSERT_ANSWER)

    with pytest.raises(AppError) as refused:
        await lose_connection()
    error = refused.value
    assert error.reason is Reason.UNAVAILABLE
    assert error.retry_after is not None
    assert "terminat" not in error.message
    assert await count_answers(pool) == 0


async def test_ping_answers(pool: Database) -> None:
    """A server that answers passes the readiness check."""
    await pool.ping()


async def test_faults_of_ours_pass_through(pool: Database) -> None:
    """A statement that is wrong is a defect to be seen, not an outage to be retried."""
    with pytest.raises(asyncpg.UndefinedTableError):
        async with pool.transaction(caller()) as tx:
            await tx.execute("SELECT * FROM nowhere")


def test_columns_for_unnest() -> None:
    """Rows become columns, the right number of them even for no row."""
    assert columns([(1, "a"), (2, "b")], 2) == [[1, 2], ["a", "b"]]
    assert columns([], 3) == [[], [], []]
