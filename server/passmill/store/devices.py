"""Devices: how they are reached, what they were told, and when they are forgotten."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from passmill.domain.device_statistics import NO_CAMPAIGN
from passmill.domain.ids import PassId, TenantId, new_number, new_uuid
from passmill.domain.registrations import (
    DeviceClaim,
    DeviceNumber,
    RemoveReason,
    UpdateTag,
    Wallet,
)
from passmill.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedDevice:
    """A device whose row is locked. `push_token`: '' when nothing is registered."""

    device_number: DeviceNumber
    push_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadToken:
    """A push token of which APNs says that it has been no device's since then."""

    push_token: str = field(repr=False)
    invalidated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRegistration:
    """A registration that ended."""

    device_number: DeviceNumber
    pass_id: PassId


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRecord:
    """How the last push to a device ended: `state` as domain.push_outcomes numbers it, and APNs'
    own reason or ''."""

    device_number: DeviceNumber
    state: int
    reason: str


async def lock_device(
    tx: Transaction, *, pass_type_identifier: str, device_library_identifier: str
) -> LockedDevice | None:
    """A device, locked until the transaction ends; None when there is none."""
    row = await tx.fetch_one(
        "SELECT device_number, push_token FROM devices"
        " WHERE tenant_id = $1 AND pass_type_identifier = $2 AND device_library_identifier = $3"
        " FOR NO KEY UPDATE",
        tx.tenant_id,
        pass_type_identifier,
        device_library_identifier,
    )
    if row is None:
        return None
    return LockedDevice(
        device_number=DeviceNumber(row["device_number"]), push_token=row["push_token"]
    )


async def hold_device(
    tx: Transaction, claim: DeviceClaim, *, now: datetime
) -> tuple[LockedDevice, bool]:
    """The device that registers, locked until the transaction ends; made when there is none, and
    whether it was."""
    row = await tx.fetch_one(
        """
        INSERT INTO devices (
            tenant_id, device_number, pass_type_identifier, device_library_identifier, push_token,
            wallet, system_version, token_time, create_time, last_seen_time, listed_tag)
        VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp(), $8, $8, 0)
        ON CONFLICT (tenant_id, pass_type_identifier, device_library_identifier) DO UPDATE
            SET last_seen_time = EXCLUDED.last_seen_time
        RETURNING device_number, push_token, device_number = $2 AS is_made
        """,
        tx.tenant_id,
        new_number(),
        claim.pass_type_identifier,
        claim.device_library_identifier,
        claim.push_token,
        claim.wallet,
        claim.system_version,
        now,
    )
    assert row is not None  # noqa: S101 - made or updated
    device = LockedDevice(
        device_number=DeviceNumber(row["device_number"]), push_token=row["push_token"]
    )
    return device, row["is_made"]


async def drop_device(tx: Transaction, device_number: DeviceNumber) -> None:
    """Undoes `hold_device`, where it made the device."""
    await tx.execute(
        "DELETE FROM devices WHERE tenant_id = $1 AND device_number = $2",
        tx.tenant_id,
        device_number,
    )


async def note_listed(
    tx: Transaction, device_number: DeviceNumber, *, tag: UpdateTag | None, now: datetime
) -> None:
    """Remembers that a device listed, and what it was told; None: nothing new."""
    # A tag beyond all that there are is of the database that this one was restored from.
    await tx.execute(
        """
        UPDATE devices SET last_seen_time = $4, listed_tag = CASE
            WHEN listed_tag >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                THEN coalesce($3::bigint, listed_tag)
            ELSE greatest(listed_tag, $3::bigint) END
        WHERE tenant_id = $1 AND device_number = $2
        """,
        tx.tenant_id,
        device_number,
        tag,
        now,
    )


async def record_pushes(tx: Transaction, records: Sequence[PushRecord], *, now: datetime) -> None:
    """Remembers how the last push to each of these devices ended. For a transaction."""
    groups: defaultdict[tuple[int, str], list[DeviceNumber]] = defaultdict(list)
    for record in records:
        groups[record.state, record.reason].append(record.device_number)
    # All in one order, so that two who record never wait for each other in a circle.
    await tx.execute(
        "SELECT FROM devices WHERE tenant_id = $1 AND device_number = ANY($2)"
        " ORDER BY device_number FOR NO KEY UPDATE",
        tx.tenant_id,
        sorted(record.device_number for record in records),
    )
    for (state, reason), device_numbers in groups.items():
        await tx.execute(
            "UPDATE devices SET push_time = $3, push_state = $4, push_reason = $5"
            " WHERE tenant_id = $1 AND device_number = ANY($2)",
            tx.tenant_id,
            device_numbers,
            now,
            state,
            reason,
        )


