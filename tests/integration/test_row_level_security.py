"""Row-level security on every table there is, found in the catalogue: a new table is tested by
being there. The statements have no WHERE clause, as if whoever wrote them had forgotten it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from uuid import UUID

import asyncpg
import pytest

from passmill.domain.callers import Caller, internal_caller, operator_caller
from passmill.domain.ids import TenantId
from passmill.store.database import Database, Transaction, open_database
from tests.support.postgres import Database as MadeDatabase

MINE, THEIRS = TenantId(11), TenantId(22)
# Hold no tenant's data; the application cannot write the first, and the second once.
WITHOUT_TENANT = {"schema_migrations", "deployment"}
# Operators administer the first three; the service's own upkeep finds unfinished signatures, old
# answers, and so on.
OPERATORS = {
    "tenants",
    "api_keys",
    "signing_identities",
    "signing_intents",
    "request_answers",
    "campaigns",
    "devices",
    "registrations",
    "stopped_topics",
    "outbox",
    "install_counts",
    "forgotten_events",
    "personalizations",
    "over_shares",
    "holders",
    "balances",
    "tier_sweeps",
}


@pytest.fixture
def filled(database: MadeDatabase) -> MadeDatabase:
    """A database with one row of each of two tenants in every table."""
    asyncio.run(_fill(database.url))
    return database


async def _fill(url: str) -> None:
    async with connect(url) as pool:
        for tenant_id in (MINE, THEIRS):
            missing = await tenant_tables(pool)
            while missing:  # parents before children, whatever the order is
                still_missing = []
                for table in missing:
                    try:
                        async with pool.transaction(inside(tenant_id)) as tx:
                            await insert_row(tx, table, tenant_id)
                    except asyncpg.ForeignKeyViolationError:
                        still_missing.append(table)
                assert len(still_missing) < len(missing), f"no row fits {still_missing}"
                missing = still_missing


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Database]:
    """A pool of two connections."""
    async with open_database(url, min_connections=1, max_connections=2) as pool:
        yield pool


def inside(tenant_id: TenantId) -> Caller:
    """Work inside one tenant."""
    return internal_caller(tenant_id, deadline=asyncio.get_running_loop().time() + 30)


def operator() -> Caller:
    """An operator's work."""
    return operator_caller(deadline=asyncio.get_running_loop().time() + 30)


async def tenant_tables(pool: Database) -> list[str]:
    """Every table there is but those without tenant."""
    async with pool.transaction(operator()) as tx:
        rows = await tx.fetch(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY c.relname"
        )
    return [row["relname"] for row in rows if row["relname"] not in WITHOUT_TENANT]


async def insert_row(tx: Transaction, table: str, tenant_id: TenantId) -> None:
    """Inserts a row of made-up values for the tenant; references among its tables hold."""
    made_up: dict[str, object] = {
        "bigint": int(tenant_id),
        "integer": 1,
        "smallint": 1,
        "real": 1.0,
        "boolean": True,
        "text": f"text-{tenant_id}",
        "bytea": f"bytes-{tenant_id}".encode(),
        "uuid": UUID(int=tenant_id),
        "jsonb": "{}",
        "timestamp with time zone": datetime(2026, 1, 2, tzinfo=UTC),
        "date": date(2026, 1, 2),
        "ARRAY": [],
    }
    columns = await tx.fetch(
        "SELECT column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = $1 AND column_default IS NULL"
        " AND is_generated = 'NEVER'"
        " ORDER BY ordinal_position",
        table,
    )
    names = ", ".join(row["column_name"] for row in columns)
    places = ", ".join(f"${at}" for at in range(1, len(columns) + 1))
    await tx.execute(
        f"INSERT INTO {table} ({names}) VALUES ({places})",  # noqa: S608 - from the catalogue
        *(
            int(tenant_id) if row["column_name"] == "tenant_id" else made_up[row["data_type"]]
            for row in columns
        ),
    )


async def test_every_table_is_forced(database: MadeDatabase) -> None:
    """Each table of the schema has row-level security enabled and forced, a tenant_id that cannot
    be missing and stands first in its primary key, and an owner who is not the application."""
    connection = await asyncpg.connect(database.owner_url)
    try:
        rows = await connection.fetch(
            "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, r.rolname AS owner,"
            "  (SELECT a.attname FROM pg_index i JOIN pg_attribute a"
            "   ON a.attrelid = c.oid AND a.attnum = i.indkey[0]"
            "   WHERE i.indrelid = c.oid AND i.indisprimary) AS first_key"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_roles r ON r.oid = c.relowner"
            " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')"
        )
    finally:
        await connection.close()
    found = {row["relname"]: row for row in rows}
    assert set(found) > WITHOUT_TENANT
    for name in set(found) - WITHOUT_TENANT:
        table = found[name]
        assert table["relrowsecurity"], f"{name}: ALTER TABLE … ENABLE ROW LEVEL SECURITY"
        assert table["relforcerowsecurity"], f"{name}: ALTER TABLE … FORCE ROW LEVEL SECURITY"
        assert table["first_key"] == "tenant_id", f"{name}: its key must begin with tenant_id"
        assert table["owner"] != "passmill_app"


