"""Passes as a device asks for them: what version there is, and what must be signed before it can be
served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from passmill.domain.ids import PassId, RevisionId
from passmill.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """What If-Modified-Since is answered from."""

    pass_type_identifier: str
    token_generation: int
    signing_time: datetime
    revision_id: RevisionId


async def read_versions(tx: Transaction, pass_ids: Sequence[PassId]) -> dict[PassId, StoredVersion]:
    """The versions of these passes, as far as they exist."""
    # The pass type by a subquery instead of a join: there is one way only to run this, by the keys.
    rows = await tx.fetch(
        """
        SELECT p.pass_id, p.token_generation, p.signing_time, p.revision_id, (
            SELECT r.pass_type_identifier FROM template_revisions r
            WHERE r.tenant_id = $1 AND r.revision_id = p.revision_id) AS pass_type_identifier
        FROM passes p WHERE p.tenant_id = $1 AND p.pass_id = ANY($2)
        """,
        tx.tenant_id,
        pass_ids,
    )
    return {
        row["pass_id"]: StoredVersion(
            pass_type_identifier=row["pass_type_identifier"],
            token_generation=row["token_generation"],
            signing_time=row["signing_time"],
            revision_id=RevisionId(row["revision_id"]),
        )
        for row in rows
    }


async def queue_signing(
    tx: Transaction, pass_id: PassId, *, version: int, outstanding_since: datetime
) -> None:
    """Takes away a signature that does not fit, if the pass is still at this version, and sees to
    it that the pass is signed. An intent that is there already keeps its turn."""
    await tx.execute(
        """
        WITH unsigned AS (
            UPDATE passes SET signature = NULL
            WHERE tenant_id = $1 AND pass_id = $2 AND version = $3
            RETURNING pass_id
        )
        INSERT INTO signing_intents (tenant_id, pass_id, create_time)
        SELECT $1, pass_id, $4 FROM unsigned
        ON CONFLICT DO NOTHING
        """,
        tx.tenant_id,
        pass_id,
        version,
        outstanding_since,
    )


async def keep_intent(tx: Transaction, pass_id: PassId, *, outstanding_since: datetime) -> None:
    """Sees to it that an unsigned pass is signed, should its intent be missing."""
    await tx.execute(
        """
        INSERT INTO signing_intents (tenant_id, pass_id, create_time)
        SELECT $1, pass_id, $3 FROM passes
        WHERE tenant_id = $1 AND pass_id = $2 AND signature IS NULL
        ON CONFLICT DO NOTHING
        """,
        tx.tenant_id,
        pass_id,
        outstanding_since,
    )
