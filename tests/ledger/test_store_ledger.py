"""The ledger at rest: what its one statement decides, and what the database will not have."""

from __future__ import annotations

import asyncio
import uuid

import asyncpg
import pytest

from passmill.domain.ledger import LARGEST_BALANCE, EntryKind, EntryRefusal
from passmill.store.ledger import get_balances, list_entries
from tests.support.ledgers import NOON, draft, new_account, pool, post, tenant
from tests.support.postgres import Database

pytestmark = pytest.mark.asyncio


async def test_entries_follow_one_another(database: Database) -> None:
    """Entries are numbered from 1, each goes on where the one before ended, and the balance says
    their sum, how many they are and what was earned."""
    account = new_account()
    async with pool(database.url) as opened:
        for amount in (100, -30, 5):
            posted = await post(opened, draft(account, amount))
            assert posted.refusal is None
        async with opened.transaction(tenant()) as tx:
            entries = await list_entries(tx, account, "points", before=1 << 30, at_most=10)
            [balance] = (await get_balances(tx, [account], now=NOON)).values()
    assert [(each.sequence, each.amount, each.balance_after) for each in entries] == [
        (3, 5, 75),
        (2, -30, 70),
        (1, 100, 100),
    ]
    assert (balance.version, balance.balance, balance.earned, balance.held) == (3, 75, 105, 0)
    assert posted.balance == balance


async def test_what_is_not_there_is_not_spent(database: Database) -> None:
    """Burning more than there is, of an account with and without entries, posts nothing and tells
    the balance as it is."""
    account = new_account()
    async with pool(database.url) as opened:
        assert (await post(opened, draft(account, -1))).refusal is (
            EntryRefusal.INSUFFICIENT_BALANCE
        )
        await post(opened, draft(account, 10))
        refused = await post(opened, draft(account, -11))
        assert refused.entry is None
        assert refused.refusal is EntryRefusal.INSUFFICIENT_BALANCE
        assert refused.balance.balance == 10
        assert (await post(opened, draft(account, -10))).balance.balance == 0


async def test_a_balance_stays_exact(database: Database) -> None:
    """A balance grows to the largest number that wallets hold exactly, and no further."""
    account = new_account()
    async with pool(database.url) as opened:
        assert (await post(opened, draft(account, LARGEST_BALANCE))).refusal is None
        posted = await post(opened, draft(account, 1))
        assert posted.refusal is EntryRefusal.BALANCE_TOO_LARGE


async def test_expected_version(database: Database) -> None:
    """An entry for a version is posted to that one alone; 0 means that there are none yet."""
    account = new_account()
    async with pool(database.url) as opened:
        assert (await post(opened, draft(account, 5, expected_version=0))).refusal is None
        stale = await post(opened, draft(account, 5, expected_version=0))
        assert stale.refusal is EntryRefusal.VERSION_MISMATCH
        assert stale.balance.version == 1
        assert (await post(opened, draft(account, 5, expected_version=1))).refusal is None


async def test_a_key_posts_once(database: Database) -> None:
    """The same entry under the same key is given again, also when there would no longer be enough;
    another one, or to another account, is refused."""
    account = new_account()
    async with pool(database.url) as opened:
        await post(opened, draft(account, 10))
        burn = draft(account, -10)
        first, again = await post(opened, burn), await post(opened, burn)
        assert again.is_repeated
        assert (again.entry, again.refusal) == (first.entry, None)
        for other in (
            draft(account, -9, request_id=burn.request_id),
            draft(new_account(), -10, request_id=burn.request_id),
        ):
            assert (await post(opened, other)).refusal is EntryRefusal.REQUEST_ID_REUSED


async def test_a_key_posts_once_at_once(database: Database) -> None:
    """Twenty who send the same entry at the same time post it once and all get it."""
    account, key = new_account(), uuid.uuid4()
    async with pool(database.url, connections=8) as opened:
        await post(opened, draft(account, 100))
        posted = await asyncio.gather(
            *(post(opened, draft(account, -7, request_id=key)) for _ in range(20))
        )
        assert {each.entry.sequence for each in posted if each.entry} == {2}
        assert sum(not each.is_repeated for each in posted) == 1
        assert posted[0].balance.balance == 93


