"""Many passes changed at once: by a campaign's shard, in the transaction that ends the shard."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg

from passmill.domain.ids import CampaignId, PassId
from passmill.domain.pass_undo import PassUndo, undo_from_json
from passmill.domain.passes import WalletPass
from passmill.store import passes
from passmill.store.database import Transaction, columns
from passmill.store.pass_tags import replace_tags
from passmill.store.passes import ListedPass

# An INSERT that always meets its row, for there is one way only to run it: key by key, whatever the
# planner knew of the table when it made the plan. A join with unnest may be turned round, so that
# it reads all passes of the tenant. Whoever finds another version leaves the row alone; rows are
# taken in the order of their ids, so that two shards never wait for each other in a circle.
_WRITE = """
INSERT INTO passes (
    tenant_id, pass_id, revision_id, signing_identity_id, reference_number, update_tag,
    create_time, signing_time, expire_time, version, token_generation, state,
    holder_name, holder_phone, slot_values, void_reason, digest, signature, personalize_time,
    barcode_seal)
SELECT $1, u.pass_id, u.revision_id, u.signing_identity_id, u.reference_number,
    CASE WHEN u.is_visible THEN pg_current_xact_id()::text::bigint ELSE 0 END,
    u.create_time, u.signing_time, u.expire_time, u.version, u.token_generation, u.state,
    u.holder_name, u.holder_phone, u.slot_values, u.void_reason, u.digest, u.signature,
    u.personalize_time, u.barcode_seal
FROM unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[],
        $7::timestamptz[], $8::timestamptz[], $9::int[], $10::smallint[], $11::smallint[],
        $12::text[], $13::text[], $14::text[], $15::text[], $16::bytea[], $17::bytea[],
        $18::timestamptz[], $19::bytea[], $20::boolean[])
    AS u(pass_id, revision_id, signing_identity_id, reference_number, create_time,
        signing_time, expire_time, version, token_generation, state, holder_name,
        holder_phone, slot_values, void_reason, digest, signature,
        personalize_time, barcode_seal, is_visible)
ON CONFLICT (tenant_id, pass_id) DO UPDATE SET
    revision_id = EXCLUDED.revision_id,
    signing_identity_id = EXCLUDED.signing_identity_id,
    update_tag = CASE WHEN EXCLUDED.update_tag > 0
        THEN EXCLUDED.update_tag ELSE passes.update_tag END,
    signing_time = EXCLUDED.signing_time,
    expire_time = EXCLUDED.expire_time,
    version = EXCLUDED.version,
    state = EXCLUDED.state,
    holder_name = EXCLUDED.holder_name,
    holder_phone = EXCLUDED.holder_phone,
    slot_values = EXCLUDED.slot_values,
    void_reason = EXCLUDED.void_reason,
    digest = EXCLUDED.digest,
    -- What was signed stays signed where nothing of it changed, also if that was a moment ago.
    signature = CASE WHEN EXCLUDED.update_tag > 0
        THEN EXCLUDED.signature ELSE passes.signature END,
    personalize_time = EXCLUDED.personalize_time,
    barcode_seal = EXCLUDED.barcode_seal
