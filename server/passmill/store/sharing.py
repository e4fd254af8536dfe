"""How many devices a pass is on, where its template limits that, and what was done about it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self
from uuid import UUID

import asyncpg

from passmill.domain.ids import PassId, TenantId, new_uuid
from passmill.domain.passes import PassState
from passmill.domain.registrations import DeviceNumber, RemoveReason
from passmill.domain.tags import MAX_TAGS
from passmill.domain.templates.sharing import SharingPolicy, policy_from_json
from passmill.store.database import Transaction
from passmill.store.jobs import JobKind, enqueue_jobs
from passmill.store.registrations import PassKey

MOST_OVER_SHARES: Final = 1_000
"""Devices of a pass that are told of: whoever has a pass's token can make up any number."""

_PRIORITY: Final = 0  # among themselves: the kind has a worker of its own
_COUNTED: Final = (
    "SELECT p.state, v.sharing FROM passes p JOIN template_revisions v"
    " ON v.tenant_id = $1 AND v.revision_id = p.revision_id"
    " WHERE p.tenant_id = $1 AND p.pass_id = $2"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """A device that a count leaves out, by its number and its token."""

    device_number: DeviceNumber
    push_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharers:
    """Devices that a pass is on, as its policy counts them. `devices`: different ones; `pushed`:
    those of them that can be pushed. `has_newcomer`: the device that was left out has the pass."""

    devices: int
    pushed: Sequence[DeviceNumber]
    has_newcomer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reissue:
    """A pass that is to be voided and issued anew. `new_pass_id`: the one that it was."""

    reissue_id: UUID
    new_pass_id: PassId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReissuePayload:
    """What a job of kind REISSUE is about."""

    tenant_id: TenantId
    pass_id: PassId

    def encode(self) -> bytes:
        """As the queue keeps it."""
        return json.dumps([self.tenant_id, str(self.pass_id)]).encode()

    @classmethod
    def decode(cls, payload: bytes | None) -> Self:
        """What `encode` wrote. ValueError for anything else."""
        tenant_id, pass_id = json.loads(payload or b"null")
        return cls(tenant_id=TenantId(tenant_id), pass_id=PassId(UUID(pass_id)))

    def log_fields(self) -> dict[str, str]:
        """What the log says of it."""
        return {"tenant_id": str(self.tenant_id), "pass_id": str(self.pass_id)}


async def hold_shared_pass(
    tx: Transaction, key: PassKey
) -> tuple[PassState, SharingPolicy | None] | None:
    """The state and policy of a pass, whose devices nobody else counts until the transaction ends;
    None when there is none with this key."""
    await _hold_devices(tx, key.pass_id)
    row = await tx.fetch_one(
        f"{_COUNTED} AND p.token_generation = $3 AND v.pass_type_identifier = $4",
        tx.tenant_id,
        key.pass_id,
        key.token_generation,
        key.pass_type_identifier,
    )
    return None if row is None else _shared_pass(row)


async def hold_counted_pass(
    tx: Transaction, pass_id: PassId
) -> tuple[PassState, SharingPolicy | None]:
    """As `hold_shared_pass`, of a pass that there is, whatever its key."""
    await _hold_devices(tx, pass_id)
    row = await tx.fetch_one(_COUNTED, tx.tenant_id, pass_id)
    assert row is not None  # noqa: S101 - passes are never deleted
    return _shared_pass(row)


async def _hold_devices(tx: Transaction, pass_id: PassId) -> None:
    # Not the pass's row: whoever changes it may hold that for long, and registrations do not wait
    # for him. Taken first, read then: a statement that waits sees what was before it waited.
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('sharing ' || $1::bigint || $2::uuid, 0))",
        tx.tenant_id,
        pass_id,
    )


def _shared_pass(row: asyncpg.Record) -> tuple[PassState, SharingPolicy | None]:
    policy = None if row["sharing"] is None else policy_from_json(row["sharing"])
    return PassState(row["state"]), policy


async def count_sharers(
    tx: Transaction,
    pass_id: PassId,
    policy: SharingPolicy,
    *,
    beside: Newcomer | None = None,
    now: datetime,
) -> Sharers:
    """The devices that a pass is on, but for `beside`, which was seen just now.

    One push token is one device, whatever names it came under. Where the policy binds, a device
    that removed the pass counts like one last seen then; its token may be gone from the row, so
    that its number tells it apart.
    """
    row = await tx.fetch_one(
        """
        WITH held AS (
            SELECT d.device_number, d.push_token, r.remove_time IS NULL AS is_live,
                d.device_number IS NOT DISTINCT FROM $3 AS is_newcomer
            FROM registrations r
            JOIN devices d ON d.tenant_id = $1 AND d.device_number = r.device_number
            WHERE r.tenant_id = $1 AND r.pass_id = $2
                AND (r.remove_time IS NULL OR $5 AND r.remove_reason = $6)
                AND ($7::timestamptz IS NULL OR coalesce(r.remove_time, d.last_seen_time) >= $7)
        ), other AS (
            SELECT * FROM held WHERE NOT is_newcomer AND push_token IS DISTINCT FROM $4
        )
        SELECT EXISTS (SELECT FROM held WHERE is_newcomer AND is_live) AS has_newcomer,
            count(DISTINCT coalesce(nullif(push_token, ''), device_number::text)) AS devices,
            array_agg(device_number ORDER BY device_number)
                FILTER (WHERE is_live AND push_token <> '') AS pushed
        FROM other
        """,
        tx.tenant_id,
        pass_id,
        None if beside is None else beside.device_number,
        None if beside is None else beside.push_token,
        policy.binds_first_device,
        RemoveReason.DEVICE_ASKED,
        policy.counted_since(now),
    )
    assert row is not None  # noqa: S101 - an aggregate has one row
    return Sharers(
        devices=row["devices"], pushed=row["pushed"] or (), has_newcomer=row["has_newcomer"]
    )


