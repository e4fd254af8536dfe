"""Passes whose devices are to be pushed to because somebody asked: found and written down as events
by one statement, however many they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from passmill.domain.ids import CampaignId, PassId, TemplateId
from passmill.store.database import Transaction

# As many passes as a campaign's event names.
_PASSES_OF_EVENT: Final = 5_000
_LAGGARDS: Final = """
    SELECT p.pass_id FROM held h
    JOIN passes p ON p.tenant_id = $1 AND p.pass_id = h.pass_id
    LEFT JOIN pass_fetches f ON f.tenant_id = $1 AND f.pass_id = h.pass_id
    WHERE p.signing_time > p.create_time
        AND (f.content_time IS NULL OR f.content_time < p.signing_time)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushTarget:
    """Whose devices: of these passes, or of a template's, or of those a campaign issued. One is not
    None. `only_laggards`: only of passes whose newest content nobody has fetched."""

    pass_ids: Sequence[PassId] | None = None
    template_id: TemplateId | None = None
    campaign_id: CampaignId | None = None
    only_laggards: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRequested:
    """An event that asks for pushes, and how many passes it names."""

    event_id: UUID
    pass_count: int


async def insert_push_requests(
    tx: Transaction, target: PushTarget, *, now: datetime
) -> list[PushRequested]:
    """Events that name the target's passes, those that are on a device."""
    argument: object
    if target.pass_ids is not None:
        condition, argument = "r.pass_id = ANY($2::uuid[])", target.pass_ids
    elif target.template_id is not None:
        condition, argument = "r.template_id = $2::uuid", target.template_id
    else:
        condition, argument = "r.campaign_id = $2::uuid", target.campaign_id
    wanted = _LAGGARDS if target.only_laggards else "SELECT pass_id FROM held"
    rows = await tx.fetch(
        f"""
        WITH held AS MATERIALIZED (
            SELECT DISTINCT r.pass_id FROM registrations r
            WHERE r.tenant_id = $1 AND {condition} AND r.remove_time IS NULL
        ), wanted AS MATERIALIZED ({wanted}), parts AS (
            SELECT array_agg(pass_id ORDER BY pass_id) AS pass_ids
            FROM (SELECT pass_id, (row_number() OVER (ORDER BY pass_id) - 1) / $4::int AS part
                FROM wanted) AS numbered
            GROUP BY part
        )
        INSERT INTO outbox (tenant_id, event_id, kind, pass_ids, detail, create_time)
        SELECT $1, gen_random_uuid(), 'pass.push_requested', pass_ids, '{{}}', $3 FROM parts
        RETURNING event_id, cardinality(pass_ids) AS pass_count
        """,  # noqa: S608 - words of this module
        tx.tenant_id,
        argument,
        now,
        _PASSES_OF_EVENT,
    )
    return [PushRequested(**dict(row)) for row in rows]
