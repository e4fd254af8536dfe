"""Tags of passes at rest."""

from __future__ import annotations

from collections.abc import Sequence

from passmill.domain.passes import WalletPass
from passmill.store.database import Transaction, columns


async def insert_tags(tx: Transaction, tagged: Sequence[tuple[str, str]]) -> None:
    """Gives new passes their tags. `tagged`: pass id in hex and a JSON list, in the order of the
    ids."""
    await tx.execute(
        """
        INSERT INTO pass_tags (tenant_id, tag, pass_id)
        SELECT $1, each.tag, u.pass_id
        FROM unnest($2::uuid[], $3::text[]) AS u(pass_id, tags)
        CROSS JOIN LATERAL jsonb_array_elements_text(u.tags::jsonb) AS each(tag)
        ON CONFLICT DO NOTHING
        """,
        tx.tenant_id,
        *columns(tagged, 2),
    )


async def replace_tags(tx: Transaction, changed: Sequence[WalletPass]) -> None:
    """Makes the tags of these passes the ones that they have here."""
    if not changed:
        return
    await tx.execute(
        "DELETE FROM pass_tags WHERE tenant_id = $1 AND pass_id = ANY($2)",
        tx.tenant_id,
        [each.pass_id for each in changed],
    )
    rows = [(tag, each.pass_id) for each in changed for tag in each.tags]
    await tx.execute(
        "INSERT INTO pass_tags (tenant_id, tag, pass_id)"
        " SELECT $1, u.* FROM unnest($2::text[], $3::uuid[]) AS u",
        tx.tenant_id,
        *columns(rows, 2),
    )
