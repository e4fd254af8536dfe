"""Passes: the recipe rows, their external ids and the intents to sign them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from passmill.domain.ids import (
    PassId,
    ProgramId,
    RevisionId,
    SigningIdentityId,
    TemplateId,
)
from passmill.domain.passes import Holder, PassState, WalletPass
from passmill.domain.reference_ids import ReferenceNumber
from passmill.errors import not_found
from passmill.store.answers import StoredAnswer
from passmill.store.database import Transaction, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPass:
    """A pass with the names of what it was issued from."""

    wallet_pass: WalletPass
    program_id: ProgramId
    template_id: TemplateId
    revision_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassFilter:
    """Which passes to list; every part that is not None narrows it."""

    program_id: ProgramId | None = None
    template_id: TemplateId | None = None
    state: PassState | None = None
    holder_phone: str | None = None
    external_id: tuple[str, str] | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


_SELECT_LISTED = f"""
SELECT p.pass_id, p.revision_id, p.signing_identity_id, p.reference_number, p.create_time,
    p.signing_time, p.expire_time, p.version, p.token_generation, p.state, p.holder_name,
    p.holder_phone, p.slot_values, p.void_reason, p.digest, p.signature, p.personalize_time,
    p.barcode_seal,
    p.state = {PassState.VOIDED:d} AND EXISTS (SELECT FROM pass_holders ph
        JOIN holders h ON h.tenant_id = ph.tenant_id AND h.holder_id = ph.holder_id
        WHERE ph.tenant_id = p.tenant_id AND ph.pass_id = p.pass_id
            AND h.erase_time IS NOT NULL) AS is_erased,
    (SELECT array_agg(ARRAY[e.system, e.external_id] ORDER BY e.system)
        FROM pass_external_ids e
        WHERE e.tenant_id = p.tenant_id AND e.pass_id = p.pass_id) AS external_ids,
    (SELECT array_agg(g.tag ORDER BY g.tag) FROM pass_tags g
        WHERE g.tenant_id = p.tenant_id AND g.pass_id = p.pass_id) AS tags,
    t.program_id, t.template_id, r.number AS revision_number
