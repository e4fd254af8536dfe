"""A ledger that was there before the service took what ends."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from passmill.domain.ids import new_uuid
from passmill.store.expiries import lock_settled
from passmill.store.migrate import MIGRATIONS, migrate
from tests.support.ledgers import NOON, new_account, pool, tenant
from tests.support.postgres import Database, Databases


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[Database]:
    """A database without a schema."""
    made = asyncio.run(databases.create(migrated=False))
    yield made
    asyncio.run(databases.drop(made))


def test_ends_from_before(empty_database: Database, tmp_path: Path) -> None:
    """What was earned with an end, and posted before there was a place for that, is found by the
    migration and taken when it is due; what was spent behind its end meanwhile is not taken again.
    """
    earlier = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, earlier)
    [own] = earlier.glob("*_pre_expiries.sql")
    for path in earlier.iterdir():
        if path.name >= own.name:
            path.unlink()
    asyncio.run(migrate(empty_database.owner_url, directory=earlier))
    asyncio.run(_upgrade(empty_database))


async def _upgrade(database: Database) -> None:
    account, spent = new_account(), new_account()
    day = timedelta(days=1)
    rows = [
        (account, 1, 1, 50, 50, NOON + day),
        (account, 2, 1, 20, 70, None),
        (spent, 1, 1, 50, 50, NOON - day),
        (spent, 2, 2, -45, 5, None),
    ]
    async with pool(database.url) as opened:
        async with opened.transaction(tenant()) as tx:
            for owner, sequence, kind, amount, after, end in rows:
                await tx.execute(
                    "INSERT INTO ledger_entries (tenant_id, account_id, unit, sequence, kind,"
                    " amount, balance_after, entry_id, request_id, reference, venue, expire_time,"
                    " occur_time, create_time)"
                    " VALUES ($1, $2, 'points', $3, $4, $5, $6, $7, $7, '', '', $8, $9, $9)",
                    *(tx.tenant_id, owner, sequence, kind, amount, after, new_uuid(), end, NOON),
                )
            for owner, balance in ((account, 70), (spent, 5)):
                await tx.execute(
                    "INSERT INTO balances (tenant_id, account_id, unit, version, balance, held,"
                    " earned) VALUES ($1, $2, 'points', 2, $3, 0, 70)",
                    *(tx.tenant_id, owner, balance),
                )
        await migrate(database.owner_url)
        keys = [(account, "points"), (spent, "points")]
        async with opened.transaction(tenant()) as tx:
            settled = await lock_settled(tx, keys, now=NOON + day)
        assert {each.account_id: each.amount for each in settled.entries} == {
            account: -50,
            spent: -5,
        }
