"""Campaigns at rest: what they do, and where they are in their life."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from passmill import errors
from passmill.domain.campaign_definitions import definition_from_json, definition_to_json
from passmill.domain.campaigns import Campaign, CampaignState, Priority, action_kind
from passmill.domain.ids import CampaignId, TenantId
from passmill.store.database import Transaction

_SELECT: Final = (
    "SELECT campaign_id, display_name, definition, state, state_reason, priority, version, total,"
    " invalid, first_reference, void_issued, rolls_back, create_time, start_time, end_time,"
    " recipients_forgotten FROM campaigns"
)
# Greater than every UUIDv7: before the first page of a list that begins with the newest.
_LAST_ID: Final = UUID(int=(1 << 128) - 1)


async def insert_campaign(tx: Transaction, campaign: Campaign) -> None:
    """Writes a new campaign."""
    await tx.execute(
        "INSERT INTO campaigns (tenant_id, campaign_id, display_name, action, definition, state,"
        " state_reason, priority, version, total, invalid, first_reference, void_issued,"
        " rolls_back, create_time, start_time, end_time) VALUES"
        " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        tx.tenant_id,
        campaign.campaign_id,
        campaign.display_name,
        action_kind(campaign.definition.action),
        definition_to_json(campaign.definition),
        campaign.state,
        campaign.state_reason,
        campaign.priority,
        campaign.version,
        campaign.total,
        campaign.invalid,
        campaign.first_reference,
        campaign.void_issued,
        campaign.rolls_back,
        campaign.create_time,
        campaign.start_time,
        campaign.end_time,
    )


async def get_campaign(tx: Transaction, campaign_id: CampaignId) -> Campaign:
    """The campaign. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND campaign_id = $2", tx.tenant_id, campaign_id
    )
    return _existing(row)


async def lock_campaign(tx: Transaction, campaign_id: CampaignId) -> Campaign:
    """As `get_campaign`; nobody else changes it before this transaction ends."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND campaign_id = $2 FOR UPDATE",
        tx.tenant_id,
        campaign_id,
    )
    return _existing(row)


async def is_rolled_back(tx: Transaction, campaign_id: CampaignId) -> bool:
    """Whether another campaign takes it back, or has."""
    found: bool = await tx.fetch_value(
        "SELECT EXISTS (SELECT FROM campaigns WHERE tenant_id = $1 AND rolls_back = $2)",
        tx.tenant_id,
        campaign_id,
    )
    return found


async def find_roll_back(tx: Transaction, campaign_id: CampaignId) -> CampaignId | None:
    """The campaign that takes it back, or has; none that was cancelled."""
    found = await tx.fetch_value(
        "SELECT campaign_id FROM campaigns WHERE tenant_id = $1 AND rolls_back = $2"
        " AND state NOT IN ($3, $4) LIMIT 1",
        tx.tenant_id,
        campaign_id,
        CampaignState.CANCELLING,
        CampaignState.CANCELLED,
    )
    return None if found is None else CampaignId(UUID(int=found.int))


async def find_to_forget(
    tx: Transaction, *, ended_before: datetime
) -> tuple[TenantId, CampaignId] | None:
    """A campaign of any tenant that ended before then, whose recipients are still kept and which
    no other is just taking back. For an operator's transaction."""
    row = await tx.fetch_one(
        "SELECT tenant_id, campaign_id FROM campaigns c"
        " WHERE end_time < $1 AND NOT recipients_forgotten AND state >= $2 AND NOT EXISTS"
        " (SELECT FROM campaigns b WHERE b.tenant_id = c.tenant_id"
        "  AND b.rolls_back = c.campaign_id AND b.end_time IS NULL)"
        " ORDER BY end_time LIMIT 1",
        ended_before,
        CampaignState.CANCELLED,
    )
    if row is None:
        return None
    return TenantId(row["tenant_id"]), CampaignId(UUID(int=row["campaign_id"].int))


async def forget_recipients(tx: Transaction, campaign_id: CampaignId) -> int:
    """Deletes the recipients of a campaign locked in this transaction, and what its passes were
    before it changed them; gives how many chunks. Who was not served, and why, is kept."""
    deleted = await tx.execute(
        "DELETE FROM recipient_chunks WHERE tenant_id = $1 AND stream_id IN"
        " (SELECT stream_id FROM recipient_streams WHERE tenant_id = $1 AND campaign_id = $2)",
        tx.tenant_id,
        campaign_id,
    )
    await tx.execute(
        "UPDATE campaign_shards SET undo = NULL"
        " WHERE tenant_id = $1 AND campaign_id = $2 AND undo IS NOT NULL",
        tx.tenant_id,
        campaign_id,
    )
    await tx.execute(
        "UPDATE campaigns SET recipients_forgotten = true"
        " WHERE tenant_id = $1 AND campaign_id = $2",
        tx.tenant_id,
        campaign_id,
    )
    return deleted


async def list_campaigns(
    tx: Transaction, *, state: CampaignState | None, before: CampaignId | None, at_most: int
) -> list[Campaign]:
    """Campaigns, the newest first, those older than `before` only; in one state when it is
    given."""
    rows = await tx.fetch(
        _SELECT + " WHERE tenant_id = $1 AND campaign_id < $2"
        " AND ($3::smallint IS NULL OR state = $3) ORDER BY campaign_id DESC LIMIT $4",
        tx.tenant_id,
        before or _LAST_ID,
        state,
        at_most,
    )
    return [_campaign(row) for row in rows]


async def write_campaign(tx: Transaction, campaign: Campaign) -> None:
    """Writes what can change of a campaign locked in this transaction; its version is the
    caller's to raise."""
    await tx.execute(
        "UPDATE campaigns SET state = $3, state_reason = $4, version = $5, total = $6,"
        " invalid = $7, first_reference = $8, void_issued = $9, start_time = $10, end_time = $11"
        " WHERE tenant_id = $1 AND campaign_id = $2",
        tx.tenant_id,
        campaign.campaign_id,
        campaign.state,
        campaign.state_reason,
        campaign.version,
        campaign.total,
        campaign.invalid,
        campaign.first_reference,
        campaign.void_issued,
        campaign.start_time,
        campaign.end_time,
    )


def _existing(row: asyncpg.Record | None) -> Campaign:
    if row is None:
        raise errors.not_found("campaign")
    return _campaign(row)


def _campaign(row: asyncpg.Record) -> Campaign:
    rolls_back = row["rolls_back"]
    return Campaign(
        campaign_id=CampaignId(UUID(int=row["campaign_id"].int)),
        display_name=row["display_name"],
        definition=definition_from_json(row["definition"]),
        state=CampaignState(row["state"]),
        state_reason=row["state_reason"],
        priority=Priority(row["priority"]),
        version=row["version"],
        total=row["total"],
        invalid=row["invalid"],
        first_reference=row["first_reference"],
        void_issued=row["void_issued"],
        rolls_back=None if rolls_back is None else CampaignId(UUID(int=rolls_back.int)),
        create_time=row["create_time"],
        start_time=row["start_time"],
        end_time=row["end_time"],
        is_forgotten=row["recipients_forgotten"],
    )