async def note_over_share(
    tx: Transaction, pass_id: PassId, push_token: str, *, now: datetime
) -> bool:
    """Remembers a device that was one too many; False when that is known, or of so many of the pass
    that this one is not told of."""
    inserted = await tx.execute(
        "INSERT INTO over_shares (tenant_id, pass_id, token_hash, create_time)"
        " SELECT $1, $2, $3, $4 WHERE (SELECT count(*) FROM over_shares"
        "  WHERE tenant_id = $1 AND pass_id = $2) < $5"
        " ON CONFLICT DO NOTHING",
        tx.tenant_id,
        pass_id,
        hashlib.sha256(push_token.encode()).digest(),
        now,
        MOST_OVER_SHARES,
    )
    return inserted == 1


async def delete_over_shares_before(tx: Transaction, moment: datetime, *, at_most: int) -> int:
    """Forgets devices of any tenant that were one too many before then; gives how many.

    For an operator's transaction: others reach their own tenant's alone.
    """
    return await tx.execute(
        "DELETE FROM over_shares WHERE (tenant_id, pass_id, token_hash) IN (SELECT tenant_id,"
        " pass_id, token_hash FROM over_shares WHERE create_time < $1"
        " ORDER BY create_time LIMIT $2)",
        moment,
        at_most,
    )


async def add_tag(tx: Transaction, pass_id: PassId, tag: str) -> None:
    """Gives a pass a tag, unless it has as many as may be."""
    await tx.execute(
        "INSERT INTO pass_tags (tenant_id, tag, pass_id) SELECT $1, $3, $2 WHERE"
        " (SELECT count(*) FROM pass_tags WHERE tenant_id = $1 AND pass_id = $2) < $4"
        " ON CONFLICT DO NOTHING",
        tx.tenant_id,
        pass_id,
        tag,
        MAX_TAGS,
    )


async def begin_reissue(
    tx: Transaction, pass_id: PassId, *, now: datetime, delay: timedelta
) -> bool:
    """Queues a pass to be voided and issued anew, after `delay`; False when it is or was."""
    inserted = await tx.execute(
        "INSERT INTO pass_reissues (tenant_id, pass_id, reissue_id, create_time)"
        " VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        tx.tenant_id,
        pass_id,
        new_uuid(),
        now,
    )
    if not inserted:
        return False
    payload = ReissuePayload(tenant_id=tx.tenant_id, pass_id=pass_id)
    await enqueue_jobs(tx, JobKind.REISSUE, [payload.encode()], priority=_PRIORITY, delay=delay)
    return True


async def find_reissue(tx: Transaction, pass_id: PassId) -> Reissue | None:
    """What is to be done, or was, to this pass."""
    row = await tx.fetch_one(
        "SELECT reissue_id, new_pass_id FROM pass_reissues WHERE tenant_id = $1 AND pass_id = $2",
        tx.tenant_id,
        pass_id,
    )
    if row is None:
        return None
    new = row["new_pass_id"]
    return Reissue(
        reissue_id=UUID(int=row["reissue_id"].int),
        new_pass_id=None if new is None else PassId(UUID(int=new.int)),
    )


async def end_reissue(
    tx: Transaction, pass_id: PassId, *, new_pass_id: PassId, now: datetime
) -> None:
    """Remembers which pass took a pass's place: that happens to none of them twice."""
    await tx.execute(
        "UPDATE pass_reissues SET new_pass_id = $3, end_time = $4"
        " WHERE tenant_id = $1 AND pass_id = $2 AND end_time IS NULL",
        tx.tenant_id,
        pass_id,
        new_pass_id,
        now,
    )


async def drop_reissue(tx: Transaction, pass_id: PassId) -> None:
    """Forgets that a pass was to be issued anew; it may be the next time."""
    await tx.execute(
        "DELETE FROM pass_reissues WHERE tenant_id = $1 AND pass_id = $2 AND end_time IS NULL",
        tx.tenant_id,
        pass_id,
    )
