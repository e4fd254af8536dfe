"""The mark of the master key."""

from __future__ import annotations

import asyncio
import secrets

import asyncpg
import pytest

from passmill.domain.callers import operator_caller
from passmill.domain.keyring import Keyring
from passmill.store.database import open_database
from passmill.store.deployment import WrongMasterKey, check_master_key
from tests.support.postgres import Database


async def _check(url: str, keyring: Keyring) -> None:
    async with open_database(url, min_connections=1, max_connections=1) as opened:
        caller = operator_caller(deadline=asyncio.get_running_loop().time() + 30)
        async with opened.transaction(caller) as tx:
            await check_master_key(tx, keyring.check_value)


async def test_a_database_knows_its_master_key(database: Database) -> None:
    """The first key used is taken for good, another is refused with what to do."""
    first, other = Keyring(secrets.token_bytes(32)), Keyring(secrets.token_bytes(32))
    await _check(database.url, first)
    await _check(database.url, first)
    with pytest.raises(WrongMasterKey, match="Give the first one"):
        await _check(database.url, other)
    await _check(database.url, first)


async def test_the_application_cannot_change_the_mark(database: Database) -> None:
    """The application's role may leave the mark, but neither change nor remove it."""
    await _check(database.url, Keyring(secrets.token_bytes(32)))
    connection = await asyncpg.connect(database.url)
    try:
        for statement in (
            "UPDATE deployment SET master_key_check = ''",
            "DELETE FROM deployment",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
