"""Claims from when they are taken in; who has a claim's key has its pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self
from uuid import UUID

import asyncpg

from passmill.domain.claim_forms import answers_from_json, answers_to_json
from passmill.domain.claims import Claim, ClaimId, ClaimLinkId
from passmill.domain.ids import PassId, TenantId
from passmill.store.database import Transaction
from passmill.store.jobs import JobKind, enqueue_jobs

_PRIORITY: Final = 0  # among themselves: the kind has a worker of its own
_SELECT: Final = (
    "SELECT claim_id, link_id, key_hash, person_hash, second_person_hash, answers, pass_id"
    " FROM claims"
    " WHERE tenant_id = $1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimPayload:
    """What a job of kind CLAIM is about."""

    tenant_id: TenantId
    claim_id: ClaimId

    def encode(self) -> bytes:
        """As the queue keeps it."""
        return json.dumps([self.tenant_id, str(self.claim_id)]).encode()

    @classmethod
    def decode(cls, payload: bytes | None) -> Self:
        """What `encode` wrote. ValueError for anything else."""
        tenant_id, claim_id = json.loads(payload or b"null")
        return cls(tenant_id=TenantId(tenant_id), claim_id=ClaimId(UUID(claim_id)))

    def log_fields(self) -> dict[str, str]:
        """What the log says of it."""
        return {"tenant_id": str(self.tenant_id), "claim_id": str(self.claim_id)}


async def insert_claim(tx: Transaction, claim: Claim, *, now: datetime) -> bool:
    """Takes a claim in; False when there is one with its key, or of its person, by this link. A
    claim that is being taken in just now is waited for."""
    inserted = await tx.execute(
        "INSERT INTO claims (tenant_id, claim_id, link_id, key_hash, answers, pass_id,"
        " create_time, issue_time, person_hash, second_person_hash)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7,"
        "  CASE WHEN $6::uuid IS NOT NULL THEN $7::timestamptz END, $8, $9)"
        " ON CONFLICT DO NOTHING",
        tx.tenant_id,
        claim.claim_id,
        claim.link_id,
        claim.key_hash,
        "" if claim.answers is None else answers_to_json(claim.answers),
        claim.pass_id,
        now,
        *(*claim.person_hashes, None, None)[:2],
    )
    return inserted == 1


async def enqueue_claim(tx: Transaction, claim_id: ClaimId) -> None:
    """Queues the job that issues a claim's pass."""
    payload = ClaimPayload(tenant_id=tx.tenant_id, claim_id=claim_id)
    await enqueue_jobs(tx, JobKind.CLAIM, [payload.encode()], priority=_PRIORITY)


async def find_claim(tx: Transaction, claim_id: ClaimId) -> Claim | None:
    """The claim with this id."""
    row = await tx.fetch_one(f"{_SELECT} AND claim_id = $2", tx.tenant_id, claim_id)
    return None if row is None else _claim(row)


async def find_claim_by_key(tx: Transaction, link_id: ClaimLinkId, key_hash: bytes) -> Claim | None:
    """The claim by this link with this key."""
    row = await tx.fetch_one(
        f"{_SELECT} AND link_id = $2 AND key_hash = $3", tx.tenant_id, link_id, key_hash
    )
    return None if row is None else _claim(row)


async def find_claim_of_person(
    tx: Transaction, link_id: ClaimLinkId, person_hashes: Sequence[bytes]
) -> Claim | None:
    """The claim by this link of who is known again by one of these."""
    row = await tx.fetch_one(
        f"{_SELECT} AND link_id = $2 AND (person_hash = ANY($3) OR second_person_hash = ANY($3))"
        " LIMIT 1",
        tx.tenant_id,
        link_id,
        person_hashes,
    )
    return None if row is None else _claim(row)


async def find_any_claim(tx: Transaction, link_id: ClaimLinkId) -> Claim | None:
    """A claim by this link: the one there is, of a link for one."""
    row = await tx.fetch_one(f"{_SELECT} AND link_id = $2 LIMIT 1", tx.tenant_id, link_id)
    return None if row is None else _claim(row)


async def end_claim(tx: Transaction, claim_id: ClaimId, *, pass_id: PassId, now: datetime) -> bool:
    """Keeps a claim's pass, and forgets its answers; False when it has one, or is gone."""
    ended = await tx.execute(
        "UPDATE claims SET pass_id = $3, issue_time = $4, answers = ''"
        " WHERE tenant_id = $1 AND claim_id = $2 AND pass_id IS NULL",
        tx.tenant_id,
        claim_id,
        pass_id,
        now,
    )
    return ended == 1


async def drop_claim(tx: Transaction, claim_id: ClaimId) -> bool:
    """Forgets a claim that nothing became of; False when it has a pass, or is gone."""
    dropped = await tx.execute(
        "DELETE FROM claims WHERE tenant_id = $1 AND claim_id = $2 AND pass_id IS NULL",
        tx.tenant_id,
        claim_id,
    )
    return dropped == 1


async def note_recovery(
    tx: Transaction, claim_id: ClaimId, *, now: datetime, pause: timedelta, at_most: int
) -> bool | None:
    """Counts that a claim's pass is asked for again; False within `pause` of the last time, None
    after `at_most` times on one day (UTC)."""
    row = await tx.fetch_one(
        "SELECT recovery_time, recovery_count FROM claims"
        " WHERE tenant_id = $1 AND claim_id = $2 FOR UPDATE",
        tx.tenant_id,
        claim_id,
    )
    if row is None:
        return False
    last, count = row["recovery_time"], row["recovery_count"]
    if last is not None and last + pause > now:
        return False
    if last is None or last.astimezone(UTC).date() < now.date():
        count = 0
    if count >= at_most:
        return None
    await tx.execute(
        "UPDATE claims SET recovery_time = $3, recovery_count = $4"
        " WHERE tenant_id = $1 AND claim_id = $2",
        tx.tenant_id,
        claim_id,
        now,
        count + 1,
    )
    return True


def _claim(row: asyncpg.Record) -> Claim:
    return Claim(
        claim_id=ClaimId(UUID(int=row["claim_id"].int)),
        link_id=ClaimLinkId(UUID(int=row["link_id"].int)),
        key_hash=row["key_hash"],
        person_hashes=tuple(
            each for each in (row["person_hash"], row["second_person_hash"]) if each is not None
        ),
        answers=answers_from_json(row["answers"]) if row["answers"] else None,
        pass_id=None if row["pass_id"] is None else PassId(UUID(int=row["pass_id"].int)),
    )
