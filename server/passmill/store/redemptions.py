"""Redemptions at rest, and the statement that decides whose a use is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from passmill import errors
from passmill.domain.ids import PassId
from passmill.domain.offers import ChainId, OfferId, OfferState
from passmill.domain.passes import PassState
from passmill.domain.redemptions import MarkUndo, OfferUses, Redemption, RedemptionId
from passmill.domain.scanners import ScannerId
from passmill.domain.venues import VenueId
from passmill.store.database import Transaction
from passmill.store.offers import amount_from
from passmill.store.pass_origins import origin_of, origin_row

_COLUMNS: Final = (
    "redemption_id, coalesce(shown_pass_id, pass_id) AS pass_id, offer_id, use_number, venue_id,"
    " scanner_id, key_id, staff, scan_time, create_time, is_offline, cost_unit, cost_amount,"
    " reverse_time, reverse_reason, chain_id"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM redemptions"  # noqa: S608 - our own columns
_AT_PARTNER: Final = (
    "($3 = '' OR EXISTS (SELECT FROM venues v"
    " WHERE v.tenant_id = $1 AND v.venue_id = r.venue_id AND v.partner = $3))"
)

# The use is whoever's row gets in: the free number is looked for without a lock, and of two who
# found the same one the index redemptions_once takes one; so it is of a pass and of those that took
# its place, as all their uses are its origin's. All that can be asked of offer and pass
# is asked in the same statement.
_TAKE_USE: Final = f"""
INSERT INTO redemptions (tenant_id, redemption_id, pass_id, shown_pass_id, offer_id, use_number,
    venue_id, scanner_id, key_id, staff, scan_time, create_time, is_offline, cost_unit, cost_amount,
    chain_id)
SELECT $1, $2, origin.pass_id, nullif(p.pass_id, origin.pass_id), $4, free.use_number, $5, $6, $7,
    $8, $9, $10, $11, o.cost_unit, o.cost_amount, o.chain_id
FROM offers o
JOIN passes p ON p.tenant_id = o.tenant_id AND p.pass_id = $3
CROSS JOIN {origin_row("$3::uuid")} AS origin
CROSS JOIN LATERAL (
    SELECT CASE o.max_uses WHEN 0 THEN (
        SELECT coalesce(max(r.use_number), 0) + 1 FROM redemptions r
        WHERE r.tenant_id = $1 AND r.pass_id = origin.pass_id AND r.offer_id = $4
            AND r.reverse_time IS NULL
    ) ELSE (
        SELECT n FROM generate_series(1, o.max_uses) AS n WHERE NOT EXISTS (
            SELECT FROM redemptions r
            WHERE r.tenant_id = $1 AND r.pass_id = origin.pass_id AND r.offer_id = $4
                AND r.use_number = n AND r.reverse_time IS NULL)
        ORDER BY n LIMIT 1
    ) END AS use_number
) AS free
WHERE o.tenant_id = $1 AND o.offer_id = $4
    AND o.state = {OfferState.ACTIVE:d} AND p.state = {PassState.ACTIVE:d}
    AND (o.valid_from IS NULL OR o.valid_from <= $9)
    AND (o.valid_until IS NULL OR o.valid_until > $9)
    AND (o.venue_ids = '{{}}' OR $5 = ANY(o.venue_ids))
    AND free.use_number IS NOT NULL
    AND (o.max_uses = 0 OR o.max_uses > (
        SELECT count(*) FROM redemptions r
        WHERE r.tenant_id = $1 AND r.pass_id = origin.pass_id AND r.offer_id = $4
            AND r.reverse_time IS NULL))
