"""Recipients of a campaign that come again: found over all of its chunks by one statement, and kept
as duplicates before any shard is served, so that shards need not know of each other."""

from __future__ import annotations

from typing import Final

from passmill.domain.campaigns import FailureKind
from passmill.domain.ids import CampaignId
from passmill.errors import Reason
from passmill.store.database import Transaction

DUPLICATE_MESSAGE: Final = "Its external_id or its pass came before in this campaign."
# Sorted in memory as far as it goes, instead of 4 MiB at a time: a million recipients are 100 MiB.
_WORK_MEMORY: Final = "64MB"

# A chunk's `pass_ids` is null where all of its recipients were refused. Bytes, not a language, say
# which texts are one ("C" does the sorting in a fifth of the time, too).
_MARK: Final = """
INSERT INTO recipient_failures
    (tenant_id, campaign_id, stream_id, row_offset, kind, external_id, reason, message)
WITH loaded AS (
    SELECT c.stream_id, c.first_offset + e.at - 1 AS row_offset,
        e.external_id COLLATE "C" AS external_id, e.pass_id COLLATE "C" AS pass_id
    FROM recipient_streams s
    JOIN recipient_chunks c ON c.tenant_id = s.tenant_id AND c.stream_id = s.stream_id
    CROSS JOIN LATERAL (SELECT c.content::json -> 'external_ids' AS external_ids,
        c.content::json -> 'pass_ids' AS pass_ids) AS chunk
    CROSS JOIN LATERAL ROWS FROM (
        json_array_elements_text(chunk.external_ids),
        json_array_elements_text(
            CASE json_typeof(chunk.pass_ids) WHEN 'array' THEN chunk.pass_ids ELSE '[]' END)
    ) WITH ORDINALITY AS e(external_id, pass_id, at)
    WHERE s.tenant_id = $1 AND s.campaign_id = $2 AND e.pass_id IS NOT NULL
), by_id AS (
    SELECT *, row_number() OVER (PARTITION BY external_id ORDER BY stream_id, row_offset) AS nth
    FROM loaded
), by_pass AS (
    SELECT *, row_number() OVER (PARTITION BY pass_id ORDER BY stream_id, row_offset) AS pass_nth
    FROM by_id WHERE nth = 1
)
SELECT $1, $2, stream_id, row_offset, $3::smallint, external_id, $4::text, $5::text
FROM (
    SELECT stream_id, row_offset, external_id FROM by_id WHERE nth > 1
    UNION ALL
    SELECT stream_id, row_offset, external_id FROM by_pass WHERE pass_nth > 1
) AS repeated
ON CONFLICT DO NOTHING
"""


async def mark_repeated(tx: Transaction, campaign_id: CampaignId) -> int:
    """Keeps every recipient that comes again as a duplicate; gives how many were not kept before.
    The campaign's streams are complete, so that doing it once more changes nothing.

    Of recipients with one external id the first counts, by stream and offset; of those that count
    and name one pass, the first. Those refused when they were loaded take no part.
    """
    await tx.execute("SELECT set_config('work_mem', $1, true)", _WORK_MEMORY)
    return await tx.execute(
        _MARK,
        tx.tenant_id,
        campaign_id,
        FailureKind.DUPLICATE,
        Reason.DUPLICATE_RECIPIENT.value,
        DUPLICATE_MESSAGE,
    )