FROM passes p
JOIN template_revisions r ON r.tenant_id = p.tenant_id AND r.revision_id = p.revision_id
JOIN templates t ON t.tenant_id = r.tenant_id AND t.template_id = r.template_id
WHERE p.tenant_id = $1
"""  # noqa: S608 - our own number

# One statement a group: claims the request ids that are new, and inserts the passes of those alone.
# unnest keeps the arrays' order, and callers sort by request id, so two groups never wait for each
# other in a circle.
_INSERT_GROUP = """
WITH claimed AS (
    INSERT INTO request_answers (tenant_id, request_id, method, fingerprint, answer, create_time)
    SELECT $1, u.*, $6::timestamptz
    FROM unnest($2::uuid[], $3::text[], $4::bytea[], $5::bytea[]) AS u
    ON CONFLICT DO NOTHING
    RETURNING request_id
), issued AS (
    INSERT INTO passes (
        tenant_id, pass_id, revision_id, signing_identity_id, reference_number, update_tag,
        create_time, signing_time, expire_time, version, token_generation, state,
        holder_name, holder_phone, slot_values, void_reason, digest, barcode_seal)
    SELECT
        $1, u.pass_id, u.revision_id, u.signing_identity_id, u.reference_number,
        pg_current_xact_id()::text::bigint, u.create_time, u.signing_time, u.expire_time, 1, 0, 1,
        u.holder_name, u.holder_phone, u.slot_values, '', u.digest, u.barcode_seal
    FROM unnest($7::uuid[], $8::uuid[], $9::bigint[], $10::bigint[], $11::bigint[],
            $12::timestamptz[], $13::timestamptz[], $14::text[], $15::text[], $16::text[],
            $17::bytea[], $18::timestamptz[], $27::bytea[])
        AS u(request_id, pass_id, revision_id, signing_identity_id, reference_number,
            signing_time, expire_time, holder_name, holder_phone, slot_values,
            digest, create_time, barcode_seal)
    JOIN claimed USING (request_id)
    RETURNING pass_id
), intended AS (
    INSERT INTO signing_intents (tenant_id, pass_id, create_time)
    SELECT $1, pass_id, $6 FROM issued
), identified AS (
    INSERT INTO pass_external_ids (tenant_id, system, external_id, pass_id)
    SELECT $1, u.system, u.external_id, u.pass_id
    FROM unnest($19::uuid[], $20::uuid[], $21::text[], $22::text[])
        AS u(request_id, pass_id, system, external_id)
    JOIN claimed USING (request_id)
), tagged AS (
    INSERT INTO pass_tags (tenant_id, tag, pass_id)
    SELECT $1, u.tag, u.pass_id
    FROM unnest($24::uuid[], $25::uuid[], $26::text[]) AS u(request_id, pass_id, tag)
    JOIN claimed USING (request_id)
), descended AS (
    INSERT INTO pass_origins (tenant_id, pass_id, origin_id)
    SELECT $1, u.pass_id, coalesce(g.origin_id, u.replaced_id)
    FROM unnest($28::uuid[], $29::uuid[], $30::uuid[]) AS u(request_id, pass_id, replaced_id)
    JOIN claimed USING (request_id)
    LEFT JOIN pass_origins g ON g.tenant_id = $1 AND g.pass_id = u.replaced_id
), told AS (
    INSERT INTO outbox (tenant_id, event_id, kind, pass_ids, detail, create_time)
    SELECT $1, u.event_id, 'pass.issued', i.pass_ids, '{}', $6
    FROM unnest($2::uuid[], $23::uuid[]) AS u(request_id, event_id)
    JOIN claimed USING (request_id)
    JOIN (
        SELECT request_id, array_agg(pass_id) AS pass_ids
        FROM unnest($7::uuid[], $8::uuid[]) AS i(request_id, pass_id) GROUP BY request_id
    ) AS i USING (request_id)
)
SELECT request_id FROM claimed
"""


async def insert_issued(
    tx: Transaction,
    *,
    requests: Sequence[StoredAnswer],
    passes: Sequence[tuple[UUID, WalletPass]],
    event_ids: Sequence[UUID],
    replaced: Sequence[tuple[UUID, PassId, PassId]] = (),
    now: datetime,
) -> set[UUID]:
    """Issues a group of passes at once: answers, rows, intents, external ids, tags and events.

    `requests`: the group's requests with their answers, sorted by request id. `passes`: (request
    id, pass). `event_ids`: one a request. `replaced`: (request id, pass, the one whose place it
    takes). Gives the request ids that were new; of the others
    nothing was inserted.
    """
    answers = columns(
        [(each.request_id, each.method, each.fingerprint, each.answer) for each in requests], 4
    )
    rows = columns(
        [
            (
                request_id,
                wallet_pass.pass_id,
                wallet_pass.revision_id,
                wallet_pass.signing_identity_id,
                wallet_pass.reference_number,
                wallet_pass.signing_time,
                wallet_pass.expire_time,
                wallet_pass.holder.name,
                wallet_pass.holder.phone,
                wallet_pass.slot_values,
                wallet_pass.digest,
                wallet_pass.create_time,
            )
            for request_id, wallet_pass in passes
        ],
        12,
    )
    external_ids = columns(
        [
            (request_id, wallet_pass.pass_id, system, external_id)
            for request_id, wallet_pass in passes
            for system, external_id in wallet_pass.holder.external_ids.items()
        ],
        4,
    )
    tags = columns(
        [(request_id, each.pass_id, tag) for request_id, each in passes for tag in each.tags], 3
    )
    more = [*tags, [each.barcode_seal for _, each in passes], *columns(replaced, 3)]
    claimed = await tx.fetch(
        _INSERT_GROUP, tx.tenant_id, *answers, now, *rows, *external_ids, event_ids, *more
    )
    return {row["request_id"] for row in claimed}


async def store_signatures(tx: Transaction, signed: Sequence[tuple[PassId, int, bytes]]) -> int:
    """Keeps signatures (pass, version signed, signature) and ends their intents.

    A version that is no longer the current one is left alone: its successor has an intent of its
    own. So is one that is signed already: with some keys each signature is another, and the first
    may have been served. Gives how many were kept.
    """
    # Arrays and their positions instead of a join: there is one way only to run this, by the keys,
    # whatever the planner knew of the tables when it made the plan.
    pass_ids, versions, signatures = columns(sorted(signed), 3)
    return await tx.execute(
        """
        WITH kept AS (
            UPDATE passes SET signature = ($4::bytea[])[array_position($2::uuid[], pass_id)]
            WHERE tenant_id = $1 AND pass_id = ANY($2)
                AND version = ($3::int[])[array_position($2, pass_id)] AND signature IS NULL
            RETURNING pass_id
        )
        DELETE FROM signing_intents
        WHERE tenant_id = $1 AND pass_id = ANY(ARRAY(SELECT pass_id FROM kept))
        """,
        tx.tenant_id,
        pass_ids,
        versions,
        signatures,
    )


async def update_content(tx: Transaction, wallet_pass: WalletPass) -> None:
    """Writes a pass's new content, unsigned, with an intent to sign it. Its lock is held."""
    await update_record(tx, wallet_pass)
    await tx.execute(
        """
        WITH changed AS (
            UPDATE passes SET revision_id = $3, signing_identity_id = $4, signing_time = $5,
                digest = $6, barcode_seal = $8, signature = NULL,
                update_tag = pg_current_xact_id()::text::bigint
            WHERE tenant_id = $1 AND pass_id = $2
            RETURNING pass_id
        )
        INSERT INTO signing_intents (tenant_id, pass_id, create_time)
        SELECT $1, pass_id, $7 FROM changed
        ON CONFLICT DO NOTHING
        """,
        tx.tenant_id,
        wallet_pass.pass_id,
        wallet_pass.revision_id,
        wallet_pass.signing_identity_id,
        wallet_pass.signing_time,
        wallet_pass.digest,
        wallet_pass.signing_time,
        wallet_pass.barcode_seal,
    )


