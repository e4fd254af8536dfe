"""Reward sign-ups from when the edge takes them in until their signature is no longer asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self
from uuid import UUID

from passmill.domain.ids import PassId, TenantId
from passmill.store.database import Transaction
from passmill.store.jobs import JobKind, enqueue_jobs

_PRIORITY: Final = 0  # among themselves: the kind has a worker of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Personalization:
    """One sign-up. `info`: what it says of the holder (`holder_to_json`), '' once the pass has it.
    `signature`: the detached CMS over the token, None until the pass is personalised."""

    request_id: UUID
    pass_id: PassId
    token: str = field(repr=False)
    info: str = field(repr=False)
    signature: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalizationPayload:
    """What a job of kind PERSONALIZE is about."""

    tenant_id: TenantId
    request_id: UUID

    def encode(self) -> bytes:
        """As the queue keeps it."""
        return json.dumps([self.tenant_id, str(self.request_id)]).encode()

    @classmethod
    def decode(cls, payload: bytes | None) -> Self:
        """What `encode` wrote. ValueError for anything else."""
        tenant_id, request_id = json.loads(payload or b"null")
        return cls(tenant_id=TenantId(tenant_id), request_id=UUID(request_id))

    def log_fields(self) -> dict[str, str]:
        """What the log says of it."""
        return {"tenant_id": str(self.tenant_id), "sign_up_id": str(self.request_id)}


async def insert_personalization(
    tx: Transaction, sign_up: Personalization, *, now: datetime, at_most_open: int
) -> bool:
    """Takes a sign-up in and queues its job; False when it is there already, or so many of its pass
    are open."""
    inserted = await tx.execute(
        "INSERT INTO personalizations (tenant_id, request_id, pass_id, token, info, create_time)"
        " SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT count(*) FROM personalizations"
        "  WHERE tenant_id = $1 AND pass_id = $3 AND end_time IS NULL) < $7"
        " ON CONFLICT DO NOTHING",
        tx.tenant_id,
        sign_up.request_id,
        sign_up.pass_id,
        sign_up.token,
        sign_up.info,
        now,
        at_most_open,
    )
    if not inserted:
        return False
    payload = PersonalizationPayload(tenant_id=tx.tenant_id, request_id=sign_up.request_id)
    await enqueue_jobs(tx, JobKind.PERSONALIZE, [payload.encode()], priority=_PRIORITY)
    return True


async def find_personalization(tx: Transaction, request_id: UUID) -> Personalization | None:
    """The sign-up with this id."""
    row = await tx.fetch_one(
        "SELECT pass_id, token, info, signature FROM personalizations"
        " WHERE tenant_id = $1 AND request_id = $2",
        tx.tenant_id,
        request_id,
    )
    if row is None:
        return None
    return Personalization(
        request_id=request_id,
        pass_id=PassId(UUID(int=row["pass_id"].int)),
        token=row["token"],
        info=row["info"],
        signature=row["signature"],
    )


async def end_personalization(
    tx: Transaction, request_id: UUID, *, signature: bytes, now: datetime
) -> bool:
    """Keeps a sign-up's signature, and forgets what it said of the holder; False when it is over or
    gone."""
    ended = await tx.execute(
        "UPDATE personalizations SET signature = $3, end_time = $4, info = ''"
        " WHERE tenant_id = $1 AND request_id = $2 AND end_time IS NULL",
        tx.tenant_id,
        request_id,
        signature,
        now,
    )
    return ended == 1


async def drop_personalization(tx: Transaction, request_id: UUID) -> None:
    """Forgets a sign-up that nothing became of."""
    await tx.execute(
        "DELETE FROM personalizations"
        " WHERE tenant_id = $1 AND request_id = $2 AND end_time IS NULL",
        tx.tenant_id,
        request_id,
    )


async def delete_personalizations_before(tx: Transaction, moment: datetime, *, at_most: int) -> int:
    """Forgets sign-ups of any tenant older than `moment`, ended or not; gives how many.

    For an operator's transaction: others reach their own tenant's alone.
    """
    return await tx.execute(
        "DELETE FROM personalizations WHERE (tenant_id, request_id) IN (SELECT tenant_id,"
        " request_id FROM personalizations WHERE create_time < $1 ORDER BY create_time LIMIT $2)",
        moment,
        at_most,
    )
