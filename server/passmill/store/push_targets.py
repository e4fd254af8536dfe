"""The passes that a push job is about: of which pass type they are, and which are signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from passmill.domain.ids import PassId
from passmill.store.database import Transaction

_SELECT = """
SELECT r.pass_type_identifier,
    string_agg(uuid_send(p.pass_id), ''::bytea) FILTER (WHERE p.signature IS NOT NULL) AS signed,
    string_agg(uuid_send(p.pass_id), ''::bytea) FILTER (WHERE p.signature IS NULL) AS unsigned
FROM passes p
JOIN template_revisions r ON r.tenant_id = p.tenant_id AND r.revision_id = p.revision_id
WHERE p.tenant_id = $1 AND p.pass_id = ANY({})
GROUP BY r.pass_type_identifier
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushTargets:
    """Passes of one pass type, 16 bytes each. Who would fetch one that is not signed gets none."""

    pass_type_identifier: str
    signed: Sequence[bytes]
    unsigned: Sequence[bytes]


async def read_event_targets(tx: Transaction, event_id: UUID) -> list[PushTargets]:
    """The passes of an event; none when it is forgotten. One statement."""
    rows = await tx.fetch(
        _SELECT.format(
            "(SELECT pass_ids FROM outbox WHERE tenant_id = $1 AND event_id = $2)::uuid[]"
        ),
        tx.tenant_id,
        event_id,
    )
    return [_targets(row) for row in rows]


async def read_pass_targets(tx: Transaction, pass_ids: Sequence[PassId]) -> list[PushTargets]:
    """These passes. One statement."""
    rows = await tx.fetch(_SELECT.format("$2::uuid[]"), tx.tenant_id, pass_ids)
    return [_targets(row) for row in rows]


def _targets(row: asyncpg.Record) -> PushTargets:
    return PushTargets(
        pass_type_identifier=row["pass_type_identifier"],
        signed=_split(row["signed"]),
        unsigned=_split(row["unsigned"]),
    )


def _split(joined: bytes | None) -> list[bytes]:
    return [joined[at : at + 16] for at in range(0, len(joined), 16)] if joined else []