async def test_there_is_no_other_schema_but_the_queues(database: MadeDatabase) -> None:
    """Tables lie in `public`, where these tests find them, and in PgQueuer's schema: that has no
    tenants, as workers take the jobs of all, and a job holds nothing but ids."""
    connection = await asyncpg.connect(database.owner_url)
    try:
        rows = await connection.fetch(
            "SELECT DISTINCT n.nspname FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')"
            " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
        )
    finally:
        await connection.close()
    assert {row["nspname"] for row in rows} == {"public", "pgqueuer"}


async def test_nothing_runs_with_its_owners_rights(database: MadeDatabase) -> None:
    """There is no view, rule or function by which the application would see through."""
    connection = await asyncpg.connect(database.owner_url)
    try:
        views = await connection.fetch(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'public' AND c.relkind IN ('v', 'm', 'f')"
            " AND NOT coalesce(c.reloptions @> ARRAY['security_invoker=true'], false)"
        )
        functions = await connection.fetch(
            "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            " WHERE n.nspname = 'public' AND p.prosecdef"
        )
    finally:
        await connection.close()
    assert [*views, *functions] == []


async def test_select_without_where_shows_own_rows_only(filled: MadeDatabase) -> None:
    """SELECT * in a tenant's transaction gives its one row of each table, nobody else's."""
    async with connect(filled.url) as pool:
        for table in await tenant_tables(pool):
            for tenant_id in (MINE, THEIRS):
                async with pool.transaction(inside(tenant_id)) as tx:
                    rows = await tx.fetch(f"SELECT * FROM {table}")  # noqa: S608 - from the catalogue
                assert [row["tenant_id"] for row in rows] == [tenant_id], table


async def test_without_a_tenant_nothing_is_visible(filled: MadeDatabase) -> None:
    """A connection that says no tenant, as one that forgot to, sees no row of any table; neither
    does one that says an unknown one, or the operators' tenant without being an operator."""
    async with connect(filled.url) as pool:
        tables = await tenant_tables(pool)
        for caller in (inside(TenantId(33)), inside(TenantId(0))):
            for table in tables:
                async with pool.transaction(caller) as tx:
                    assert await tx.fetch(f"SELECT * FROM {table}") == []  # noqa: S608
    connection = await asyncpg.connect(filled.url)
    try:
        for table in tables:
            assert await connection.fetch(f"SELECT * FROM {table}") == []  # noqa: S608
    finally:
        await connection.close()


async def test_the_owner_is_bound_too(filled: MadeDatabase) -> None:
    """FORCE: even the role that owns the tables sees no row without saying a tenant."""
    async with connect(filled.url) as pool:
        tables = await tenant_tables(pool)
    connection = await asyncpg.connect(filled.owner_url)
    try:
        for table in tables:
            assert await connection.fetch(f"SELECT * FROM {table}") == []  # noqa: S608
    finally:
        await connection.close()


async def test_changes_without_where_touch_own_rows_only(filled: MadeDatabase) -> None:
    """UPDATE and DELETE without WHERE, where they are allowed at all, leave others' rows alone."""
    async with connect(filled.url) as pool:
        for table in await tenant_tables(pool):
            for statement in (
                f"UPDATE {table} SET tenant_id = tenant_id",  # noqa: S608 - from the catalogue
                f"DELETE FROM {table}",  # noqa: S608 - from the catalogue
            ):
                try:
                    async with pool.transaction(inside(MINE)) as tx:
                        touched = await tx.execute(statement)
                except (asyncpg.InsufficientPrivilegeError, asyncpg.ForeignKeyViolationError):
                    continue
                assert touched == 1, statement
            async with pool.transaction(inside(THEIRS)) as tx:
                assert len(await tx.fetch(f"SELECT * FROM {table}")) == 1, table  # noqa: S608


async def test_rows_cannot_be_written_for_another_tenant(database: MadeDatabase) -> None:
    """An insert for another tenant, and moving an own row to it, are refused by the database."""
    async with connect(database.url) as pool:
        for table in await tenant_tables(pool):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with pool.transaction(inside(MINE)) as tx:
                    await insert_row(tx, table, THEIRS)
    await _fill(database.url)
    async with connect(database.url) as pool:
        for table in await tenant_tables(pool):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with pool.transaction(inside(MINE)) as tx:
                    await tx.execute(f"UPDATE {table} SET tenant_id = {THEIRS}")  # noqa: S608


