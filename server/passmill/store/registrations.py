"""Which devices want updates of which passes.

Whoever writes a registration holds the lock of its device's row, and takes it first. So what
happens to a device happens in one order, and a statement that begins under the lock sees all that
came before.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from passmill.domain.ids import PassId, TenantId, new_number, new_uuid
from passmill.domain.registrations import (
    DeviceClaim,
    DeviceNumber,
    RemoveReason,
    UpdateTag,
    Wallet,
    bucket_of,
)
from passmill.store.database import Transaction

MOST_DEVICES_OF_A_PASS: Final = 1_000
"""Devices that one pass is live on: far more than a person or a family has, and few enough that
whoever has a pass's token cannot make each change of it a flood of pushes. Those who register at
the same moment may exceed it by their number."""

_CAMPAIGN_PASS_VERSION = 8  # of the UUID: passmill.domain.ids.campaign_pass_id

# The device's row first: made, or locked and refreshed, but only where its token and wallet are
# those given: others are news for all of its registrations, which takes more than one statement.
# ON CONFLICT acts on rows as they are when their lock is had, so neither the row nor whether the
# registration is live can be out of date.
#
# The pass's row then, locked: FOR SHARE reads it as it is by then, not as it was when the statement
# began, and whoever changes it later waits for our commit, so that the push of the change finds the
# registration. Where somebody is changing it already we do not wait for him: he may hold his
# transaction open for long. Then it counts as changed. What he commits before us is fetched upon
# our push, that goes when we have committed; what he commits after us finds the registration.
# Nobody waits for a device while holding a pass. Its version is 1 as it was issued; times would not
# do, as a signing's are whole seconds.
_REGISTER = """
WITH wanted AS (
    SELECT r.template_id, p.version, (
        SELECT (array_agg(c.campaign_id))[1] FROM campaigns c
        WHERE c.tenant_id = $1 AND c.campaign_id BETWEEN $11 AND $12 AND c.action = 1
        HAVING count(*) = 1) AS campaign_id,
        CASE WHEN $15 > (
            SELECT count(*) FROM (
                SELECT FROM registrations
                WHERE tenant_id = $1 AND pass_id = $2 AND remove_time IS NULL LIMIT $15) AS live)
        THEN false
        ELSE NOT EXISTS (
            SELECT FROM registrations
            WHERE tenant_id = $1 AND pass_id = $2 AND remove_time IS NULL AND device_number = (
                SELECT device_number FROM devices
                WHERE tenant_id = $1 AND pass_type_identifier = $4
                    AND device_library_identifier = $6))
        END AS is_full,
        r.is_limited AND NOT $17 AS is_limited
    FROM passes p, LATERAL (
        SELECT v.template_id, v.sharing IS NOT NULL AS is_limited FROM template_revisions v
        WHERE v.tenant_id = $1 AND v.revision_id = p.revision_id AND v.pass_type_identifier = $4
        OFFSET 0) AS r
    WHERE p.tenant_id = $1 AND p.pass_id = $2 AND p.token_generation = $3
), device AS (
    INSERT INTO devices AS d (
        tenant_id, device_number, pass_type_identifier, device_library_identifier, push_token,
        wallet, system_version, token_time, create_time, last_seen_time, listed_tag)
    SELECT $1, $5, $4, $6, $7, $8, $9, clock_timestamp(), $10, $10, 0
    FROM wanted WHERE NOT is_full AND NOT is_limited AND ($16 OR version = 1)
    ON CONFLICT (tenant_id, pass_type_identifier, device_library_identifier) DO UPDATE
        SET system_version = EXCLUDED.system_version, token_time = clock_timestamp(),
            last_seen_time = EXCLUDED.last_seen_time
        WHERE d.push_token = EXCLUDED.push_token AND d.wallet = EXCLUDED.wallet
    RETURNING device_number
), held AS (
    SELECT p.version FROM device d CROSS JOIN passes p
    WHERE p.tenant_id = $1 AND p.pass_id = $2
    FOR SHARE OF p SKIP LOCKED
), registered AS (
    INSERT INTO registrations AS r (
        tenant_id, device_number, pass_id, bucket, tag, template_id, campaign_id, create_time)
    SELECT $1, d.device_number, $2, $13, pg_current_xact_id()::text::bigint, w.template_id,
        w.campaign_id, $10
    FROM device d CROSS JOIN wanted w
    WHERE $16 OR EXISTS (SELECT FROM held WHERE version = 1)
    ON CONFLICT (tenant_id, device_number, pass_id) DO UPDATE
        SET tag = EXCLUDED.tag, template_id = EXCLUDED.template_id,
            campaign_id = EXCLUDED.campaign_id, create_time = EXCLUDED.create_time,
            remove_time = NULL, remove_reason = NULL
        WHERE r.remove_time IS NOT NULL
    RETURNING pass_id
), told AS (
    INSERT INTO outbox (tenant_id, event_id, kind, pass_ids, detail, create_time)
    SELECT $1, $14, 'pass.installed', ARRAY[pass_id],
        jsonb_build_object('wallet', $8::int, 'system_version', $9::text), $10
    FROM registered
)
SELECT w.is_full, w.is_limited, (SELECT device_number FROM device) AS device_number,
    EXISTS (SELECT FROM registered) AS is_new,
    w.version > 1 OR EXISTS (SELECT FROM device)
        AND NOT EXISTS (SELECT FROM held WHERE version = 1) AS is_changed
