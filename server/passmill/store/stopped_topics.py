"""Pass types whose pushes are stopped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from passmill.domain.registrations import DeviceNumber
from passmill.store.database import Transaction


async def find_probe_time(tx: Transaction, pass_type_identifier: str) -> datetime | None:
    """When a stopped pass type is tried next; None when it is not stopped. One statement."""
    found: datetime | None = await tx.fetch_value(
        "SELECT probe_time FROM stopped_topics WHERE tenant_id = $1 AND pass_type_identifier = $2",
        tx.tenant_id,
        pass_type_identifier,
    )
    return found


async def stop_topic(
    tx: Transaction,
    pass_type_identifier: str,
    *,
    reason: str,
    now: datetime,
    probe_time: datetime,
) -> bool:
    """Stops a pass type; False when it is stopped already. One statement."""
    return bool(
        await tx.execute(
            "INSERT INTO stopped_topics"
            " (tenant_id, pass_type_identifier, reason, stop_time, probe_time)"
            " VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
            tx.tenant_id,
            pass_type_identifier,
            reason,
            now,
            probe_time,
        )
    )


async def claim_probe(
    tx: Transaction, pass_type_identifier: str, *, now: datetime, probe_time: datetime
) -> bool:
    """Whether the caller is who may try now; the next one may at `probe_time`. One statement."""
    return bool(
        await tx.execute(
            "UPDATE stopped_topics SET probe_time = $4"
            " WHERE tenant_id = $1 AND pass_type_identifier = $2 AND probe_time <= $3",
            tx.tenant_id,
            pass_type_identifier,
            now,
            probe_time,
        )
    )


async def note_asked(
    tx: Transaction, device_numbers: Sequence[DeviceNumber], *, now: datetime
) -> None:
    """Remembers when these devices were pushed to, to try their pass type: others are asked next.
    One statement."""
    await tx.execute(
        "UPDATE devices SET push_time = $3 WHERE tenant_id = $1 AND device_number = ANY($2)",
        tx.tenant_id,
        device_numbers,
        now,
    )


async def resume_topic(tx: Transaction, pass_type_identifier: str) -> bool:
    """Lets pushes go on; False when they did already. One statement."""
    return bool(
        await tx.execute(
            "DELETE FROM stopped_topics WHERE tenant_id = $1 AND pass_type_identifier = $2",
            tx.tenant_id,
            pass_type_identifier,
        )
    )


async def count_stopped(tx: Transaction) -> int:
    """How many are stopped, of all tenants. For an operator's transaction."""
    count: int = await tx.fetch_value("SELECT count(*) FROM stopped_topics")
    return count
