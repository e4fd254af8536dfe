"""What belongs to the deployment as a whole: the mark of its master key."""

from __future__ import annotations

import hmac

from passmill.store.database import Transaction


class WrongMasterKey(Exception):
    """The database belongs to another master key; the message says what to do."""


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
