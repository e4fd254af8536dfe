"""PostgreSQL for tests: a database of its own for each test, cloned from one migrated template.

PASSMILL_TEST_TEMPLATE may name a database of the server that is migrated already: many short runs
on one server need not each migrate a template of their own.
"""

import os
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from passmill.store.migrate import migrate


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One test's database: `url` as the application role, `owner_url` as the migrating role."""

    name: str
    url: str
    owner_url: str


class Databases:
    """Makes and drops databases on one server; its owner role needs CREATEDB."""

    def __init__(self, *, url: str, owner_url: str) -> None:
        self._url = url
        self._owner_url = owner_url
        self._run = f"passmill_test_{os.getpid()}_{secrets.token_hex(3)}"
        self._made = 0
        self._given_template = os.environ.get("PASSMILL_TEST_TEMPLATE")
        self._template: str | None = None

    async def create(self, *, migrated: bool = True) -> Database:
        """A fresh database, with every migration applied unless told otherwise."""
        template = await self._migrated_template() if migrated else "template0"
        self._made += 1
        return await self._create(f"{self._run}_{self._made}", template)

    async def drop(self, database: Database) -> None:
        """Drops a database, ending connections that a failed test left open."""
        await self._execute(f'DROP DATABASE IF EXISTS "{database.name}" WITH (FORCE)')

    async def close(self) -> None:
        """Drops the template."""
        if self._template is not None:
            await self._execute(f'DROP DATABASE IF EXISTS "{self._template}" WITH (FORCE)')

    async def _migrated_template(self) -> str:
        if self._given_template is not None:
            return self._given_template
        if self._template is None:
            template = await self._create(f"{self._run}_template", "template0")
            self._template = template.name
            await migrate(template.owner_url)
        return self._template

    async def _create(self, name: str, template: str) -> Database:
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return Database(
            name=name,
            url=with_database(self._url, name),
            owner_url=with_database(self._owner_url, name),
        )

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._owner_url, timeout=30)
        try:
            await connection.execute(statement, timeout=30)
        finally:
            await connection.close(timeout=5)


def with_database(url: str, name: str) -> str:
    """The same server and role, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