async def test_the_last_points_go_to_one(database: Database) -> None:
    """Of thirty who would burn 10 of 100 at the same time ten succeed."""
    account = new_account()
    async with pool(database.url, connections=8) as opened:
        await post(opened, draft(account, 100))
        posted = await asyncio.gather(*(post(opened, draft(account, -10)) for _ in range(30)))
    assert sum(each.entry is not None for each in posted) == 10
    refusals = {each.refusal for each in posted if each.entry is None}
    assert refusals == {EntryRefusal.INSUFFICIENT_BALANCE}


async def test_an_entry_is_taken_back_once(database: Database) -> None:
    """Of ten reversals of one entry at the same time one is posted; the others name it."""
    account = new_account()
    async with pool(database.url, connections=8) as opened:
        earned = (await post(opened, draft(account, 40))).entry
        assert earned is not None
        await post(opened, draft(account, 60))

        reversals = [
            draft(
                account,
                -40,
                kind=EntryKind.REVERSAL,
                earned=-40,
                reversed_entry_id=earned.entry_id,
            )
            for _ in range(10)
        ]
        posted = await asyncio.gather(*(post(opened, each) for each in reversals))
    assert len({each.entry.entry_id for each in posted if each.entry}) == 1
    assert sum(each.refusal is EntryRefusal.ALREADY_REVERSED for each in posted) == 9
    assert (posted[0].balance.balance, posted[0].balance.earned) == (60, 60)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET amount = 1",
        "DELETE FROM ledger_entries",
        "DELETE FROM balances",
        "UPDATE balances SET balance = balance + 1",
        "UPDATE balances SET version = version + 1",
        "UPDATE balances SET held = balance + 1",
        "UPDATE balances SET held = -1",
    ],
)
async def test_the_database_keeps_the_sum(database: Database, statement: str) -> None:
    """No statement of the application makes a balance other than the sum of its entries, or changes
    an entry."""
    account = new_account()
    async with pool(database.url) as opened:
        await post(opened, draft(account, 100))
        await post(opened, draft(account, -25))
        with pytest.raises(
            (asyncpg.IntegrityConstraintViolationError, asyncpg.InsufficientPrivilegeError)
        ):
            async with opened.transaction(tenant()) as tx:
                await tx.execute(statement)


async def test_a_ledger_that_was_tampered_with(database: Database) -> None:
    """A balance set back to before its entries posts nothing more, and says so as a fault."""
    account = new_account()
    async with pool(database.url) as opened:
        await post(opened, draft(account, 100))
        async with opened.transaction(tenant()) as tx:
            await tx.execute("UPDATE balances SET version = 0, balance = 0")
        with pytest.raises(RuntimeError):
            await post(opened, draft(account, 1))


@pytest.mark.parametrize(
    ("sequence", "amount", "after"),
    [(3, 10, 84), (3, 10, 86), (3, -80, -5), (4, 10, 85), (1, 10, 10), (2, 10, 110), (0, 5, 5)],
)
async def test_no_entry_out_of_the_chain(
    database: Database, sequence: int, amount: int, after: int
) -> None:
    """An entry that leaves a gap, takes another's place, goes on from another balance than the last
    entry's or below zero is refused by the database, whoever writes it."""
    account = new_account()
    async with pool(database.url) as opened:
        await post(opened, draft(account, 100))
        await post(opened, draft(account, -25))
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            async with opened.transaction(tenant()) as tx:
                await tx.execute(
                    "INSERT INTO ledger_entries (tenant_id, account_id, unit, sequence, kind,"
                    " amount, balance_after, entry_id, request_id, reference, occur_time,"
                    " create_time) VALUES ($1, $2, 'points', $3, 1, $4, $5, $6, $6, '', $7, $7)",
                    tx.tenant_id,
                    account,
                    sequence,
                    amount,
                    after,
                    uuid.uuid4(),
                    NOON,
                )
