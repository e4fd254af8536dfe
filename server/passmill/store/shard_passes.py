"""What a shard of an issuing campaign writes: thousands of passes with one statement.

`INSERT … SELECT FROM unnest`, as PostgreSQL refuses COPY FROM under row-level security.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from passmill.domain.campaigns import IssueAction
from passmill.domain.ids import CampaignId, SigningIdentityId, new_uuid
from passmill.domain.reference_ids import ReferenceNumber
from passmill.store.claim_links import insert_campaign_links
from passmill.store.database import Transaction
from passmill.store.pass_tags import insert_tags

_INSERT = """
INSERT INTO passes (
    tenant_id, pass_id, revision_id, signing_identity_id, reference_number, update_tag,
    create_time, signing_time, expire_time, version, token_generation, state,
    holder_name, holder_phone, slot_values, void_reason, digest, signature, barcode_seal)
SELECT
    $1, u.pass_id, $2, $3, u.reference_number, pg_current_xact_id()::text::bigint,
    $4, $5, u.expire_time::timestamptz, 1, 0, 1,
    u.holder_name, u.holder_phone, u.slot_values, '', u.digest, u.signature,
    u.barcode_seal
FROM unnest($6::uuid[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[],
        $12::bytea[], $13::bytea[], $14::bytea[])
    AS u(pass_id, reference_number, expire_time, holder_name, holder_phone, slot_values,
        digest, signature, barcode_seal)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedColumns:
    """Signed passes, a list a column, all of one length, in the order of their ids: two shards that
    have recipients in common must not wait for each other in a circle.

    `pass_ids`: 16 bytes each. `expire_times`: RFC 3339, or None. `holder_ids`: JSON objects of the
    holder's ids in other systems, or None. `tags`: JSON lists, or None. `slot_values`: canonical
    JSON. `barcode_seals`: None where the revision has no signed barcode. `token_hashes`: SHA-256 of
    the tokens of their claim links, None where the campaign makes none.
    """

    pass_ids: Sequence[bytes]
    reference_numbers: Sequence[ReferenceNumber]
    expire_times: Sequence[str | None]
    holder_names: Sequence[str] = field(repr=False)
    holder_phones: Sequence[str] = field(repr=False)
    holder_ids: Sequence[str | None] = field(repr=False)
    tags: Sequence[str | None]
    slot_values: Sequence[str] = field(repr=False)
    digests: Sequence[bytes]
    signatures: Sequence[bytes]
    barcode_seals: Sequence[bytes] | None = None
    token_hashes: Sequence[bytes] | None = None


async def insert_shard_passes(
    tx: Transaction,
    passes: IssuedColumns,
    *,
    campaign_id: CampaignId,
    action: IssueAction,
    signing_identity_id: SigningIdentityId,
    signing_time: datetime,
    now: datetime,
) -> set[bytes]:
    """Writes the passes that are not there yet, what is kept beside them, and one event that names
    them.

    Gives the ids of those that were there: their recipients came before, in another shard.
    RuntimeError when another pass has one of their reference numbers.
    """
    hex_ids = [pass_id.hex() for pass_id in passes.pass_ids]
    written = await tx.execute(
        _INSERT,
        tx.tenant_id,
        action.revision.revision_id,
        signing_identity_id,
        now,
        signing_time,
        hex_ids,
        passes.reference_numbers,
        passes.expire_times,
        passes.holder_names,
        passes.holder_phones,
        passes.slot_values,
        passes.digests,
        passes.signatures,
        passes.barcode_seals,  # of no array unnest makes NULLs
    )
    there: set[bytes] = set()
    if written < len(hex_ids):
        there = await _written_before(tx, passes.pass_ids, hex_ids)
        if written + len(there) != len(hex_ids):
            raise RuntimeError("A reference number is taken.")  # passes would be lost in silence
        hex_ids = [each.hex() for each in passes.pass_ids if each not in there]
    if any(each is not None for each in passes.holder_ids):
        await _insert_external_ids(tx, passes, there)
    if any(each is not None for each in passes.tags):
        tagged = [
            (pass_id.hex(), tags)
            for pass_id, tags in zip(passes.pass_ids, passes.tags, strict=True)
            if tags is not None and pass_id not in there
        ]
        await insert_tags(tx, tagged)
    if action.links is not None and passes.token_hashes is not None:
        all_hashes = zip(passes.pass_ids, passes.token_hashes, strict=True)
        await insert_campaign_links(
            tx,
            {each.hex(): token_hash for each, token_hash in all_hashes if each not in there},
            plan=action.links,
            campaign_id=campaign_id,
            template_id=action.revision.template_id,
            now=now,
        )
    await tx.execute(
        "INSERT INTO outbox (tenant_id, event_id, kind, pass_ids, detail, create_time)"
        " VALUES ($1, $2, 'campaign.shard_done', $3::uuid[], $4, $5)",
        tx.tenant_id,
        new_uuid(),
        hex_ids,
        json.dumps({"campaign_id": str(campaign_id), "action": "issue"}),
        now,
    )
    return there


async def _written_before(
    tx: Transaction, pass_ids: Sequence[bytes], hex_ids: Sequence[str]
) -> set[bytes]:
    rows = await tx.fetch(
        "SELECT pass_id FROM passes WHERE tenant_id = $1 AND pass_id = ANY($2::uuid[])"
        " AND update_tag <> pg_current_xact_id()::text::bigint",
        tx.tenant_id,
        hex_ids,
    )
    return {row["pass_id"].bytes for row in rows} & set(pass_ids)


async def _insert_external_ids(tx: Transaction, passes: IssuedColumns, without: set[bytes]) -> None:
    identified = [
        (pass_id.hex(), holder_ids)
        for pass_id, holder_ids in zip(passes.pass_ids, passes.holder_ids, strict=True)
        if holder_ids is not None and pass_id not in without
    ]
    await tx.execute(
        """
        INSERT INTO pass_external_ids (tenant_id, system, external_id, pass_id)
        SELECT $1, each.key, each.value, u.pass_id
        FROM unnest($2::uuid[], $3::text[]) AS u(pass_id, holder_ids)
        CROSS JOIN LATERAL jsonb_each_text(u.holder_ids::jsonb) AS each
        ON CONFLICT DO NOTHING
        """,
        tx.tenant_id,
        [pass_id for pass_id, _ in identified],
        [holder_ids for _, holder_ids in identified],
    )
