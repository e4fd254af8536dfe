"""Scanners whose keys were to last for ever, before keys ended."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from passmill.domain.ids import new_uuid
from passmill.store.migrate import MIGRATIONS, migrate
from tests.support.ledgers import NOON, pool, tenant
from tests.support.postgres import Database, Databases


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[Database]:
    """A database without a schema."""
    made = asyncio.run(databases.create(migrated=False))
    yield made
    asyncio.run(databases.drop(made))


def test_their_keys_end(empty_database: Database, tmp_path: Path) -> None:
    """The migration lets the keys of scanners end after 400 days, and leaves those of tills, and
    those that end already, as they are; the policies hold for the owner again."""
    earlier = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, earlier)
    [own] = earlier.glob("*_pre_entry_scanners.sql")
    for path in earlier.iterdir():
        if path.name >= own.name:
            path.unlink()
    asyncio.run(migrate(empty_database.owner_url, directory=earlier))
    asyncio.run(_upgrade(empty_database))


async def _upgrade(database: Database) -> None:
    soon = NOON + timedelta(days=3)
    async with pool(database.url) as opened:
        async with opened.transaction(tenant()) as tx:
            await tx.execute(
                "INSERT INTO tenants (tenant_id, display_name, state, serial_key, reference_key,"
                " next_reference, create_time) VALUES ($1, '', 1, ''::bytea, ''::bytea, 0, $2)",
                *(tx.tenant_id, NOON),
            )
            for key_id, end in (("gate", None), ("door", soon), ("till", None)):
                await tx.execute(
                    "INSERT INTO api_keys (tenant_id, key_id, secret_hash, display_name, scopes,"
                    " create_time, expire_time) VALUES ($1, $2, ''::bytea, '', '{redeem}', $3, $4)",
                    *(tx.tenant_id, key_id, NOON, end),
                )
            for key_id in ("gate", "door"):
                await tx.execute(
                    "INSERT INTO scanners (tenant_id, scanner_id, venue_id, display_name, rights,"
                    " key_id, enrol_time) VALUES ($1, $2, $2, '', '{redeem}', $3, $4)",
                    *(tx.tenant_id, new_uuid(), key_id, NOON),
                )
        await migrate(database.owner_url)
        async with opened.transaction(tenant()) as tx:
            rows = await tx.fetch("SELECT key_id, expire_time FROM api_keys")
            forced = await tx.fetch_value(
                "SELECT bool_and(relforcerowsecurity) FROM pg_class"
                " WHERE oid = ANY('{api_keys,scanners}'::regclass[])"
            )
    ends = {row["key_id"]: row["expire_time"] for row in rows}
    assert (ends["door"], ends["till"], forced) == (soon, None, True)
    left = ends["gate"] - datetime.now(UTC)
    assert timedelta(days=399) < left < timedelta(days=401)
