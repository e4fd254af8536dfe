"""Holders at rest: what they are known by, and which passes are theirs.

Locks are taken in this order: holders, identities, passes of holders, passes. Whoever links locks
the holder for sharing, so that none is linked to one that is just being erased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from passmill.domain.holders import (
    HeldPass,
    HolderRecord,
    Identity,
    IdentityKind,
    KnownHolder,
    LinkedIdentity,
)
from passmill.domain.ids import HolderId, PassId, ProgramId, TemplateId, TenantId
from passmill.domain.passes import PassState
from passmill.domain.reference_ids import ReferenceNumber
from passmill.store.database import Transaction

_HOLDER: Final = "SELECT holder_id, create_time, erase_time, erase_end_time FROM holders"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityKey:
    """How an identity is kept."""

    kind: IdentityKind
    system: str
    key_hash: bytes = field(repr=False)

    @classmethod
    def of(cls, identity: Identity, key_hash: bytes) -> IdentityKey:
        """An identity with its keyed hash."""
        return cls(kind=identity.kind, system=identity.system, key_hash=key_hash)


async def find_holder(tx: Transaction, holder_id: HolderId) -> HolderRecord | None:
    """The holder with this id."""
    row = await tx.fetch_one(
        _HOLDER + " WHERE tenant_id = $1 AND holder_id = $2", tx.tenant_id, holder_id
    )
    return None if row is None else _holder(row)


async def share_holder(tx: Transaction, holder_id: HolderId) -> HolderRecord | None:
    """As `find_holder`; nobody erases it before this transaction ends."""
    row = await tx.fetch_one(
        _HOLDER + " WHERE tenant_id = $1 AND holder_id = $2 FOR SHARE", tx.tenant_id, holder_id
    )
    return None if row is None else _holder(row)


async def insert_holder(tx: Transaction, holder_id: HolderId, *, now: datetime) -> None:
    """A new holder of nothing."""
    await tx.execute(
        "INSERT INTO holders (tenant_id, holder_id, create_time) VALUES ($1, $2, $3)",
        tx.tenant_id,
        holder_id,
        now,
    )


async def mark_erased(tx: Transaction, holder_id: HolderId, *, now: datetime) -> bool:
    """Decides who erases a holder: True once. Nobody links to it from here on."""
    return bool(
        await tx.execute(
            "UPDATE holders SET erase_time = $3"
            " WHERE tenant_id = $1 AND holder_id = $2 AND erase_time IS NULL",
            tx.tenant_id,
            holder_id,
            now,
        )
    )


async def mark_erasure_complete(tx: Transaction, holder_id: HolderId, *, now: datetime) -> bool:
    """Notes that nothing is left of a holder: True once."""
    return bool(
        await tx.execute(
            "UPDATE holders SET erase_end_time = $3 WHERE tenant_id = $1 AND holder_id = $2"
            " AND erase_time IS NOT NULL AND erase_end_time IS NULL",
            tx.tenant_id,
            holder_id,
            now,
        )
    )


async def find_erasing(
    tx: Transaction, *, before: datetime, but: Sequence[HolderId], at_most: int
) -> list[tuple[TenantId, HolderId]]:
    """Holders of any tenant, without these, erased before this time whose erasure is not complete,
    the oldest first.

    For an operator's transaction: others see their own tenant's alone.
    """
    rows = await tx.fetch(
        "SELECT tenant_id, holder_id FROM holders"
        " WHERE erase_time IS NOT NULL AND erase_end_time IS NULL AND erase_time < $1"
        " AND NOT holder_id = ANY($2) ORDER BY erase_time LIMIT $3",
        before,
        but,
        at_most,
    )
    return [(TenantId(row["tenant_id"]), HolderId(_uuid(row["holder_id"]))) for row in rows]


async def find_identity(tx: Transaction, key: IdentityKey) -> HolderId | None:
    """Whose identity it is."""
    found = await tx.fetch_value(
        "SELECT holder_id FROM holder_keys WHERE tenant_id = $1 AND system = $2 AND key_hash = $3",
        tx.tenant_id,
        key.system,
        key.key_hash,
    )
    return None if found is None else HolderId(_uuid(found))


async def insert_identity(
    tx: Transaction, key: IdentityKey, holder_id: HolderId, *, now: datetime
) -> bool:
    """Makes an identity a holder's, if it is nobody's."""
    return bool(
        await tx.execute(
            "INSERT INTO holder_keys (tenant_id, system, key_hash, holder_id, kind, create_time)"
            " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            tx.tenant_id,
            key.system,
            key.key_hash,
            holder_id,
            key.kind,
            now,
        )
    )


async def move_identity(
    tx: Transaction,
    key: IdentityKey,
    *,
    previous: HolderId,
    holder_id: HolderId,
    now: datetime,
) -> bool:
    """Makes an identity another holder's, if it is still `previous`'s."""
    return bool(
        await tx.execute(
            "UPDATE holder_keys SET holder_id = $5, create_time = $6"
            " WHERE tenant_id = $1 AND system = $2 AND key_hash = $3 AND holder_id = $4",
            tx.tenant_id,
            key.system,
            key.key_hash,
            previous,
            holder_id,
            now,
        )
    )


async def delete_identity(tx: Transaction, key: IdentityKey, holder_id: HolderId) -> bool:
    """Makes a holder's identity nobody's; gives whether it was the holder's."""
    return bool(
        await tx.execute(
            "DELETE FROM holder_keys"
            " WHERE tenant_id = $1 AND system = $2 AND key_hash = $3 AND holder_id = $4",
            tx.tenant_id,
            key.system,
            key.key_hash,
            holder_id,
        )
    )