async def find_reached_device(
    tx: Transaction, pass_type_identifier: str, *, besides: Sequence[str], near: str, reached: int
) -> tuple[DeviceNumber, str] | None:
    """Number and push token of the device of a pass type that is most likely to be reached, but for
    these tokens: one whose last push ended as `reached`, else one never pushed, else the one that
    was not for longest. None when there is none. `near`: from which of the devices' own names on to
    look, as only thousands are looked at. One statement."""
    row = await tx.fetch_one(
        """
        SELECT device_number, push_token FROM (
            (SELECT device_number, push_token, wallet, push_state, push_time FROM devices
                WHERE tenant_id = $1 AND pass_type_identifier = $2
                    AND device_library_identifier >= $3
                ORDER BY device_library_identifier LIMIT 2000)
            UNION ALL
            (SELECT device_number, push_token, wallet, push_state, push_time FROM devices
                WHERE tenant_id = $1 AND pass_type_identifier = $2
                    AND device_library_identifier < $3
                ORDER BY device_library_identifier LIMIT 2000)
        ) AS candidates
        WHERE wallet = $4 AND push_token <> '' AND push_token <> ALL($5)
        ORDER BY coalesce(push_state = $6, false) DESC, push_time NULLS FIRST LIMIT 1
        """,
        tx.tenant_id,
        pass_type_identifier,
        near,
        Wallet.APPLE,
        besides,
        reached,
    )
    return (DeviceNumber(row["device_number"]), row["push_token"]) if row else None


async def forget_tokens(
    tx: Transaction, dead: Sequence[DeadToken], *, pass_type_identifier: str, now: datetime
) -> list[EndedRegistration]:
    """Ends the registrations of all devices that are reached by these tokens of a pass type, where
    the device has not given the token again since; gives those that ended. For a transaction.

    Apple: "410 … stop pushing until the device registers a token with a later timestamp"
    (https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns).
    """
    since = {each.push_token: each.invalidated_at for each in dead}
    for each in dead:
        since[each.push_token] = max(since[each.push_token], each.invalidated_at)
    # In one order, as in `record_pushes`; and read under the lock, so what is read stays true. Each
    # token by itself, so that there is one way only to find it: its index.
    rows = await tx.fetch(
        """
        SELECT device_number, push_token, token_time FROM devices
        WHERE tenant_id = $1 AND device_number = ANY(ARRAY(
            SELECT d.device_number FROM unnest($2::text[]) AS dead(push_token), LATERAL (
                SELECT device_number, pass_type_identifier FROM devices
                WHERE tenant_id = $1 AND push_token = dead.push_token AND push_token <> '' OFFSET 0
            ) AS d
            WHERE d.pass_type_identifier = $3))
        ORDER BY device_number FOR NO KEY UPDATE
        """,
        tx.tenant_id,
        list(since),
        pass_type_identifier,
    )
    gone = [
        row["device_number"]
        for row in rows
        if row["push_token"] in since and row["token_time"] < since[row["push_token"]]
    ]
    if not gone:
        return []
    ended = await tx.fetch(
        """
        WITH silenced AS (
            UPDATE devices SET push_token = '' WHERE tenant_id = $1 AND device_number = ANY($2)
        ), removed AS (
            UPDATE registrations SET remove_time = $3, remove_reason = $4,
                tag = pg_current_xact_id()::text::bigint
            WHERE tenant_id = $1 AND device_number = ANY($2) AND remove_time IS NULL
            RETURNING device_number, pass_id
        ), told AS (
            INSERT INTO outbox (tenant_id, event_id, kind, pass_ids, detail, create_time)
            SELECT $1, $5, 'pass.removed', array_agg(DISTINCT pass_id),
                jsonb_build_object('reason', $4::int), $3
            FROM removed HAVING count(*) > 0
        )
        SELECT device_number, pass_id FROM removed
        """,
        tx.tenant_id,
        gone,
        now,
        RemoveReason.TOKEN_GONE,
        new_uuid(),
    )
    return [
        EndedRegistration(device_number=row["device_number"], pass_id=row["pass_id"])
        for row in ended
    ]