FROM wanted w
"""


class NotRegistered(enum.Enum):
    """Why nothing was written."""

    NO_SUCH_PASS = enum.auto()
    LIMITED = enum.auto()
    TOO_MANY_DEVICES = enum.auto()
    PASS_CHANGED = enum.auto()
    OTHER_TOKEN = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A registration that is there now. `is_changed`: the pass is not as it was issued, or is just
    being changed."""

    device_number: DeviceNumber
    is_new: bool
    is_changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PassKey:
    """What must be true of a pass for a device to deal with it."""

    pass_id: PassId
    token_generation: int
    pass_type_identifier: str


async def register(
    tx: Transaction,
    key: PassKey,
    claim: DeviceClaim,
    *,
    only_as_issued: bool,
    is_admitted: bool = False,
    now: datetime,
) -> Registered | NotRegistered:
    """Registers a device for a pass, in one statement; a registration that had ended begins again.
    It waits for nobody who changes the pass; a pass that nobody is changing it keeps from changing
    until the transaction ends.

    PASS_CHANGED: `only_as_issued`, and the pass is not, or may not be in a moment; nothing was
    registered. NO_SUCH_PASS: there is none with this key. TOO_MANY_DEVICES:
    `MOST_DEVICES_OF_A_PASS` others have it. OTHER_TOKEN: the device is known by another push token
    or wallet; nothing was written, `take_token` first.
    LIMITED: not `is_admitted`, and the template has a policy about how many devices may.
    """
    first, last = _campaigns_of(key.pass_id)
    row = await tx.fetch_one(
        _REGISTER,
        tx.tenant_id,
        key.pass_id,
        key.token_generation,
        key.pass_type_identifier,
        new_number(),
        claim.device_library_identifier,
        claim.push_token,
        claim.wallet,
        claim.system_version,
        now,
        first,
        last,
        bucket_of(key.pass_id),
        new_uuid(),
        MOST_DEVICES_OF_A_PASS,
        not only_as_issued,
        is_admitted,
    )
    if row is None:
        return NotRegistered.NO_SUCH_PASS
    if row["is_full"]:
        return NotRegistered.TOO_MANY_DEVICES
    if row["is_limited"]:
        return NotRegistered.LIMITED
    if only_as_issued and row["is_changed"]:
        return NotRegistered.PASS_CHANGED
    if row["device_number"] is None:
        return NotRegistered.OTHER_TOKEN
    return Registered(
        device_number=DeviceNumber(row["device_number"]),
        is_new=row["is_new"],
        is_changed=row["is_changed"],
    )


async def take_token(
    tx: Transaction, device_number: DeviceNumber, push_token: str, wallet: Wallet
) -> None:
    """Gives a device another push token or wallet, and all of its registrations a new tag, so that
    whoever follows the tags hears of it; nothing when it has both already. The caller holds the
    device's lock."""
    await tx.execute(
        """
        WITH device AS (
            UPDATE devices SET push_token = $3, wallet = $4, token_time = clock_timestamp()
            WHERE tenant_id = $1 AND device_number = $2 AND (push_token <> $3 OR wallet <> $4)
            RETURNING device_number
        )
        UPDATE registrations SET tag = pg_current_xact_id()::text::bigint
        WHERE tenant_id = $1 AND device_number = (SELECT device_number FROM device)
            AND remove_time IS NULL
        """,
        tx.tenant_id,
        device_number,
        push_token,
        wallet,
    )


