"""Venues at rest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

import asyncpg

from passmill import errors
from passmill.domain.venues import Venue, VenueId
from passmill.store.database import Transaction

_SELECT: Final = "SELECT venue_id, display_name, partner, create_time FROM venues"


async def insert_venue(tx: Transaction, venue: Venue) -> None:
    """Writes a new venue."""
    await tx.execute(
        "INSERT INTO venues (tenant_id, venue_id, display_name, partner, create_time)"
        " VALUES ($1, $2, $3, $4, $5)",
        tx.tenant_id,
        venue.venue_id,
        venue.display_name,
        venue.partner,
        venue.create_time,
    )


async def get_venue(tx: Transaction, venue_id: VenueId) -> Venue:
    """The venue. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND venue_id = $2", tx.tenant_id, venue_id
    )
    if row is None:
        raise errors.not_found("venue")
    return venue_from_row(row)


async def venues_of_partner(tx: Transaction, partner: str) -> frozenset[VenueId]:
    """All venues of a partner."""
    rows = await tx.fetch(
        "SELECT venue_id FROM venues WHERE tenant_id = $1 AND partner = $2", tx.tenant_id, partner
    )
    return frozenset(VenueId(UUID(int=row["venue_id"].int)) for row in rows)


async def require_venues(tx: Transaction, venue_ids: Iterable[VenueId]) -> None:
    """AppError NOT_FOUND when one of them does not exist."""
    wanted = set(venue_ids)
    count = await tx.fetch_value(
        "SELECT count(*) FROM venues WHERE tenant_id = $1 AND venue_id = ANY($2)",
        tx.tenant_id,
        list(wanted),
    )
    if count != len(wanted):
        raise errors.not_found("venue")


async def list_venues(
    tx: Transaction, *, partner: str, after: VenueId | None, at_most: int
) -> list[Venue]:
    """Venues by id, which is by age, those after `after` only; of one partner, or of all when
    `partner` is empty."""
    rows = await tx.fetch(
        _SELECT + " WHERE tenant_id = $1 AND venue_id > $2 AND ($3 = '' OR partner = $3)"
        " ORDER BY venue_id LIMIT $4",
        tx.tenant_id,
        after or UUID(int=0),
        partner,
        at_most,
    )
    return [venue_from_row(row) for row in rows]


def venue_from_row(row: asyncpg.Record) -> Venue:
    """The venue in a row that has its columns."""
    return Venue(
        venue_id=VenueId(UUID(int=row["venue_id"].int)),
        display_name=row["display_name"],
        partner=row["partner"],
        create_time=row["create_time"],
    )