async def find_ended(
    tx: Transaction, *, before: datetime, at_most: int
) -> dict[TenantId, list[DeviceNumber]]:
    """Devices of any tenant with registrations that ended before then, of the first to have ended
    so many registrations.

    For an operator's transaction: others see their own tenant's alone.
    """
    rows = await tx.fetch(
        "SELECT tenant_id, device_number FROM registrations WHERE remove_time < $1"
        " ORDER BY remove_time LIMIT $2",
        before,
        at_most,
    )
    found: defaultdict[TenantId, set[DeviceNumber]] = defaultdict(set)
    for row in rows:
        found[TenantId(row["tenant_id"])].add(DeviceNumber(row["device_number"]))
    return {tenant_id: sorted(device_numbers) for tenant_id, device_numbers in found.items()}


async def find_bare(
    tx: Transaction,
    *,
    after: tuple[TenantId, DeviceNumber],
    before: datetime,
    at_most: int,
) -> tuple[list[tuple[TenantId, DeviceNumber]], tuple[TenantId, DeviceNumber] | None]:
    """Of the next so many devices of any tenant those made before then that have no registration at
    all, as one is left behind where a process dies between the steps of a registration; and where
    to go on, None at the end.

    For an operator's transaction: others see their own tenant's alone.
    """
    rows = await tx.fetch(
        """
        SELECT d.tenant_id, d.device_number, d.create_time < $3 AND NOT EXISTS (
            SELECT FROM registrations r
            WHERE r.tenant_id = d.tenant_id AND r.device_number = d.device_number) AS is_bare
        FROM (
            SELECT tenant_id, device_number, create_time FROM devices
            WHERE (tenant_id, device_number) > ($1, $2)
            ORDER BY tenant_id, device_number LIMIT $4
        ) AS d ORDER BY d.tenant_id, d.device_number
        """,
        *after,
        before,
        at_most,
    )
    seen = [(TenantId(row["tenant_id"]), DeviceNumber(row["device_number"])) for row in rows]
    bare = [key for key, row in zip(seen, rows, strict=True) if row["is_bare"]]
    return bare, seen[-1] if len(seen) == at_most else None


async def delete_ended(
    tx: Transaction, device_numbers: Sequence[DeviceNumber], *, before: datetime
) -> int:
    """Deletes those registrations of these devices that ended before then, and the devices that
    have none left; gives how many registrations. What is deleted stays counted. For a transaction.
    """
    # As everybody who writes registrations: the devices' locks first.
    await tx.execute(
        "SELECT FROM devices WHERE tenant_id = $1 AND device_number = ANY($2)"
        " ORDER BY device_number FOR UPDATE",
        tx.tenant_id,
        device_numbers,
    )
    deleted: int = await tx.fetch_value(
        """
        WITH ended AS (
            DELETE FROM registrations
            WHERE tenant_id = $1 AND device_number = ANY($2) AND remove_time < $3
            RETURNING *
        ), counted AS (
            INSERT INTO install_counts AS c (tenant_id, template_id, campaign_id, install_day,
                remove_day, wallet, system_version, count)
            SELECT $1, e.template_id, coalesce(e.campaign_id, $4),
                (e.create_time AT TIME ZONE 'UTC')::date,
                (e.remove_time AT TIME ZONE 'UTC')::date, d.wallet, d.system_version, count(*)
            FROM ended e, LATERAL (
                SELECT wallet, system_version FROM devices
                WHERE tenant_id = $1 AND device_number = e.device_number OFFSET 0) AS d
            GROUP BY 2, 3, 4, 5, 6, 7 ORDER BY 2, 3, 4, 5, 6, 7
            ON CONFLICT (tenant_id, template_id, campaign_id, install_day, remove_day, wallet,
                system_version) DO UPDATE SET count = c.count + EXCLUDED.count
        )
        SELECT count(*) FROM ended
        """,
        tx.tenant_id,
        device_numbers,
        before,
        NO_CAMPAIGN,
    )
    await tx.execute(
        "DELETE FROM devices d WHERE d.tenant_id = $1 AND d.device_number = ANY($2)"
        " AND NOT EXISTS (SELECT FROM registrations r WHERE r.tenant_id = $1"
        " AND r.device_number = d.device_number)",
        tx.tenant_id,
        device_numbers,
    )
    return deleted