async def delete_identities(tx: Transaction, holder_id: HolderId) -> list[bytes]:
    """Makes all identities of a holder nobody's; gives their keyed hashes."""
    rows = await tx.fetch(
        "DELETE FROM holder_keys WHERE tenant_id = $1 AND holder_id = $2 RETURNING key_hash",
        tx.tenant_id,
        holder_id,
    )
    return [row["key_hash"] for row in rows]


async def find_pass_holder(tx: Transaction, pass_id: PassId) -> HolderId | None:
    """Whose pass it is, None when it was never linked."""
    found = await tx.fetch_value(
        "SELECT holder_id FROM pass_holders WHERE tenant_id = $1 AND pass_id = $2",
        tx.tenant_id,
        pass_id,
    )
    return None if found is None else HolderId(_uuid(found))


async def insert_pass_holder(
    tx: Transaction, pass_id: PassId, holder_id: HolderId, *, now: datetime
) -> bool:
    """Makes a pass a holder's, if it is nobody's."""
    return bool(
        await tx.execute(
            "INSERT INTO pass_holders (tenant_id, pass_id, holder_id, create_time)"
            " VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            tx.tenant_id,
            pass_id,
            holder_id,
            now,
        )
    )


async def move_pass_holder(
    tx: Transaction, pass_id: PassId, *, previous: HolderId, holder_id: HolderId, now: datetime
) -> bool:
    """Makes a pass another holder's, if it is still `previous`'s."""
    return bool(
        await tx.execute(
            "UPDATE pass_holders SET holder_id = $4, create_time = $5"
            " WHERE tenant_id = $1 AND pass_id = $2 AND holder_id = $3",
            tx.tenant_id,
            pass_id,
            previous,
            holder_id,
            now,
        )
    )


async def list_pass_ids(tx: Transaction, holder_id: HolderId) -> list[PassId]:
    """The passes of a holder, in the order of their ids."""
    rows = await tx.fetch(
        "SELECT pass_id FROM pass_holders WHERE tenant_id = $1 AND holder_id = $2 ORDER BY pass_id",
        tx.tenant_id,
        holder_id,
    )
    return [PassId(_uuid(row["pass_id"])) for row in rows]


async def count_identities(tx: Transaction, holder_id: HolderId) -> int:
    """How many identities a holder has."""
    return int(
        await tx.fetch_value(
            "SELECT count(*) FROM holder_keys WHERE tenant_id = $1 AND holder_id = $2",
            tx.tenant_id,
            holder_id,
        )
    )


async def count_passes(tx: Transaction, holder_id: HolderId) -> int:
    """How many passes a holder has."""
    return int(
        await tx.fetch_value(
            "SELECT count(*) FROM pass_holders WHERE tenant_id = $1 AND holder_id = $2",
            tx.tenant_id,
            holder_id,
        )
    )


