"""The schema's history: numbered SQL files, applied in order by the owner's role, once each.

A file is named `NNNN_pre_what.sql` or `NNNN_post_what.sql`. A `pre` file only adds, so that the
release before runs on with it; it is applied before a release is rolled out. A `post` file takes
away what the new release no longer uses; it is applied after. So old and new processes run side by
side on one database.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import asyncpg

from passmill.store.database import Transaction

APPLICATION_ROLE = "passmill_app"
MIGRATIONS = Path(__file__).with_name("migrations")

_FILE_NAME = re.compile(r"(\d{4})_(pre|post)_[a-z0-9_]+\.sql")
_LOCK = 0x7061_7373_6D69_6C6C  # "passmill": one migration at a time in a database
_LOCK_SECONDS = 300.0
_STATEMENT_SECONDS = 3600.0
_CREATE_ROLE = (
    f"CREATE ROLE {APPLICATION_ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS"
)


class MigrationRefused(Exception):
    """The schema cannot be brought, or is not, where it must be; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of the history. `checksum`: SHA-256 of its text in hex."""

    number: int
    name: str
    half: Literal["pre", "post"]
    checksum: str
    sql: str = field(repr=False)


async def migrate(
    owner_url: str, *, stop_before_post: bool = False, directory: Path = MIGRATIONS
) -> int:
    """Applies what is missing, each file in a transaction of its own; gives how many files that
    were.

    `owner_url` names the role that owns the database; the application's role is made when it is
    missing. `stop_before_post`: ends before the first `post` file that is missing, for use before a
    rollout. Several callers at once wait for each other. MigrationRefused when a file applied
    before was edited, when the application's role is missing and may not be made, or when a table
    stayed locked.
    """
    migrations = read_migrations(directory)
    connection = await asyncpg.connect(owner_url, timeout=30)
    try:
        await _lock(connection)
        # A table in heavy use is left alone rather than blocked for everybody who queues behind us.
        await connection.execute("SET lock_timeout = '10s'")
        await _make_role(connection)
        applied = await _applied(connection)
        missing = [each for each in migrations if each.number not in applied]
        _refuse_edited(migrations, applied)
        count = 0
        for migration in missing:
            if stop_before_post and migration.half == "post":
                break
            await _apply(connection, migration)
            count += 1
        return count
    finally:
        await connection.close(timeout=5)


async def check_schema(tx: Transaction, *, directory: Path = MIGRATIONS) -> None:
    """MigrationRefused when this program cannot run on the database as it is.

    It needs every `pre` file it knows, and no `post` file it does not know. Run as the
    application's role.
    """
    if not await tx.fetch_value("SELECT to_regclass('schema_migrations') IS NOT NULL"):
        raise MigrationRefused("The database has no schema yet: run `passmill migrate`.")
    known = read_migrations(directory)
    rows = await tx.fetch("SELECT number, name FROM schema_migrations ORDER BY number")
    applied = {row["number"]: row["name"] for row in rows}
    for migration in known:
        if migration.half == "pre" and migration.number not in applied:
            raise MigrationRefused(
                f"The database lacks migration {migration.name}: run `passmill migrate`."
            )
    newest = known[-1].number
    for number, name in applied.items():
        if number > newest and _parts(name)[1] == "post":
            raise MigrationRefused(
                f"The database was migrated for a newer release ({name}): run that release."
            )


def read_migrations(directory: Path = MIGRATIONS) -> Sequence[Migration]:
    """The files in order. MigrationRefused when a name is malformed or the numbers are not 1, 2, 3
    …"""
    migrations = []
    for at, path in enumerate(sorted(directory.iterdir()), start=1):
        number, half = _parts(path.name)
        if number != at:
            raise MigrationRefused(f"{path.name} should have number {at:04}.")
        content = path.read_bytes()
        migrations.append(
            Migration(
                number=number,
                name=path.name,
                half=half,
                checksum=hashlib.sha256(content).hexdigest(),
                sql=content.decode(),
            )
        )
    if not migrations:
        raise MigrationRefused(f"There are no migrations in {directory}: install Passmill again.")
    return migrations


def _parts(name: str) -> tuple[int, Literal["pre", "post"]]:
    found = _FILE_NAME.fullmatch(name)
    if found is None:
        raise MigrationRefused(f"{name} is not named NNNN_pre_what.sql or NNNN_post_what.sql.")
    return int(found[1]), "pre" if found[2] == "pre" else "post"


async def _lock(connection: asyncpg.Connection) -> None:
    # Held by the session: it goes with the connection, however this process ends.
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK, timeout=_LOCK_SECONDS)
    except TimeoutError:
        raise MigrationRefused(
            f"Another migration has run for {_LOCK_SECONDS:.0f} seconds. Wait for it, then try"
            " again."
        ) from None


async def _make_role(connection: asyncpg.Connection) -> None:
    if await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", APPLICATION_ROLE):
        return
    try:
        await connection.execute(_CREATE_ROLE)
    except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
        return  # another database of the same server was migrated at the same moment
    except asyncpg.InsufficientPrivilegeError:
        raise MigrationRefused(
            f"The role {APPLICATION_ROLE} is missing and this role may not make it."
            f" Run as a superuser: {_CREATE_ROLE} PASSWORD '…';"
        ) from None


async def _applied(connection: asyncpg.Connection) -> dict[int, tuple[str, str]]:
    if not await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL"):
        async with connection.transaction():
            await connection.execute(
                "CREATE TABLE schema_migrations ("
                " number integer NOT NULL PRIMARY KEY,"
                " name text NOT NULL,"
                " checksum text NOT NULL,"
                " apply_time timestamptz NOT NULL DEFAULT clock_timestamp())"
            )
            await connection.execute(f"GRANT SELECT ON schema_migrations TO {APPLICATION_ROLE}")
    rows = await connection.fetch("SELECT number, name, checksum FROM schema_migrations")
    return {row["number"]: (row["name"], row["checksum"]) for row in rows}


def _refuse_edited(migrations: Sequence[Migration], applied: dict[int, tuple[str, str]]) -> None:
    for migration in migrations:
        was = applied.get(migration.number)
        if was is not None and was != (migration.name, migration.checksum):
            raise MigrationRefused(
                f"Migration {was[0]} was applied to this database and is now {migration.name} with"
                " another content. Put it back as it was, and write the change as a new migration."
            )


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql, timeout=_STATEMENT_SECONDS)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.checksum,
            )
    except asyncpg.LockNotAvailableError:
        raise MigrationRefused(
            f"{migration.name} waited too long for a table in use; nothing of it was applied."
            " Run `passmill migrate` again at a quieter time."
        ) from None