async def unregister(
    tx: Transaction, key: PassKey, device_number: DeviceNumber | None, *, now: datetime
) -> bool:
    """Ends a registration, as the device asks; its row stays, with a new tag. A device that has no
    other one loses its push token. The caller holds the device's lock; None: there is no such
    device. False when there is no pass with this key."""
    is_pass: bool = await tx.fetch_value(
        """
        WITH wanted AS (
            SELECT FROM passes p
            WHERE p.tenant_id = $1 AND p.pass_id = $2 AND p.token_generation = $3
                AND $8 = (SELECT v.pass_type_identifier FROM template_revisions v
                    WHERE v.tenant_id = $1 AND v.revision_id = p.revision_id)
        ), removed AS (
            UPDATE registrations SET remove_time = $5, remove_reason = $6,
                tag = pg_current_xact_id()::text::bigint
            WHERE tenant_id = $1 AND device_number = $4 AND pass_id = $2 AND remove_time IS NULL
                AND EXISTS (SELECT FROM wanted)
            RETURNING pass_id
        ), silenced AS (
            UPDATE devices SET push_token = ''
            WHERE tenant_id = $1 AND device_number = $4 AND EXISTS (SELECT FROM removed)
                AND NOT EXISTS (
                    SELECT FROM registrations r
                    WHERE r.tenant_id = $1 AND r.device_number = $4 AND r.pass_id <> $2
                        AND r.remove_time IS NULL)
        ), told AS (
            INSERT INTO outbox (tenant_id, event_id, kind, pass_ids, detail, create_time)
            SELECT $1, $7, 'pass.removed', ARRAY[pass_id], jsonb_build_object('reason', $6::int), $5
            FROM removed
        )
        SELECT EXISTS (SELECT FROM wanted)
        """,
        tx.tenant_id,
        key.pass_id,
        key.token_generation,
        device_number,
        now,
        RemoveReason.DEVICE_ASKED,
        new_uuid(),
        key.pass_type_identifier,
    )
    return is_pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What is new for a device in one tenant, as of one snapshot.

    `newest`: the largest tag among `pass_ids`, 0 when there are none. All tags up to `complete` are
    of transactions that had ended, so none of them can show up later. `listed_tag`: what it was
    told before.
    """

    tenant_id: TenantId
    device_number: DeviceNumber
    last_seen_time: datetime
    listed_tag: UpdateTag
    pass_ids: list[PassId]
    newest: UpdateTag
    complete: UpdateTag


async def list_changed(
    tx: Transaction,
    *,
    pass_type_identifier: str,
    device_library_identifier: str,
    since: UpdateTag,
) -> Listing | None:
    """What changed for a device after `since`: passes, or their registrations. None when there is
    no such device.

    A tag that this database cannot have told the device, as it is above the one it remembers to
    have told or above all that there are (so after going back to a backup), counts as 0.
    """
    row = await tx.fetch_one(
        """
        WITH seen AS MATERIALIZED (
            SELECT pg_snapshot_xmin(s)::text::bigint - 1 AS complete,
                pg_snapshot_xmax(s)::text::bigint AS beyond
            FROM pg_current_snapshot() AS s
        ), device AS MATERIALIZED (
            SELECT d.device_number, d.last_seen_time, d.listed_tag, s.complete,
                CASE WHEN $4 > d.listed_tag OR $4 >= s.beyond THEN 0 ELSE $4 END AS since
            FROM devices d CROSS JOIN seen s
            WHERE d.tenant_id = $1 AND d.pass_type_identifier = $2
                AND d.device_library_identifier = $3
        ), registered AS MATERIALIZED (
            SELECT r.pass_id, r.tag FROM registrations r
            WHERE r.tenant_id = $1 AND r.device_number = (SELECT device_number FROM device)
                AND r.remove_time IS NULL
        ), changed AS (
            SELECT p.pass_id, greatest(p.update_tag, r.tag) AS tag
            FROM passes p JOIN registered r ON r.pass_id = p.pass_id
            WHERE p.tenant_id = $1 AND p.pass_id = ANY(ARRAY(SELECT pass_id FROM registered))
                AND greatest(p.update_tag, r.tag) > (SELECT since FROM device)
        )
        SELECT device_number, last_seen_time, listed_tag, complete,
            ARRAY(SELECT pass_id FROM changed ORDER BY pass_id) AS pass_ids,
            coalesce((SELECT max(tag) FROM changed), 0) AS newest
        FROM device
        """,
        tx.tenant_id,
        pass_type_identifier,
        device_library_identifier,
        since,
    )
    if row is None:
        return None
    return Listing(
        tenant_id=tx.tenant_id,
        device_number=DeviceNumber(row["device_number"]),
        last_seen_time=row["last_seen_time"],
        listed_tag=UpdateTag(row["listed_tag"]),
        pass_ids=row["pass_ids"],
        newest=UpdateTag(row["newest"]),
        complete=UpdateTag(row["complete"]),
    )


def _campaigns_of(pass_id: PassId) -> tuple[UUID | None, UUID | None]:
    """Between which ids the campaign's is that issued the pass: they begin alike. When two of a
    tenant's began in the same millisecond, nothing tells which it was."""
    if pass_id.version != _CAMPAIGN_PASS_VERSION:
        return None, None
    head = pass_id.bytes[:6]
    return UUID(bytes=head + bytes(10)), UUID(bytes=head + b"\xff" * 10)
