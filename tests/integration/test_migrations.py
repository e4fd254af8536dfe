"""Migrations and what is checked of the database at start."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from passmill.domain.callers import operator_caller
from passmill.embedded import EmbeddedServers
from passmill.store.database import Transaction, open_database
from passmill.store.migrate import (
    APPLICATION_ROLE,
    MIGRATIONS,
    MigrationRefused,
    check_schema,
    migrate,
    read_migrations,
)
from passmill.store.roles import RoleRefused, check_application_role
from tests.support.postgres import Database, Databases, with_database

NEXT = len(list(MIGRATIONS.iterdir())) + 1


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[Database]:
    """A database without a schema."""
    made = asyncio.run(databases.create(migrated=False))
    yield made
    asyncio.run(databases.drop(made))


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may add to and edit."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


@asynccontextmanager
async def transaction(url: str) -> AsyncIterator[Transaction]:
    """A transaction as the role of `url`."""
    deadline = asyncio.get_running_loop().time() + 30
    async with (
        open_database(url, min_connections=1, max_connections=1) as database,
        database.transaction(operator_caller(deadline=deadline)) as tx,
    ):
        yield tx


async def table_names(url: str) -> set[str]:
    """The tables of the schema public."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {row["tablename"] for row in rows}
    finally:
        await connection.close()


async def test_empty_database_is_brought_to_the_newest_schema(empty_database: Database) -> None:
    """The first run applies every file, the second none; then the program may start."""
    assert await migrate(empty_database.owner_url) == len(read_migrations())
    assert await migrate(empty_database.owner_url) == 0
    assert {"tenants", "passes", "schema_migrations"} <= await table_names(empty_database.owner_url)
    async with transaction(empty_database.url) as tx:
        await check_schema(tx)
        await check_application_role(tx, require_durable=False)


async def test_several_at_once_apply_each_file_once(empty_database: Database) -> None:
    """Processes that start together wait for each other."""
    counts = await asyncio.gather(*(migrate(empty_database.owner_url) for _ in range(4)))
    assert sorted(counts) == [0, 0, 0, len(read_migrations())]


async def test_edited_history_is_refused(empty_database: Database, history: Path) -> None:
    """A file that changed after it was applied stops everything, also what comes after it."""
    await migrate(empty_database.owner_url, directory=history)
    first = history / "0001_pre_create.sql"
    first.write_text(first.read_text() + "\n-- a word more\n")
    (history / f"{NEXT:04}_pre_more.sql").write_text("CREATE TABLE more (number integer);")
    with pytest.raises(MigrationRefused, match=r"0001_pre_create\.sql was applied .* another"):
        await migrate(empty_database.owner_url, directory=history)
    assert "more" not in await table_names(empty_database.owner_url)


async def test_failing_file_leaves_nothing(empty_database: Database, history: Path) -> None:
    """A file is applied wholly or not at all; those before it stay; the next run goes on there."""
    broken = history / f"{NEXT:04}_pre_more.sql"
    broken.write_text("CREATE TABLE more (number integer); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_database.owner_url, directory=history)
    tables = await table_names(empty_database.owner_url)
    assert "passes" in tables
    assert "more" not in tables
    broken.write_text("CREATE TABLE more (number integer);")
    assert await migrate(empty_database.owner_url, directory=history) == 1


async def test_table_in_use_is_not_waited_for_long(database: Database, history: Path) -> None:
    """A lock that is not to be had ends the run with advice instead of queueing everybody up."""
    blocked = history / f"{NEXT:04}_pre_more.sql"
    blocked.write_text("SET LOCAL lock_timeout = 50; ALTER TABLE passes ADD COLUMN more integer;")
    reader = await asyncpg.connect(database.owner_url)
    try:
        async with reader.transaction():
            await reader.execute("LOCK TABLE passes IN ACCESS SHARE MODE")
            with pytest.raises(MigrationRefused, match="quieter time"):
                await migrate(database.owner_url, directory=history)
    finally:
        await reader.close()
    assert await migrate(database.owner_url, directory=history) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("readme.md", "not named"),
        (f"{NEXT:04}_later_more.sql", "not named"),
        (f"{NEXT + 1:04}_pre_more.sql", f"should have number {NEXT:04}"),
        ("0001_pre_another.sql", "should have number"),
    ],
)
async def test_malformed_history_is_refused(
    empty_database: Database, history: Path, name: str, message: str
) -> None:
    """Names that do not say number and half, gaps and repeated numbers are found before work."""
    (history / name).write_text("SELECT 1;")
    with pytest.raises(MigrationRefused, match=message):
        await migrate(empty_database.owner_url, directory=history)
    assert await table_names(empty_database.owner_url) == set()


