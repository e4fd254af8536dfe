"""Passes that took another's place, and the first of each such row, their origin: a pass that took
nobody's is its own.

What a pass has used, where it is checked in and where it stands in chains is kept under its origin.
So of a pass and its successor one has a use, whichever of them is shown.
"""

from __future__ import annotations

from uuid import UUID

from passmill.domain.ids import PassId
from passmill.store.database import Transaction


def origin_of(pass_id: str) -> str:
    """SQL for the origin of a pass, by a parameter, where $1 is the tenant. It is all one subquery,
    read once before: row security lets no index be searched for what is made of one."""
    return f"(SELECT {_origin_of(pass_id)})"


def origin_row(pass_id: str) -> str:
    """SQL for a row with the origin of a pass, `pass_id`, by a column, to be joined. The offset
    makes it a column of its own, for the same reason."""
    return f"(SELECT {_origin_of(pass_id)} AS pass_id OFFSET 0)"


def _origin_of(pass_id: str) -> str:
    return (
        "coalesce((SELECT g.origin_id FROM pass_origins g"  # noqa: S608 - a name of ours
        f" WHERE g.tenant_id = $1 AND g.pass_id = {pass_id}), {pass_id})"
    )


async def find_successor(tx: Transaction, pass_id: PassId) -> PassId:
    """The pass that has this one's place now: itself, unless it was issued anew."""
    found: UUID = await tx.fetch_value(
        """
        WITH RECURSIVE line AS (
            SELECT $2::uuid AS pass_id, 0 AS place
            UNION ALL
            SELECT r.new_pass_id, line.place + 1 FROM line JOIN pass_reissues r
                ON r.tenant_id = $1 AND r.pass_id = line.pass_id AND r.new_pass_id IS NOT NULL
        )
        SELECT pass_id FROM line ORDER BY place DESC LIMIT 1
        """,
        tx.tenant_id,
        pass_id,
    )
    return PassId(UUID(int=found.int))