async def passes_with_phone(tx: Transaction, phone: str, *, at_most: int) -> list[PassId]:
    """Passes that show this number, the oldest first."""
    rows = await tx.fetch(
        "SELECT pass_id FROM passes WHERE tenant_id = $1 AND holder_phone <> ''"
        " AND holder_phone = $2 ORDER BY pass_id LIMIT $3",
        tx.tenant_id,
        phone,
        at_most,
    )
    return [PassId(_uuid(row["pass_id"])) for row in rows]


async def passes_with_external_id(
    tx: Transaction, system: str, external_id: str, *, at_most: int
) -> list[PassId]:
    """Passes issued with this id, the oldest first."""
    rows = await tx.fetch(
        "SELECT pass_id FROM pass_external_ids WHERE tenant_id = $1 AND system = $2"
        " AND external_id = $3 ORDER BY pass_id LIMIT $4",
        tx.tenant_id,
        system,
        external_id,
        at_most,
    )
    return [PassId(_uuid(row["pass_id"])) for row in rows]


async def read_known(
    tx: Transaction, holder_ids: Sequence[HolderId], pass_ids: Sequence[PassId]
) -> list[KnownHolder]:
    """These holders and those of these passes, each once and with all that is linked to it: first
    the holders by their ids, which is by age, then the passes that were never linked."""
    links = await tx.fetch(
        "SELECT pass_id, holder_id FROM pass_holders WHERE tenant_id = $1"
        " AND (holder_id = ANY($2) OR holder_id = ANY(ARRAY("
        "  SELECT holder_id FROM pass_holders WHERE tenant_id = $1 AND pass_id = ANY($3))))",
        tx.tenant_id,
        holder_ids,
        pass_ids,
    )
    holder_of = {_uuid(row["pass_id"]): _uuid(row["holder_id"]) for row in links}
    wanted = sorted({*holder_ids, *holder_of.values()})
    rows = await tx.fetch(
        _HOLDER + " WHERE tenant_id = $1 AND holder_id = ANY($2) ORDER BY holder_id",
        tx.tenant_id,
        wanted,
    )
    keys = await tx.fetch(
        "SELECT holder_id, kind, system, create_time FROM holder_keys WHERE tenant_id = $1"
        " AND holder_id = ANY($2) ORDER BY create_time, system, kind",
        tx.tenant_id,
        wanted,
    )
    held = await _held_passes(tx, {*holder_of, *pass_ids})
    known = [
        KnownHolder(
            holder=_holder(row),
            identities=[_linked(key) for key in keys if key["holder_id"] == row["holder_id"]],
            passes=[each for each in held if holder_of.get(each.pass_id) == row["holder_id"]],
        )
        for row in rows
    ]
    return [
        *known,
        *(
            KnownHolder(holder=None, identities=(), passes=(each,))
            for each in held
            if each.pass_id not in holder_of
        ),
    ]


async def _held_passes(tx: Transaction, pass_ids: set[UUID]) -> list[HeldPass]:
    rows = await tx.fetch(
        """
        SELECT p.pass_id, p.reference_number, p.state, p.create_time, t.program_id, t.template_id
        FROM passes p
        JOIN template_revisions r ON r.tenant_id = p.tenant_id AND r.revision_id = p.revision_id
        JOIN templates t ON t.tenant_id = r.tenant_id AND t.template_id = r.template_id
        WHERE p.tenant_id = $1 AND p.pass_id = ANY($2) ORDER BY p.create_time, p.pass_id
        """,
        tx.tenant_id,
        sorted(pass_ids),
    )
    return [
        HeldPass(
            pass_id=PassId(_uuid(row["pass_id"])),
            reference_number=ReferenceNumber(row["reference_number"]),
            program_id=ProgramId(_uuid(row["program_id"])),
            template_id=TemplateId(_uuid(row["template_id"])),
            state=PassState(row["state"]),
            create_time=row["create_time"],
        )
        for row in rows
    ]


def _holder(row: asyncpg.Record) -> HolderRecord:
    return HolderRecord(
        holder_id=HolderId(_uuid(row["holder_id"])),
        create_time=row["create_time"],
        erase_time=row["erase_time"],
        erase_end_time=row["erase_end_time"],
    )


def _linked(row: asyncpg.Record) -> LinkedIdentity:
    return LinkedIdentity(
        kind=IdentityKind(row["kind"]), system=row["system"], create_time=row["create_time"]
    )


def _uuid(value: UUID) -> UUID:
    # asyncpg's own UUID type is a subclass; the plain one compares and prints alike.
    return UUID(int=value.int)