async def test_rollout_goes_expand_then_contract(database: Database, history: Path) -> None:
    """Before a rollout all before the first `post` file is applied, after it the rest. The older
    program runs after the first half and is refused after the second; the newer one runs from the
    first half on."""
    (history / f"{NEXT:04}_pre_add.sql").write_text("ALTER TABLE outbox ADD COLUMN more integer;")
    (history / f"{NEXT + 1:04}_post_drop.sql").write_text("ALTER TABLE outbox DROP COLUMN more;")

    async with transaction(database.url) as tx:
        with pytest.raises(MigrationRefused, match=r"lacks migration .*_pre_add"):
            await check_schema(tx, directory=history)

    assert await migrate(database.owner_url, stop_before_post=True, directory=history) == 1
    async with transaction(database.url) as tx:
        await check_schema(tx)
        await check_schema(tx, directory=history)

    assert await migrate(database.owner_url, directory=history) == 1
    async with transaction(database.url) as tx:
        await check_schema(tx, directory=history)
        with pytest.raises(MigrationRefused, match=r"newer release .*_post_drop"):
            await check_schema(tx)


async def test_program_does_not_start_without_a_schema(empty_database: Database) -> None:
    """An empty database is named as such, with what to run."""
    async with transaction(empty_database.url) as tx:
        with pytest.raises(MigrationRefused, match="passmill migrate"):
            await check_schema(tx)


async def test_application_may_not_write_the_history(database: Database) -> None:
    """The application's role reads what was applied and cannot claim that more was."""
    async with transaction(database.url) as tx:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await tx.execute("INSERT INTO schema_migrations VALUES (99, 'x', 'x', now())")


async def test_owner_is_refused_as_application(database: Database) -> None:
    """A program connected as the tables' owner does not start: it could switch the rules off."""
    async with transaction(database.owner_url) as tx:
        with pytest.raises(RoleRefused, match=r"owns .* Connect as passmill_app"):
            await check_application_role(tx)


async def test_lossy_commits_are_refused(database: Database) -> None:
    """A program whose commits may be lost in a crash does not start unless that is wanted."""
    async with transaction(database.url) as tx:
        await tx.execute("SET LOCAL synchronous_commit = off")
        with pytest.raises(RoleRefused, match="synchronous_commit"):
            await check_application_role(tx)
        await check_application_role(tx, require_durable=False)
        await tx.execute("SET LOCAL synchronous_commit = on")
        await check_application_role(tx)


class TestRoles:
    """On a server of its own, as roles are the whole server's."""

    async def test_role_is_made_or_asked_for(self) -> None:
        """Where the role is missing, an owner who may not make it is told the statement, one who
        may makes it without rights of its own; stronger roles are refused at start."""
        async with EmbeddedServers() as servers:
            superuser = await asyncpg.connect(servers.superuser_url)
            await superuser.execute(f"DROP ROLE {APPLICATION_ROLE}")
            with pytest.raises(
                MigrationRefused, match=f"superuser: CREATE ROLE {APPLICATION_ROLE}"
            ):
                await migrate(servers.owner_url)
            assert await table_names(servers.owner_url) == set()

            await superuser.execute("ALTER ROLE passmill_owner CREATEROLE")
            assert await migrate(servers.owner_url) == len(read_migrations())
            role = await superuser.fetchrow(
                "SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolbypassrls"
                " FROM pg_roles WHERE rolname = $1",
                APPLICATION_ROLE,
            )
            assert role is not None
            assert tuple(role) == (True, False, False, False, False)
            async with transaction(servers.database_url) as tx:
                await check_application_role(tx, require_durable=False)

            application = "passmill_app"
            # Since PostgreSQL 16 who makes a role is a member of it, which bars the reverse.
            await superuser.execute(f"REVOKE {application} FROM passmill_owner")
            for change, undo, message in [
                (f"ALTER ROLE {application} BYPASSRLS", "NOBYPASSRLS", "BYPASSRLS"),
                (f"ALTER ROLE {application} CREATEROLE", "NOCREATEROLE", "CREATEROLE"),
                (f"GRANT postgres TO {application}", "postgres", "become postgres"),
                (f"GRANT passmill_owner TO {application}", "passmill_owner", "of its owner"),
            ]:
                await superuser.execute(change)
                async with transaction(servers.database_url) as tx:
                    with pytest.raises(RoleRefused, match=message):
                        await check_application_role(tx, require_durable=False)
                await superuser.execute(
                    f"ALTER ROLE {application} {undo}"
                    if change.startswith("ALTER")
                    else f"REVOKE {undo} FROM {application}"
                )
            async with transaction(with_database(servers.superuser_url, "passmill")) as tx:
                with pytest.raises(RoleRefused, match="superuser"):
                    await check_application_role(tx, require_durable=False)
            await superuser.close()