WHERE passes.version = EXCLUDED.version - 1
RETURNING pass_id
"""


class PassesHeld(Exception):
    """Somebody holds the row of a pass for longer than one would wait. Raised to roll back."""


async def read_passes(tx: Transaction, pass_ids: Sequence[PassId]) -> dict[PassId, ListedPass]:
    """These passes, as far as they exist."""
    rows = await tx.fetch(
        "SELECT pass_id FROM passes WHERE tenant_id = $1 AND pass_id = ANY($2)",
        tx.tenant_id,
        pass_ids,
    )
    # Rows of passes are never deleted.
    found = await passes.get_passes(tx, [PassId(UUID(int=row["pass_id"].int)) for row in rows])
    return {each.wallet_pass.pass_id: each for each in found}


async def lock_free(tx: Transaction, pass_ids: Collection[PassId]) -> dict[PassId, int]:
    """Those of these passes that nobody holds, with their versions; they are locked until the
    transaction ends."""
    rows = await tx.fetch(
        "SELECT pass_id, version FROM passes WHERE tenant_id = $1 AND pass_id = ANY($2)"
        " FOR NO KEY UPDATE SKIP LOCKED",
        tx.tenant_id,
        list(pass_ids),
    )
    return {PassId(UUID(int=row["pass_id"].int)): row["version"] for row in rows}


async def write_changed(
    tx: Transaction,
    changed: Sequence[tuple[WalletPass, bool]],
    *,
    patience: timedelta | None = None,
) -> set[PassId]:
    """Writes passes as they are after a change, if the one before it is still their version; gives
    those that were written. PassesHeld when it would wait for one of them longer than `patience`.

    `changed`: with each pass whether its content is new, so that phones are to hear of it. Those
    without a signature are left to be signed.
    """
    rows = sorted(changed, key=lambda each: each[0].pass_id)
    if patience is not None:
        await tx.execute(f"SET LOCAL lock_timeout = {patience // timedelta(milliseconds=1)}")
    try:
        written = await tx.fetch(_WRITE, tx.tenant_id, *columns([_row(*each) for each in rows], 19))
    except asyncpg.LockNotAvailableError as error:
        raise PassesHeld from error
    if patience is not None:
        await tx.execute("SET LOCAL lock_timeout = 0")
    unsigned = [
        (each.pass_id, each.signing_time)
        for each, is_visible in rows
        if is_visible and each.signature is None
    ]
    if unsigned:
        await tx.execute(
            "INSERT INTO signing_intents (tenant_id, pass_id, create_time)"
            " SELECT $1, u.* FROM unnest($2::uuid[], $3::timestamptz[]) AS u"
            " ON CONFLICT DO NOTHING",
            tx.tenant_id,
            *columns(unsigned, 2),
        )
    return {PassId(UUID(int=row["pass_id"].int)) for row in written}


async def replace_attached(
    tx: Transaction, changed: Sequence[tuple[WalletPass, WalletPass]]
) -> None:
    """Writes what is kept beside passes, external ids and tags, where it is another. `changed`:
    each pass before and after."""
    await _replace_external_ids(
        tx,
        [
            after
            for before, after in changed
            if after.holder.external_ids != before.holder.external_ids
        ],
    )
    await replace_tags(tx, [after for before, after in changed if after.tags != before.tags])


async def _replace_external_ids(tx: Transaction, changed: Sequence[WalletPass]) -> None:
    if not changed:
        return
    await tx.execute(
        "DELETE FROM pass_external_ids WHERE tenant_id = $1 AND pass_id = ANY($2)",
        tx.tenant_id,
        [each.pass_id for each in changed],
    )
    rows = [
        (system, external_id, each.pass_id)
        for each in changed
        for system, external_id in each.holder.external_ids.items()
    ]
    await tx.execute(
        "INSERT INTO pass_external_ids (tenant_id, system, external_id, pass_id)"
        " SELECT $1, u.* FROM unnest($2::text[], $3::text[], $4::uuid[]) AS u",
        tx.tenant_id,
        *columns(rows, 3),
    )


async def next_undo(
    tx: Transaction, campaign_id: CampaignId, *, after_shard: int
) -> tuple[int, Sequence[PassUndo]] | None:
    """What the next shard behind `after_shard` that changed passes keeps of them, with its number;
    None when there is none."""
    row = await tx.fetch_one(
        "SELECT shard_number, undo FROM campaign_shards WHERE tenant_id = $1 AND campaign_id = $2"
        " AND shard_number > $3 AND undo IS NOT NULL ORDER BY shard_number LIMIT 1",
        tx.tenant_id,
        campaign_id,
        after_shard,
    )
    return None if row is None else (row["shard_number"], undo_from_json(row["undo"]))


def _row(wallet_pass: WalletPass, is_visible: bool) -> tuple[object, ...]:
    return (
        wallet_pass.pass_id,
        wallet_pass.revision_id,
        wallet_pass.signing_identity_id,
        wallet_pass.reference_number,
        wallet_pass.create_time,
        wallet_pass.signing_time,
        wallet_pass.expire_time,
        wallet_pass.version,
        wallet_pass.token_generation,
        wallet_pass.state,
        wallet_pass.holder.name,
        wallet_pass.holder.phone,
        wallet_pass.slot_values,
        wallet_pass.void_reason,
        wallet_pass.digest,
        wallet_pass.signature,
        wallet_pass.personalize_time,
        wallet_pass.barcode_seal,
        is_visible,
    )
