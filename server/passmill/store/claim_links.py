"""Claim links at rest: what tells them, never their tokens."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from passmill import errors
from passmill.domain.claim_forms import fields_from_json, fields_to_json
from passmill.domain.claims import (
    ClaimLink,
    ClaimLinkId,
    KnownHolder,
    LinkPlan,
    known_from_json,
    known_to_json,
)
from passmill.domain.ids import CampaignId, PassId, TemplateId, TenantId
from passmill.domain.passes import PassState
from passmill.domain.tenants import TenantState
from passmill.store.database import Transaction, columns

_COLUMNS: Final = (
    "link_id, template_id, revision_number, pass_id, draft, fields, default_region, max_uses,"
    " uses, once_per_person, expire_time, revoke_time, campaign_id, source, utm,"
    " claim_links.create_time"
)

_FIRST_ID: Final = UUID(int=0)


async def insert_links(tx: Transaction, links: Sequence[tuple[ClaimLink, bytes]]) -> None:
    """Writes new links, each with the hash of its token."""
    rows = [
        (
            link.link_id,
            token_hash,
            link.template_id,
            link.revision_number,
            link.pass_id,
            known_to_json(link.known),
            fields_to_json(link.fields),
            link.default_region,
            link.max_uses,
            link.once_per_person,
            link.expire_time,
            link.campaign_id,
            link.source,
            json.dumps(dict(link.utm)),
            link.create_time,
        )
        for link, token_hash in links
    ]
    await tx.execute(
        "INSERT INTO claim_links (tenant_id, link_id, token_hash, template_id, revision_number,"
        " pass_id, draft, fields, default_region, max_uses, once_per_person, expire_time,"
        " campaign_id, source, utm, create_time)"
        " SELECT $1, * FROM unnest($2::uuid[], $3::bytea[], $4::uuid[], $5::int[], $6::uuid[],"
        "  $7::text[], $8::text[], $9::text[], $10::int[], $11::boolean[], $12::timestamptz[],"
        "  $13::uuid[], $14::text[], $15::jsonb[], $16::timestamptz[])",
        tx.tenant_id,
        *columns(rows, 15),
    )


async def insert_link_keys(tx: Transaction, keys: Collection[tuple[ClaimLinkId, bytes]]) -> None:
    """Notes of links for whom they are: keyed hashes of identities, as holders have them."""
    await tx.execute(
        "INSERT INTO claim_link_keys (tenant_id, link_id, key_hash)"
        " SELECT $1, * FROM unnest($2::uuid[], $3::bytea[])",
        tx.tenant_id,
        *columns(list(keys), 2),
    )


async def erase_links_for(tx: Transaction, key_hashes: Collection[bytes], *, now: datetime) -> int:
    """Empties and revokes the links that are for somebody with one of these identities, and drops
    what claims by them have no pass yet; gives how many there were. Nobody can use them any more.
    """
    rows = await tx.fetch(
        "DELETE FROM claim_link_keys WHERE tenant_id = $1 AND link_id IN ("
        " SELECT link_id FROM claim_link_keys WHERE tenant_id = $1 AND key_hash = ANY($2))"
        " RETURNING link_id",
        tx.tenant_id,
        list(key_hashes),
    )
    link_ids = sorted({row["link_id"] for row in rows})
    if not link_ids:
        return 0
    # Links first, as whoever claims: it has its row in `claims`, and waits here for the link.
    await tx.execute(
        "UPDATE claim_links SET draft = $3, revoke_time = coalesce(revoke_time, $4)"
        " WHERE tenant_id = $1 AND link_id = ANY($2)",
        tx.tenant_id,
        link_ids,
        known_to_json(KnownHolder()),
        now,
    )
    await tx.execute(
        "DELETE FROM claims WHERE tenant_id = $1 AND link_id = ANY($2) AND pass_id IS NULL",
        tx.tenant_id,
        link_ids,
    )
    return len(link_ids)


async def insert_campaign_links(
    tx: Transaction,
    token_hashes: Mapping[str, bytes],
    *,
    plan: LinkPlan,
    campaign_id: CampaignId,
    template_id: TemplateId,
    now: datetime,
) -> None:
    """Writes a link to each of a campaign's passes that are issued in this transaction: hashes of
    tokens by pass id, in hex. A link's id is its pass's, so no pass gets a second one."""
    await tx.execute(
        "INSERT INTO claim_links (tenant_id, link_id, token_hash, template_id, revision_number,"
        " pass_id, draft, fields, default_region, max_uses, once_per_person, expire_time,"
        " campaign_id, source, utm, create_time)"
        " SELECT $1, u.pass_id, u.token_hash, $2, 0, u.pass_id, $3, $4, '', $5, false, $6, $7, $8,"
        "  $9, $10 FROM unnest($11::uuid[], $12::bytea[]) AS u(pass_id, token_hash)",
        tx.tenant_id,
        template_id,
        known_to_json(KnownHolder()),
        fields_to_json(()),
        plan.max_uses,
        plan.end(now),
        campaign_id,
        plan.source,
        json.dumps(dict(plan.utm)),
        now,
        list(token_hashes),
        list(token_hashes.values()),
    )


async def find_campaign_links(tx: Transaction, pass_ids: Sequence[PassId]) -> set[PassId]:
    """Those of these passes that have a link made by their campaign which is of use: not revoked,
    its pass not voided."""
    rows = await tx.fetch(
        "SELECT link_id FROM claim_links l JOIN passes p"
        " ON p.tenant_id = l.tenant_id AND p.pass_id = l.link_id"
        " WHERE l.tenant_id = $1 AND l.link_id = ANY($2) AND l.revoke_time IS NULL"
        " AND p.state <> $3",
        tx.tenant_id,
        pass_ids,
        PassState.VOIDED,
    )
    return {PassId(UUID(int=row["link_id"].int)) for row in rows}


async def find_presented_link(
    tx: Transaction, token_hash: bytes
) -> tuple[TenantId, TenantState, ClaimLink] | None:
    """The link with this token, whosever it is, and its tenant.

    The transaction must have been opened for this `presented_secret`; it shows nothing else.
    """
    row = await tx.fetch_one(
        f"SELECT tenants.tenant_id, tenants.state, {_COLUMNS}"  # noqa: S608 - a constant
        " FROM claim_links JOIN tenants USING (tenant_id) WHERE token_hash = $1",
        token_hash,
    )
    if row is None:
        return None
    return TenantId(row["tenant_id"]), TenantState(row["state"]), _link(row)


async def get_link(tx: Transaction, link_id: ClaimLinkId) -> ClaimLink:
    """The link. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        f"SELECT {_COLUMNS} FROM claim_links WHERE tenant_id = $1 AND link_id = $2",  # noqa: S608
        tx.tenant_id,
        link_id,
    )
    if row is None:
        raise errors.not_found("claim link")
    return _link(row)


