"""Offers at rest."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import asyncpg

from passmill import errors
from passmill.domain.ids import ProgramId, TemplateId
from passmill.domain.offers import (
    ChainId,
    Offer,
    OfferId,
    OfferState,
    UnitAmount,
    mark_from_json,
)
from passmill.domain.venues import VenueId
from passmill.store.database import Transaction

_SELECT: Final = (
    "SELECT offer_id, program_id, template_id, display_name, max_uses, cost_unit, cost_amount,"
    " worth_unit, worth_amount, valid_from, valid_until, venue_ids, tiers, attention, mark, state,"
    " version, create_time, update_time, chain_id FROM offers"
)


async def insert_offer(tx: Transaction, offer: Offer) -> None:
    """Writes a new offer."""
    await tx.execute(
        "INSERT INTO offers (tenant_id, offer_id, display_name, max_uses, cost_unit, cost_amount,"
        " worth_unit, worth_amount, valid_from, valid_until, venue_ids, tiers, attention, mark,"
        " state, version, update_time, program_id, template_id, create_time)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,"
        " $19, $20)",
        tx.tenant_id,
        *_columns(offer),
        offer.program_id,
        offer.template_id,
        offer.create_time,
    )


async def write_offer(tx: Transaction, offer: Offer) -> None:
    """Writes what can change of an offer locked in this transaction."""
    await tx.execute(
        "UPDATE offers SET display_name = $3, max_uses = $4, cost_unit = $5, cost_amount = $6,"
        " worth_unit = $7, worth_amount = $8, valid_from = $9, valid_until = $10, venue_ids = $11,"
        " tiers = $12, attention = $13, mark = $14, state = $15, version = $16, update_time = $17"
        " WHERE tenant_id = $1 AND offer_id = $2",
        tx.tenant_id,
        *_columns(offer),
    )


async def get_offer(tx: Transaction, offer_id: OfferId) -> Offer:
    """The offer. AppError NOT_FOUND."""
    return _existing(
        await tx.fetch_one(
            _SELECT + " WHERE tenant_id = $1 AND offer_id = $2", tx.tenant_id, offer_id
        )
    )


async def lock_offer(tx: Transaction, offer_id: OfferId) -> Offer:
    """As `get_offer`; nobody else changes it before this transaction ends."""
    return _existing(
        await tx.fetch_one(
            _SELECT + " WHERE tenant_id = $1 AND offer_id = $2 FOR UPDATE", tx.tenant_id, offer_id
        )
    )


async def list_offers(
    tx: Transaction,
    *,
    program_id: ProgramId | None,
    include_archived: bool,
    after: OfferId | None,
    at_most: int,
) -> list[Offer]:
    """Offers by id, which is by age, those after `after` only; of one program, or of all."""
    rows = await tx.fetch(
        _SELECT
        + " WHERE tenant_id = $1 AND offer_id > $2 AND ($3::uuid IS NULL OR program_id = $3)"
        " AND ($4 OR state = $5) ORDER BY offer_id LIMIT $6",
        tx.tenant_id,
        after or UUID(int=0),
        program_id,
        include_archived,
        OfferState.ACTIVE,
        at_most,
    )
    return [_offer(row) for row in rows]


async def program_offers(tx: Transaction, program_id: ProgramId, *, at_most: int) -> list[Offer]:
    """The active offers of a program, oldest first."""
    return await list_offers(
        tx, program_id=program_id, include_archived=False, after=None, at_most=at_most
    )


def _existing(row: asyncpg.Record | None) -> Offer:
    if row is None:
        raise errors.not_found("offer")
    return _offer(row)


def _columns(offer: Offer) -> tuple[object, ...]:
    return (
        offer.offer_id,
        offer.display_name,
        offer.max_uses,
        offer.cost and offer.cost.unit,
        offer.cost and offer.cost.amount,
        offer.worth and offer.worth.unit,
        offer.worth and offer.worth.amount,
        offer.valid_from,
        offer.valid_until,
        offer.venue_ids,
        offer.tiers,
        offer.attention,
        offer.mark.to_json(),
        offer.state,
        offer.version,
        offer.update_time,
    )


def amount_from(unit: str | None, amount: int | None) -> UnitAmount | None:
    """The amount in two columns, None where they are null."""
    return None if unit is None or amount is None else UnitAmount(unit=unit, amount=amount)


def _offer(row: asyncpg.Record) -> Offer:
    template_id, chain_id = row["template_id"], row["chain_id"]
    return Offer(
        offer_id=OfferId(UUID(int=row["offer_id"].int)),
        program_id=ProgramId(UUID(int=row["program_id"].int)),
        template_id=None if template_id is None else TemplateId(UUID(int=template_id.int)),
        display_name=row["display_name"],
        max_uses=row["max_uses"],
        cost=amount_from(row["cost_unit"], row["cost_amount"]),
        worth=amount_from(row["worth_unit"], row["worth_amount"]),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        venue_ids=tuple(VenueId(UUID(int=each.int)) for each in row["venue_ids"]),
        tiers=tuple(row["tiers"]),
        attention=row["attention"],
        mark=mark_from_json(row["mark"]),
        state=OfferState(row["state"]),
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        chain_id=None if chain_id is None else ChainId(UUID(int=chain_id.int)),
    )