ON CONFLICT DO NOTHING
RETURNING {_COLUMNS}
"""  # noqa: S608 - our own columns and numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionFilter:
    """Which redemptions to list; every part that is not None narrows it. `pass_id`: with those of
    the passes whose place it took."""

    pass_id: PassId | None = None
    offer_id: OfferId | None = None
    venue_id: VenueId | None = None
    scanner_id: ScannerId | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    only_standing: bool = False


async def take_use(tx: Transaction, wanted: Redemption) -> Redemption | None:
    """Takes a free use of the offer for the pass: the redemption with its use number and cost, None
    when there was none just now, or offer or pass are not in force (`scan_time` counts).

    Waits for another transaction that is about to take the same use. None may also mean that it was
    taken a moment ago while another is free: ask again as long as the rules allow it.
    """
    row = await tx.fetch_one(
        _TAKE_USE,
        tx.tenant_id,
        wanted.redemption_id,
        wanted.pass_id,
        wanted.offer_id,
        wanted.venue_id,
        wanted.scanner_id,
        wanted.key_id,
        wanted.staff,
        wanted.scan_time,
        wanted.create_time,
        wanted.is_offline,
    )
    return None if row is None else redemption_from_row(row)


async def reverse(
    tx: Transaction, redemption_id: RedemptionId, *, reason: str, now: datetime
) -> Redemption | None:
    """Takes a redemption back; None when that was done before. Of two at once one does it."""
    row = await tx.fetch_one(
        "UPDATE redemptions SET reverse_time = $3, reverse_reason = $4"  # noqa: S608 - our own columns
        " WHERE tenant_id = $1 AND redemption_id = $2 AND reverse_time IS NULL"
        f" RETURNING {_COLUMNS}",
        tx.tenant_id,
        redemption_id,
        now,
        reason,
    )
    return None if row is None else redemption_from_row(row)


async def get_redemption(tx: Transaction, redemption_id: RedemptionId) -> Redemption:
    """The redemption. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND redemption_id = $2", tx.tenant_id, redemption_id
    )
    if row is None:
        raise errors.not_found("redemption")
    return redemption_from_row(row)


async def find_redemptions(
    tx: Transaction, redemption_ids: Sequence[RedemptionId], *, partner: str
) -> dict[RedemptionId, Redemption]:
    """Redemptions by their ids. `partner`: only those at venues of this one, empty for all."""
    rows = await tx.fetch(
        f"{_SELECT} AS r WHERE tenant_id = $1 AND redemption_id = ANY($2) AND {_AT_PARTNER}",
        tx.tenant_id,
        redemption_ids,
        partner,
    )
    found = [redemption_from_row(row) for row in rows]
    return {each.redemption_id: each for each in found}


async def first_uses(
    tx: Transaction, wanted: Sequence[tuple[PassId, OfferId]], *, partner: str
) -> dict[tuple[PassId, OfferId], Redemption]:
    """Of each pass and offer the first use that stands, where there is one. `partner`: as of
    `find_redemptions`."""
    rows = await tx.fetch(
        "SELECT r.*, wanted.pass_id AS wanted_id"  # noqa: S608 - our own columns
        " FROM unnest($2::uuid[], $4::uuid[]) AS wanted (pass_id, offer_id)"
        f" CROSS JOIN LATERAL {origin_row('wanted.pass_id')} AS origin"
        f" CROSS JOIN LATERAL ({_SELECT} AS used WHERE used.tenant_id = $1"
        " AND used.pass_id = origin.pass_id AND used.offer_id = wanted.offer_id"
        " AND used.reverse_time IS NULL ORDER BY used.scan_time, used.redemption_id LIMIT 1) AS r"
        f" WHERE {_AT_PARTNER}",
        tx.tenant_id,
        [pass_id for pass_id, _ in wanted],
        partner,
        [offer_id for _, offer_id in wanted],
    )
    found = [(PassId(UUID(int=row["wanted_id"].int)), redemption_from_row(row)) for row in rows]
    return {(wanted_id, each.offer_id): each for wanted_id, each in found}