async def test_operator_sees_its_own_tables_only(filled: MadeDatabase) -> None:
    """An operator sees every tenant's rows of the tables it administers and of no other."""
    async with connect(filled.url) as pool:
        tables = await tenant_tables(pool)
        assert set(tables) >= OPERATORS
        for table in tables:
            async with pool.transaction(operator()) as tx:
                rows = await tx.fetch(f"SELECT * FROM {table}")  # noqa: S608 - from the catalogue
            assert len(rows) == (2 if table in OPERATORS else 0), table


async def test_presented_key_shows_itself_and_its_tenant(database: MadeDatabase) -> None:
    """Presenting a key id shows that key and its tenant's row, to read and not to write, and no
    other table's rows."""
    async with connect(database.url) as pool:
        for tenant_id, key_id in ((MINE, "mine00000000"), (THEIRS, "theirs000000")):
            async with pool.transaction(inside(tenant_id)) as tx:
                await insert_row(tx, "tenants", tenant_id)
                await insert_row(tx, "programs", tenant_id)
                await insert_row(tx, "api_keys", tenant_id)
                await tx.execute("UPDATE api_keys SET key_id = $1", key_id)
        nobody = inside(TenantId(0))
        for table in await tenant_tables(pool):
            async with pool.transaction(nobody, presented_key="mine00000000") as tx:
                rows = await tx.fetch(f"SELECT * FROM {table}")  # noqa: S608 - from the catalogue
            expected = [MINE] if table in {"api_keys", "tenants"} else []
            assert [row["tenant_id"] for row in rows] == expected, table
        for table in ("api_keys", "tenants"):
            async with pool.transaction(nobody, presented_key="mine00000000") as tx:
                assert await tx.execute(f"UPDATE {table} SET display_name = 'x'") == 0  # noqa: S608


async def test_presented_secret_shows_its_link_and_its_tenant(database: MadeDatabase) -> None:
    """Presenting a claim link's hashed token shows that link and its tenant's row, to read and not
    to write, and no other table's rows; another hash, or none, shows nothing."""
    async with connect(database.url) as pool:
        for tenant_id in (MINE, THEIRS):
            async with pool.transaction(inside(tenant_id)) as tx:
                for table in ("tenants", "programs", "claim_links", "claims"):
                    await insert_row(tx, table, tenant_id)
        nobody = inside(TenantId(0))
        mine = f"bytes-{MINE}".encode()
        for table in await tenant_tables(pool):
            for secret, shown in ((mine, [MINE]), (b"x", []), (b"", [])):
                async with pool.transaction(nobody, presented_secret=secret) as tx:
                    rows = await tx.fetch(f"SELECT * FROM {table}")  # noqa: S608 - a catalogue's
                expected = shown if table in {"claim_links", "tenants"} else []
                assert [row["tenant_id"] for row in rows] == expected, table
        for statement in (
            "UPDATE claim_links SET uses = uses + 1",
            "UPDATE tenants SET display_name = 'x'",
        ):
            async with pool.transaction(nobody, presented_secret=mine) as tx:
                assert await tx.execute(statement) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE passes DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE passes NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY tenant_isolation ON passes",
        "CREATE POLICY open ON passes USING (true)",
        "DROP TABLE passes",
        "TRUNCATE passes",
        "CREATE TABLE mine (number integer)",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE INDEX mine ON passes (tenant_id)",
        "ALTER TABLE passes OWNER TO passmill_app",
        "SET ROLE passmill_owner",
        "SET SESSION AUTHORIZATION passmill_owner",
        "ALTER ROLE passmill_app BYPASSRLS",
        "COPY passes TO PROGRAM 'cat'",
        "UPDATE template_revisions SET number = 2",
        "DELETE FROM template_revisions",
        "UPDATE assets SET width = 2",
        "DELETE FROM tenants",
        "DELETE FROM passes",
    ],
)
async def test_application_cannot_loosen_the_rules(database: MadeDatabase, statement: str) -> None:
    """The application's role cannot change tables, policies or itself, nor rewrite what was
    published for good."""
    connection = await asyncpg.connect(database.url)
    try:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(statement)
    finally:
        await connection.close()
    assert isinstance(
        refused.value, asyncpg.InsufficientPrivilegeError | asyncpg.InvalidGrantOperationError
    ), refused.value


async def test_errors_show_no_row_that_is_not_ones_own(filled: MadeDatabase) -> None:
    """`row_security = off` gives an error instead of rows, and a function that would leak its
    arguments is not called with another tenant's row."""
    connection = await asyncpg.connect(filled.url)
    try:
        await connection.execute("SET row_security = off")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM passes")
    finally:
        await connection.close()
    async with connect(filled.url) as pool, pool.transaction(inside(MINE)) as tx:
        # Would divide by zero on the other tenant's row if it were looked at before the policy.
        rows = await tx.fetch(f"SELECT * FROM passes WHERE 1 / (tenant_id - {THEIRS}) < 1")  # noqa: S608
    assert [row["tenant_id"] for row in rows] == [MINE]