async def update_record(tx: Transaction, wallet_pass: WalletPass) -> None:
    """Writes what is said of a pass, but not what is signed. The caller holds its lock."""
    await tx.execute(
        """
        UPDATE passes SET expire_time = $3, version = $4, state = $5, holder_name = $6,
            holder_phone = $7, slot_values = $8, void_reason = $9
        WHERE tenant_id = $1 AND pass_id = $2
        """,
        tx.tenant_id,
        wallet_pass.pass_id,
        wallet_pass.expire_time,
        wallet_pass.version,
        wallet_pass.state,
        wallet_pass.holder.name,
        wallet_pass.holder.phone,
        wallet_pass.slot_values,
        wallet_pass.void_reason,
    )


async def find_passes(
    tx: Transaction, *, pass_ids: Sequence[PassId], references: Sequence[ReferenceNumber]
) -> list[ListedPass]:
    """The passes with these ids or reference numbers, as far as they exist, in no order."""
    rows = await tx.fetch(
        _SELECT_LISTED + "AND (p.pass_id = ANY($2) OR p.reference_number = ANY($3))",
        tx.tenant_id,
        pass_ids,
        references,
    )
    return [_listed(row) for row in rows]


async def lock_pass(tx: Transaction, pass_id: PassId) -> ListedPass:
    """A pass, locked until the transaction ends. AppError NOT_FOUND when there is none."""
    # Locked first, read then: a statement that waits for the lock would join the pass as it is now
    # with the revision and external ids as they were.
    await tx.execute(
        "SELECT FROM passes WHERE tenant_id = $1 AND pass_id = $2 FOR UPDATE", tx.tenant_id, pass_id
    )
    return (await get_passes(tx, [pass_id]))[0]


async def get_passes(tx: Transaction, pass_ids: Sequence[PassId]) -> list[ListedPass]:
    """These passes, in this order. AppError NOT_FOUND when one of them does not exist."""
    rows = await tx.fetch(_SELECT_LISTED + "AND p.pass_id = ANY($2)", tx.tenant_id, pass_ids)
    found = {row["pass_id"]: row for row in rows}
    if any(pass_id not in found for pass_id in pass_ids):
        raise not_found("pass")
    return [_listed(found[pass_id]) for pass_id in pass_ids]


