"""What belongs to the deployment as a whole: the mark of its master key."""

from __future__ import annotations

import hmac

from passmill.store.database import Transaction


class WrongMasterKey(Exception):
    """The database belongs to another master key; the message says what to do."""


class WrongEdgeKey(Exception):
    """The edge's key does not belong to this database; the message says what to do."""


async def check_edge_key(tx: Transaction, check_value: bytes) -> None:
    """WrongEdgeKey when passes of this database have tokens of another key than the one
    `check_value` (16 bytes) is of, or no API process has been there yet."""
    kept = await tx.fetch_value("SELECT edge_key_check FROM deployment")
    if kept is None:
        raise WrongEdgeKey(
            "No API process has used this database yet. Start one first: it leaves the mark that"
            " PASSMILL_EDGE_KEY is checked with."
        )
    if not hmac.compare_digest(kept, check_value):
        raise WrongEdgeKey(
            "PASSMILL_EDGE_KEY does not belong to this database's master key: no device would be"
            " let in. Give what `passmill edge-key` prints where the master key is."
        )


async def keep_edge_key(tx: Transaction, check_value: bytes) -> None:
    """Leaves the mark that `check_edge_key` compares with. `check_master_key` goes before."""
    await tx.execute(
        "UPDATE deployment SET edge_key_check = $1 WHERE edge_key_check IS DISTINCT FROM $1",
        check_value,
    )


async def check_master_key(tx: Transaction, check_value: bytes) -> None:
    """WrongMasterKey when the database was first used with another master key than the one
    `check_value` (16 bytes) is of. The first use leaves the mark."""
    kept = await tx.fetch_value("SELECT master_key_check FROM deployment")
    if kept is None:
        await tx.execute(
            "INSERT INTO deployment (is_only, master_key_check) VALUES (true, $1)"
            " ON CONFLICT DO NOTHING",
            check_value,
        )
        kept = await tx.fetch_value("SELECT master_key_check FROM deployment")
    if not hmac.compare_digest(kept, check_value):
        raise WrongMasterKey(
            "PASSMILL_MASTER_KEY is not the one this database was first used with: its signing"
            " identities could not be opened, and passes would get tokens that no device knows."
            " Give the first one."
        )