async def uses_of(
    tx: Transaction, pass_id: PassId, offer_id: OfferId
) -> tuple[OfferUses, Redemption | None]:
    """How often a pass has used an offer, with those whose place it took, and the first of these
    uses by the time it was shown."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS}, count(*) OVER () AS uses FROM redemptions"  # noqa: S608 - our own columns
        f" WHERE tenant_id = $1 AND pass_id = {origin_of('$2')} AND offer_id = $3"
        " AND reverse_time IS NULL ORDER BY scan_time, redemption_id LIMIT 1",
        tx.tenant_id,
        pass_id,
        offer_id,
    )
    if not rows:
        return OfferUses(), None
    first = redemption_from_row(rows[0])
    uses = OfferUses(
        uses=rows[0]["uses"], first_use_time=first.scan_time, first_use_venue_id=first.venue_id
    )
    return uses, first


async def keep_undo(tx: Transaction, redemption_id: RedemptionId, undo: MarkUndo) -> None:
    """Keeps with a redemption of this transaction what its pass showed before."""
    text = json.dumps([undo.slots, undo.is_voided], separators=(",", ":"))
    await tx.execute(
        "UPDATE redemptions SET undo = $3 WHERE tenant_id = $1 AND redemption_id = $2",
        tx.tenant_id,
        redemption_id,
        text,
    )


async def find_undo(tx: Transaction, pass_id: PassId, offer_id: OfferId) -> MarkUndo | None:
    """What the pass showed before it last used the offer up, None when it never did."""
    text = await tx.fetch_value(
        "SELECT undo FROM redemptions WHERE tenant_id = $1"  # noqa: S608 - a name of ours
        f" AND pass_id = {origin_of('$2')} AND offer_id = $3"
        " AND undo IS NOT NULL ORDER BY redemption_id DESC LIMIT 1",
        tx.tenant_id,
        pass_id,
        offer_id,
    )
    if text is None:
        return None
    slots, is_voided = json.loads(text)
    return MarkUndo(
        slots={name: (before, after) for name, (before, after) in slots.items()},
        is_voided=is_voided,
    )


async def list_redemptions(
    tx: Transaction, wanted: RedemptionFilter, *, before: RedemptionId | None, at_most: int
) -> list[Redemption]:
    """Up to `at_most` redemptions, the newest first, those before `before` only."""
    conditions = {
        "redemption_id < ${0}": before,
        f"pass_id = {origin_of('${0}')}": wanted.pass_id,
        "offer_id = ${0}": wanted.offer_id,
        "venue_id = ${0}": wanted.venue_id,
        "scanner_id = ${0}": wanted.scanner_id,
        "create_time >= ${0}": wanted.created_from,
        "create_time < ${0}": wanted.created_before,
    }
    sql, arguments = _SELECT + " WHERE tenant_id = $1", list[object]([tx.tenant_id])
    for condition, argument in conditions.items():
        if argument is not None:
            arguments.append(argument)
            sql += f" AND {condition.format(len(arguments))}"
    if wanted.only_standing:
        sql += " AND reverse_time IS NULL"
    arguments.append(at_most)
    rows = await tx.fetch(f"{sql} ORDER BY redemption_id DESC LIMIT ${len(arguments)}", *arguments)
    return [redemption_from_row(row) for row in rows]


def redemption_from_row(row: asyncpg.Record) -> Redemption:
    """The redemption in a row that has its columns."""
    venue_id, scanner_id, chain_id = row["venue_id"], row["scanner_id"], row["chain_id"]
    return Redemption(
        redemption_id=RedemptionId(UUID(int=row["redemption_id"].int)),
        pass_id=PassId(UUID(int=row["pass_id"].int)),
        offer_id=OfferId(UUID(int=row["offer_id"].int)),
        use_number=row["use_number"],
        venue_id=None if venue_id is None else VenueId(UUID(int=venue_id.int)),
        scanner_id=None if scanner_id is None else ScannerId(UUID(int=scanner_id.int)),
        key_id=row["key_id"],
        staff=row["staff"],
        scan_time=row["scan_time"],
        create_time=row["create_time"],
        is_offline=row["is_offline"],
        cost=amount_from(row["cost_unit"], row["cost_amount"]),
        reverse_time=row["reverse_time"],
        reverse_reason=row["reverse_reason"],
        chain_id=None if chain_id is None else ChainId(UUID(int=chain_id.int)),
    )
