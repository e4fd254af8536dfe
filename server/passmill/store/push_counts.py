"""How many pushes ended how, by day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from passmill.store.database import Transaction, columns


async def add_push_counts(
    tx: Transaction, pass_type_identifier: str, ended: Mapping[tuple[int, str], int], *, day: date
) -> None:
    """Counts pushes that ended on a day (UTC), by state and reason. One statement."""
    # In one order, so that two who count never wait for each other in a circle.
    rows = sorted((state, reason, count) for (state, reason), count in ended.items())
    await tx.execute(
        """
        INSERT INTO push_counts AS c (tenant_id, pass_type_identifier, day, state, reason, count)
        SELECT $1, $2, $3, u.* FROM unnest($4::smallint[], $5::text[], $6::bigint[]) AS u
        ON CONFLICT (tenant_id, pass_type_identifier, day, state, reason)
        DO UPDATE SET count = c.count + EXCLUDED.count
        """,
        tx.tenant_id,
        pass_type_identifier,
        day,
        *columns(rows, 3),
    )