async def list_links(
    tx: Transaction,
    *,
    campaign_id: CampaignId | None,
    source: str,
    after: ClaimLinkId | None,
    at_most: int,
) -> list[ClaimLink]:
    """Links by age, oldest first, those after `after` only; of a campaign, with a source, where
    these are given. Those that a campaign made are as old as it."""
    # Only what is asked for, so that each question finds the index in whose order it goes.
    conditions = ["link_id > $2"]
    arguments: list[object] = [after or _FIRST_ID, at_most]
    if campaign_id is not None:
        arguments.append(campaign_id)
        conditions.append(f"campaign_id = ${len(arguments) + 1}")
    if source:
        arguments.append(source)
        conditions.append(f"source <> '' AND source = ${len(arguments) + 1}")
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM claim_links WHERE tenant_id = $1"  # noqa: S608 - constants
        f" AND {' AND '.join(conditions)} ORDER BY link_id LIMIT $3",
        tx.tenant_id,
        *arguments,
    )
    return [_link(row) for row in rows]


async def revoke_link(tx: Transaction, link_id: ClaimLinkId, *, now: datetime) -> bool:
    """Ends a link, for good; False when it is ended already, or there is none."""
    ended = await tx.execute(
        "UPDATE claim_links SET revoke_time = $3"
        " WHERE tenant_id = $1 AND link_id = $2 AND revoke_time IS NULL",
        tx.tenant_id,
        link_id,
        now,
    )
    return ended == 1


async def use_link(tx: Transaction, link_id: ClaimLinkId, *, now: datetime) -> bool:
    """Takes one use of a link, if it has one left and has not ended: the one place where that is
    decided."""
    taken = await tx.execute(
        "UPDATE claim_links SET uses = uses + 1 WHERE tenant_id = $1 AND link_id = $2"
        " AND revoke_time IS NULL AND (expire_time IS NULL OR expire_time > $3)"
        " AND (max_uses IS NULL OR uses < max_uses)",
        tx.tenant_id,
        link_id,
        now,
    )
    return taken == 1


async def give_use_back(tx: Transaction, link_id: ClaimLinkId) -> None:
    """A use that nothing became of."""
    await tx.execute(
        "UPDATE claim_links SET uses = uses - 1 WHERE tenant_id = $1 AND link_id = $2",
        tx.tenant_id,
        link_id,
    )


def _link(row: asyncpg.Record) -> ClaimLink:
    return ClaimLink(
        link_id=ClaimLinkId(UUID(int=row["link_id"].int)),
        template_id=TemplateId(UUID(int=row["template_id"].int)),
        revision_number=row["revision_number"],
        pass_id=None if row["pass_id"] is None else PassId(UUID(int=row["pass_id"].int)),
        known=known_from_json(row["draft"]),
        fields=fields_from_json(row["fields"]),
        default_region=row["default_region"],
        max_uses=row["max_uses"],
        uses=row["uses"],
        once_per_person=row["once_per_person"],
        expire_time=row["expire_time"],
        revoke_time=row["revoke_time"],
        campaign_id=None
        if row["campaign_id"] is None
        else CampaignId(UUID(int=row["campaign_id"].int)),
        source=row["source"],
        utm=json.loads(row["utm"]),
        create_time=row["create_time"],
    )
