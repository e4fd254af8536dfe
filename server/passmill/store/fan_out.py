"""What the fan-out index follows: registrations by bucket and tag, in the shape that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from passmill.domain.ids import TenantId
from passmill.domain.registrations import DeviceNumber, Wallet
from passmill.store.database import Transaction

# Names the system, the database and the timeline: what transaction numbers have their meaning in.
_SNAPSHOT = """
SELECT (SELECT system_identifier FROM pg_control_system()) || '.'
        || (SELECT oid FROM pg_database WHERE datname = current_database()) || '.'
        || left(pg_walfile_name(pg_current_wal_lsn()), 8) AS database,
    pg_snapshot_xmin(snapshot)::text::bigint - 1 AS settled,
    pg_snapshot_xmax(snapshot)::text::bigint AS next
FROM pg_current_snapshot() AS snapshot
"""

# Only a device that APNs reaches has a token here.
_TOKEN = "CASE WHEN r.remove_time IS NULL AND d.wallet = $2 THEN d.push_token ELSE '' END AS token"  # noqa: S105 - SQL

# Every part by its index, whatever the planner knew of the tables: OFFSET 0 keeps the parts apart.
_CHANGES = f"""
SELECT s.*, c.* FROM ({_SNAPSHOT}) AS s LEFT JOIN (
    SELECT r.bucket, uuid_send(r.pass_id) AS pass_id, r.device_number, {_TOKEN}
    FROM unnest($3::smallint[], $4::bigint[]) AS asked(bucket, tag)
    CROSS JOIN LATERAL (
        SELECT bucket, pass_id, device_number, remove_time FROM registrations
        WHERE tenant_id = $1 AND bucket = asked.bucket AND tag > asked.tag
            AND tag < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        LIMIT $5
    ) AS r
    LEFT JOIN LATERAL (
        SELECT wallet, push_token FROM devices
        WHERE tenant_id = $1 AND device_number = r.device_number OFFSET 0
    ) AS d ON true
) AS c ON true
"""  # noqa: S608 - constants

# Put together here, as a million rows one by one would keep the caller busy.
_PAGE = f"""
WITH page AS MATERIALIZED (
    SELECT r.tag, r.pass_id, r.device_number, {_TOKEN}
    FROM (
        SELECT tag, pass_id, device_number, remove_time FROM registrations
        WHERE tenant_id = $1 AND bucket = $3 AND tag >= $4
            AND (tag, device_number, pass_id) > ($4, $5::bigint, $6::uuid)
        ORDER BY tag, device_number, pass_id LIMIT $7
    ) AS r
    LEFT JOIN devices d ON d.tenant_id = $1 AND d.device_number = r.device_number
)
SELECT s.*, written.*, last.* FROM ({_SNAPSHOT}) AS s
CROSS JOIN (
    SELECT count(*) AS read, count(*) FILTER (WHERE token <> '') AS live,
        coalesce(string_agg(
            uuid_send(pass_id) || int8send(device_number)
                || substring(int2send((length(token) / 2)::int2) FROM 2) || decode(token, 'hex'),
            ''::bytea) FILTER (WHERE token <> ''), ''::bytea) AS registrations
    FROM page
) AS written
LEFT JOIN (
    SELECT tag, device_number, pass_id FROM page
    ORDER BY tag DESC, device_number DESC, pass_id DESC LIMIT 1
) AS last ON true
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What a statement saw. `database`: names what its transaction numbers have their meaning in.
    `settled`: all transactions up to this one had ended. `next`: none from this one on had begun.
    """

    database: str
    settled: int
    next: int


@dataclass(frozen=True, slots=True)
class FollowedRegistration:
    """A registration as it is now. `pass_id`: 16 bytes. `token`: '' when it ended, or is not
    reached by APNs."""

    bucket: int
    pass_id: bytes
    device_number: int
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class PagePlace:
    """Where a page of a bucket ended."""

    tag: int
    device_number: int
    pass_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedPage:
    """Live registrations of a bucket. `registrations`: as `push.registration_index` writes them,
    `count` of them. `end`: where the next page begins, None when there is none."""

    registrations: bytes = field(repr=False)
    count: int
    end: PagePlace | None


FIRST_PAGE = PagePlace(-1, 0, UUID(int=0))


async def read_changes(
    tx: Transaction, buckets: Sequence[int], tags: Sequence[int], *, at_most: int
) -> tuple[Followed, list[FollowedRegistration]]:
    """The registrations of each bucket with a larger tag than the one given for it, at most so many
    a bucket, in no order. One statement."""
    rows = await tx.fetch(_CHANGES, tx.tenant_id, Wallet.APPLE, buckets, tags, at_most)
    return _followed(rows[0]), [
        FollowedRegistration(row["bucket"], row["pass_id"], row["device_number"], row["token"])
        for row in rows
        if row["bucket"] is not None
    ]


async def read_page(
    tx: Transaction, bucket: int, *, after: PagePlace, at_most: int
) -> tuple[Followed, FollowedPage]:
    """Up to so many registrations of a bucket behind `after`, in the order of their tags. One
    statement."""
    row = await tx.fetch_one(
        _PAGE,
        tx.tenant_id,
        Wallet.APPLE,
        bucket,
        after.tag,
        after.device_number,
        after.pass_id,
        at_most,
    )
    assert row is not None  # noqa: S101 - an aggregate has one row
    return _followed(row), FollowedPage(
        registrations=row["registrations"],
        count=row["live"],
        end=PagePlace(row["tag"], row["device_number"], row["pass_id"])
        if row["read"] == at_most
        else None,
    )


async def read_tokens_of_passes(
    tx: Transaction, pass_ids: Sequence[bytes]
) -> list[tuple[int, str]]:
    """Device numbers and tokens of the live registrations of these passes. One statement."""
    rows = await tx.fetch(
        """
        SELECT r.device_number, d.push_token
        FROM registrations r
        CROSS JOIN LATERAL (
            SELECT push_token FROM devices WHERE tenant_id = $1
                AND device_number = r.device_number AND wallet = $2 OFFSET 0
        ) AS d
        WHERE r.tenant_id = $1 AND r.pass_id = ANY($3::uuid[]) AND r.remove_time IS NULL
            AND d.push_token <> ''
        """,
        tx.tenant_id,
        Wallet.APPLE,
        [UUID(bytes=each) for each in pass_ids],
    )
    return [(row["device_number"], row["push_token"]) for row in rows]


async def read_tokens_of_devices(
    tx: Transaction, device_numbers: Sequence[DeviceNumber]
) -> dict[str, list[tuple[int, str]]]:
    """Numbers and tokens of these devices that APNs reaches, by pass type. One statement."""
    rows = await tx.fetch(
        "SELECT pass_type_identifier, device_number, push_token FROM devices"
        " WHERE tenant_id = $1 AND device_number = ANY($2) AND wallet = $3 AND push_token <> ''",
        tx.tenant_id,
        device_numbers,
        Wallet.APPLE,
    )
    found: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        found.setdefault(row["pass_type_identifier"], []).append(
            (row["device_number"], row["push_token"])
        )
    return found


async def list_registered_tenants(tx: Transaction) -> list[TenantId]:
    """All tenants with registrations. For an operator's transaction."""
    # From one to the next by the primary key: a DISTINCT would read every registration.
    rows = await tx.fetch(
        """
        WITH RECURSIVE tenant AS (
            (SELECT tenant_id FROM registrations ORDER BY tenant_id LIMIT 1)
            UNION ALL
            SELECT (SELECT r.tenant_id FROM registrations r WHERE r.tenant_id > tenant.tenant_id
                ORDER BY r.tenant_id LIMIT 1)
            FROM tenant WHERE tenant.tenant_id IS NOT NULL
        )
        SELECT tenant_id FROM tenant WHERE tenant_id IS NOT NULL
        """
    )
    return [TenantId(row["tenant_id"]) for row in rows]


def _followed(row: asyncpg.Record) -> Followed:
    return Followed(database=row["database"], settled=row["settled"], next=row["next"])