async def list_passes(
    tx: Transaction, wanted: PassFilter, *, after: PassId | None, at_most: int
) -> list[ListedPass]:
    """Up to `at_most` passes in the order of their ids, after the one given."""
    sql, arguments = _filtered(tx, wanted, after=after or PassId(UUID(int=0)))
    arguments.append(at_most)
    rows = await tx.fetch(f"{sql} ORDER BY p.pass_id LIMIT ${len(arguments)}", *arguments)
    return [_listed(row) for row in rows]


async def newest_passes(tx: Transaction, wanted: PassFilter, *, at_most: int) -> list[ListedPass]:
    """The `at_most` newest of such passes, the newest first."""
    sql, arguments = _filtered(tx, wanted)
    arguments.append(at_most)
    rows = await tx.fetch(
        f"{sql} ORDER BY p.create_time DESC, p.pass_id DESC LIMIT ${len(arguments)}", *arguments
    )
    return [_listed(row) for row in rows]


def _filtered(
    tx: Transaction, wanted: PassFilter, *, after: PassId | None = None
) -> tuple[str, list[object]]:
    # Only the conditions asked for, so that each combination finds its index.
    conditions = {
        "p.pass_id > ${}": after,
        "t.program_id = ${}": wanted.program_id,
        "t.template_id = ${}": wanted.template_id,
        "p.state = ${}": wanted.state,
        "p.create_time >= ${}": wanted.created_from,
        "p.create_time < ${}": wanted.created_before,
    }
    sql, arguments = _SELECT_LISTED, list[object]([tx.tenant_id])
    for condition, argument in conditions.items():
        if argument is not None:
            arguments.append(argument)
            sql += f" AND {condition.format(len(arguments))}"
    if wanted.holder_phone is not None:
        # As an array, found first: no plan can walk all passes in the order of their ids instead.
        arguments.append(wanted.holder_phone)
        sql += (
            " AND p.pass_id = ANY(ARRAY(SELECT h.pass_id FROM passes h WHERE h.tenant_id = $1"  # noqa: S608 - a number
            f" AND h.holder_phone <> '' AND h.holder_phone = ${len(arguments)}))"
        )
    if wanted.external_id is not None:
        arguments += wanted.external_id
        sql += (
            " AND p.pass_id IN (SELECT e.pass_id FROM pass_external_ids e WHERE e.tenant_id = $1"  # noqa: S608 - numbers
            f" AND e.system = ${len(arguments) - 1} AND e.external_id = ${len(arguments)})"
        )
    return sql, arguments


def _uuid(value: UUID) -> UUID:
    # asyncpg's own UUID type is a subclass; the plain one compares and prints alike.
    return UUID(int=value.int)


def _listed(row: asyncpg.Record) -> ListedPass:
    return ListedPass(
        wallet_pass=WalletPass(
            pass_id=PassId(_uuid(row["pass_id"])),
            revision_id=RevisionId(row["revision_id"]),
            signing_identity_id=SigningIdentityId(row["signing_identity_id"]),
            reference_number=ReferenceNumber(row["reference_number"]),
            create_time=row["create_time"],
            signing_time=row["signing_time"],
            expire_time=row["expire_time"],
            version=row["version"],
            token_generation=row["token_generation"],
            state=PassState(row["state"]),
            holder=Holder(
                name=row["holder_name"],
                phone=row["holder_phone"],
                external_ids=dict(row["external_ids"] or ()),
            ),
            slot_values=row["slot_values"],
            void_reason=row["void_reason"],
            digest=row["digest"],
            signature=row["signature"],
            tags=tuple(row["tags"] or ()),
            personalize_time=row["personalize_time"],
            barcode_seal=row["barcode_seal"],
            is_erased=row["is_erased"],
        ),
        program_id=ProgramId(_uuid(row["program_id"])),
        template_id=TemplateId(_uuid(row["template_id"])),
        revision_number=row["revision_number"],
    )
