"""What is told of a campaign's life, in the transaction of the change."""

from __future__ import annotations

import json
from datetime import datetime

from passmill.domain.campaigns import Campaign, Progress
from passmill.domain.events import EventKind
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event


async def tell(
    tx: Transaction,
    campaign: Campaign,
    *,
    kind: EventKind,
    now: datetime,
    progress: Progress | None = None,
) -> None:
    """Records an event of a campaign's life, with the state, why it is in it, and, where it is
    given, how far it came."""
    detail: dict[str, object] = {
        "campaign_id": str(campaign.campaign_id),
        "state": campaign.state.name.lower(),
        "reason": campaign.state_reason,
    }
    if progress is not None:
        detail |= {
            "total": progress.total,
            "succeeded": progress.succeeded,
            "invalid": progress.invalid,
            "failed": progress.failed,
            "duplicate": progress.duplicate,
            "skipped": progress.skipped,
            "voided": progress.voided,
        }
    await insert_event(tx, kind=kind, pass_ids=[], detail=json.dumps(detail), now=now)
