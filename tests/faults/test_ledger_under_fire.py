"""A ledger while its database crashes: see `ledger.py`, which `make ledger` runs larger. And that
the checker would cry: with what keeps the ledger right taken away it finds what is wrong."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid

import asyncpg
import pytest

from passmill.domain.ledger import AccountId
from passmill.store import ledger
from passmill.store.database import Database as Pool
from tests.faults.ledger_checker import Found, check
from tests.support.ledgers import draft, new_account, pool, post, tenant
from tests.support.postgres import Database


@pytest.mark.timeout(300)
def test_a_ledger_survives_a_crashed_database() -> None:
    """10,000 operations by 64 tills, PostgreSQL crashed once: balances are the sums of their
    entries, none is negative, each key has at most one entry, and every answer was true."""
    command = [sys.executable, "-m", "tests.faults.ledger", "--operations", "10000"]
    done = subprocess.run(
        [*command, "--crashes", "1", "--crash-every", "1", "2"],
        capture_output=True,
        text=True,
        check=False,
        timeout=290,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Lines of the log come before the result.
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["is_right"] is True
    assert found["operations"] >= 10_000
    assert found["entries"] > 5_000
    assert found["postgres_crashes"] == 1, found


async def _scramble(opened: Pool, accounts: list[AccountId], keys: list[uuid.UUID]) -> None:
    """Forty entries at a time: each key sent four times, more burnt than there is."""
    entries = [
        draft(account, -30 if at % 4 else 25, request_id=keys[at])
        for at, account in enumerate(accounts)
    ]
    for entry in entries:
        await asyncio.gather(*(post(opened, entry) for _ in range(4)), return_exceptions=True)


async def scrambled(database: Database) -> Found:
    """What the checker finds after some entries were sent at once and too much was spent."""
    account, other = new_account(), new_account()
    async with pool(database.url, connections=8) as opened:
        await post(opened, draft(account, 100))
        await post(opened, draft(other, 100))
        accounts = [account, other] * 6
        await _scramble(opened, accounts, [uuid.uuid4() for _ in accounts])
        number = int(tenant().tenant_id)
    return await check(database.owner_url, number, None)


async def alter(database: Database, *statements: str) -> None:
    """Changes the schema of this test's database, as its owner."""
    connection = await asyncpg.connect(database.owner_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_the_checker_is_content(database: Database) -> None:
    """With everything in its place nothing is wrong after the same work."""
    found = await scrambled(database)
    assert found.wrong == {}
    assert found.entries >= 4


async def test_without_the_unique_index(database: Database) -> None:
    """Mutant: without the index that lets a key post once, one has several entries."""
    await alter(database, "DROP INDEX ledger_entries_once")
    found = await scrambled(database)
    assert found.wrong["key_twice"] > 0
    assert found.wrong["not_the_sum"] == 0


_WHERE = "WHERE balance + $5 >= held - $15 AND"


async def test_without_the_where(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: without the WHERE that asks whether there is enough, the constraints refuse what is
    too much; without them too, balances are negative."""
    assert _WHERE in ledger._POST
    monkeypatch.setattr(ledger, "_POST", ledger._POST.replace(_WHERE, "WHERE"))
    kept = await scrambled(database)
    assert kept.wrong == {}
    account = new_account()
    async with pool(database.url) as opened:
        with pytest.raises(asyncpg.CheckViolationError):
            await post(opened, draft(account, -1))
    await alter(
        database,
        "ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_positive",
        "ALTER TABLE balances DROP CONSTRAINT balances_positive",
        "ALTER TABLE balances DROP CONSTRAINT balances_held",
    )
    found = await scrambled(database)
    assert found.wrong["negative"] > 0


async def test_without_the_lock(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: without the balance's lock two entries want the same place; the key refuses one, as
    a fault, and what is there stays right. Without that key too, the chain is broken."""
    assert "FOR UPDATE" in ledger._POST
    monkeypatch.setattr(ledger, "_POST", ledger._POST.replace("FOR UPDATE", ""))
    account = new_account()
    async with pool(database.url, connections=8) as opened:
        await post(opened, draft(account, 1))

        async def burst() -> int:
            done = await asyncio.gather(
                *(post(opened, draft(account, 1 + at)) for at in range(60)), return_exceptions=True
            )
            return sum(isinstance(each, BaseException) for each in done)

        failed = await burst()
        number = int(tenant().tenant_id)
        found = await check(database.owner_url, number, None)
        assert found.wrong == {}
        assert found.entries + failed == 61
        await alter(
            database,
            "ALTER TABLE balances DROP CONSTRAINT balances_are_sums",
            "ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_chain",
            "ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_pkey",
        )
        for _ in range(20):
            await burst()
            found = await check(database.owner_url, number, None)
            if found.wrong:
                break
    assert found.wrong["out_of_sequence"] > 0


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE balances SET balance = balance + 1", "balance_is_not_the_sum"),
        ("UPDATE balances SET version = version + 1", "version_is_not_the_count"),
        ("UPDATE balances SET earned = earned + 1", "earned_is_not_the_sum"),
        ("UPDATE balances SET held = held + 1", "held_is_not_the_sum"),
        ("UPDATE ledger_entries SET balance_after = 31 WHERE sequence = 2", "not_the_sum"),
        ("DELETE FROM ledger_entries WHERE sequence = 1", "out_of_sequence"),
        ("DELETE FROM balances", "without_balance"),
    ],
)
async def test_the_checker_sees_each_wrong(database: Database, statement: str, wrong: str) -> None:
    """Whatever is changed behind the ledger's back is found, and called by its name."""
    await alter(
        database,
        "ALTER TABLE balances DROP CONSTRAINT balances_are_sums",
        "ALTER TABLE ledger_entries DROP CONSTRAINT ledger_entries_chain",
    )
    account = new_account()
    async with pool(database.url) as opened:
        for amount in (50, -20, 30):
            await post(opened, draft(account, amount))
        number = int(tenant().tenant_id)
    assert (await check(database.owner_url, number, None)).wrong == {}
    await alter(database, f"SET passmill.tenant_id = '{number}'", statement)
    assert (await check(database.owner_url, number, None)).wrong[wrong] > 0
