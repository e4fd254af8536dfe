"""Chains at rest, where passes stand in them, and the statements that decide whose a step is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

import asyncpg

from passmill import errors
from passmill.domain.chains import (
    Chain,
    ChainPlace,
    ChainState,
    ChainStep,
    steps_from_json,
    steps_to_json,
)
from passmill.domain.ids import PassId, ProgramId, TemplateId
from passmill.domain.offers import ChainId
from passmill.domain.pass_looks import LookUndo
from passmill.domain.redemptions import Redemption, RedemptionId
from passmill.store.database import Transaction
from passmill.store.pass_origins import origin_of, origin_row

_SELECT: Final = (
    "SELECT c.chain_id, c.program_id, c.template_id, c.display_name, c.state, c.version,"
    " c.revision, c.create_time, c.update_time, v.steps FROM chains c"
    " JOIN chain_versions v ON v.tenant_id = c.tenant_id AND v.chain_id = c.chain_id"
    " AND v.version = c.version"
)

_PLACES: Final = f"""
SELECT p.pass_id, c.chain_id, c.state, coalesce(pc.version, c.version) AS version, v.steps,
    pc.pass_id IS NOT NULL AS has_begun, coalesce(pc.step, 0) AS done, pc.step_time,
    pc.redemption_id
FROM unnest($2::uuid[]) AS p(pass_id)
CROSS JOIN LATERAL {origin_row("p.pass_id")} AS origin
JOIN chains c ON c.tenant_id = $1 AND c.chain_id = ANY($3::uuid[])
LEFT JOIN pass_chains pc
    ON pc.tenant_id = $1 AND pc.pass_id = origin.pass_id AND pc.chain_id = c.chain_id
JOIN chain_versions v ON v.tenant_id = $1 AND v.chain_id = c.chain_id
    AND v.version = coalesce(pc.version, c.version)
"""  # noqa: S608 - a name of ours

# A step is whoever's row gets in, or whoever moves the row on from what was read: of two at once
# one does. Each says what takes it back. A pass that took another's place goes on where that one
# stood: the row is their origin's.
_BEGIN: Final = f"""
WITH taken AS (
    INSERT INTO pass_chains
        (tenant_id, pass_id, chain_id, version, step, step_time, redemption_id)
    SELECT $1, {origin_of("$2")}, $3, c.version, 1, $5, $6 FROM chains c
    WHERE c.tenant_id = $1 AND c.chain_id = $3 AND c.version = $4
        AND c.state = {ChainState.ACTIVE:d}
    ON CONFLICT DO NOTHING
    RETURNING pass_id, step
)
INSERT INTO chain_steps (tenant_id, redemption_id, pass_id, chain_id, step)
SELECT $1, $6, pass_id, $3, step FROM taken
RETURNING step
"""  # noqa: S608 - our own number
_ADVANCE: Final = f"""
WITH taken AS (
    UPDATE pass_chains SET step = step + 1, step_time = $5, redemption_id = $6
    WHERE tenant_id = $1 AND pass_id = {origin_of("$2")} AND chain_id = $3 AND version = $4
        AND step = $7 AND redemption_id IS NOT DISTINCT FROM $8
        AND EXISTS (SELECT FROM chains c WHERE c.tenant_id = $1 AND c.chain_id = $3
            AND c.state = {ChainState.ACTIVE:d})
    RETURNING pass_id, step
)
INSERT INTO chain_steps (tenant_id, redemption_id, pass_id, chain_id, step,
    previous_redemption_id, previous_time)
SELECT $1, $6, pass_id, $3, step, $8, $9 FROM taken
RETURNING step
"""  # noqa: S608 - our own number
_STEP_BACK: Final = """
UPDATE pass_chains AS pc SET step = pc.step - 1, step_time = s.previous_time,
    redemption_id = s.previous_redemption_id
FROM chain_steps s
WHERE s.tenant_id = $1 AND s.redemption_id = $2 AND pc.tenant_id = $1 AND pc.pass_id = s.pass_id
    AND pc.chain_id = s.chain_id AND pc.redemption_id = $2
RETURNING pc.step
"""


async def insert_chain(tx: Transaction, chain: Chain) -> None:
    """Writes a new chain with its first version."""
    await tx.execute(
        "INSERT INTO chains (tenant_id, chain_id, display_name, state, version, revision,"
        " update_time, program_id, template_id, create_time)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tx.tenant_id,
        *_columns(chain),
        chain.program_id,
        chain.template_id,
        chain.create_time,
    )
    await _insert_version(tx, chain)


async def write_chain(tx: Transaction, before: Chain, chain: Chain) -> None:
    """Writes what can change of a chain locked in this transaction."""
    await tx.execute(
        "UPDATE chains SET display_name = $3, state = $4, version = $5, revision = $6,"
        " update_time = $7 WHERE tenant_id = $1 AND chain_id = $2",
        tx.tenant_id,
        *_columns(chain),
    )
    if chain.version != before.version:
        await _insert_version(tx, chain)


async def bind_offers(tx: Transaction, chain: Chain) -> bool:
    """Makes the offers of a chain's steps its own, for good. False, and the transaction is not to
    be committed, when one is another chain's or not to passes of the template."""
    offers = sorted(step.offer_id for step in chain.steps)
    rows = await tx.fetch(
        "UPDATE offers SET chain_id = $3 WHERE tenant_id = $1 AND offer_id = ANY("
        " SELECT o.offer_id FROM offers o WHERE o.tenant_id = $1 AND o.offer_id = ANY($2)"
        " ORDER BY o.offer_id FOR UPDATE)"
        " AND template_id = $4 AND (chain_id IS NULL OR chain_id = $3) RETURNING offer_id",
        tx.tenant_id,
        offers,
        chain.chain_id,
        chain.template_id,
    )
    return len(rows) == len(offers)


async def get_chain(tx: Transaction, chain_id: ChainId) -> Chain:
    """The chain with its newest steps. AppError NOT_FOUND."""
    return _existing(
        await tx.fetch_one(
            _SELECT + " WHERE c.tenant_id = $1 AND c.chain_id = $2", tx.tenant_id, chain_id
        )
    )


async def lock_chain(tx: Transaction, chain_id: ChainId) -> Chain:
    """As `get_chain`; nobody else changes it before this transaction ends."""
    # By itself: a statement that has waited for the row would not see the newest version.
    await tx.execute(
        "SELECT FROM chains WHERE tenant_id = $1 AND chain_id = $2 FOR UPDATE",
        tx.tenant_id,
        chain_id,
    )
    return await get_chain(tx, chain_id)


async def list_chains(
    tx: Transaction,
    *,
    program_id: ProgramId | None,
    include_archived: bool,
    after: ChainId | None,
    at_most: int,
) -> list[Chain]:
    """Chains by id, which is by age, those after `after` only; of one program, or of all."""
    rows = await tx.fetch(
        _SELECT + " WHERE c.tenant_id = $1 AND c.chain_id > $2"
        " AND ($3::uuid IS NULL OR c.program_id = $3) AND ($4 OR c.state = $5)"
        " ORDER BY c.chain_id LIMIT $6",
        tx.tenant_id,
        after or UUID(int=0),
        program_id,
        include_archived,
        ChainState.ACTIVE,
        at_most,
    )
    return [_chain(row) for row in rows]


async def steps_of_all_versions(
    tx: Transaction, chain_ids: Sequence[ChainId]
) -> dict[ChainId, list[ChainStep]]:
    """All steps that the chains have or had, by chain."""
    rows = await tx.fetch(
        "SELECT chain_id, steps FROM chain_versions WHERE tenant_id = $1 AND chain_id = ANY($2)",
        tx.tenant_id,
        chain_ids,
    )
    found: dict[ChainId, list[ChainStep]] = {}
    for row in rows:
        steps = found.setdefault(ChainId(UUID(int=row["chain_id"].int)), [])
        steps += steps_from_json(row["steps"])
    return found


async def read_places(
    tx: Transaction, pass_ids: Sequence[PassId], chain_ids: Sequence[ChainId]
) -> dict[PassId, Mapping[ChainId, ChainPlace]]:
    """Where passes stand in chains, in one statement; in none when no chain is asked about."""
    places: dict[PassId, dict[ChainId, ChainPlace]] = {pass_id: {} for pass_id in pass_ids}
    rows = (
        await tx.fetch(_PLACES, tx.tenant_id, pass_ids, sorted(set(chain_ids))) if chain_ids else []
    )
    for row in rows:
        place = _place(row)
        places[PassId(UUID(int=row["pass_id"].int))][place.chain_id] = place
    return dict(places)


async def take_step(tx: Transaction, place: ChainPlace, redemption: Redemption) -> bool:
    """Takes a pass one step on from where it was read to be, by a redemption of this transaction;
    False when it is there no more, or the chain has been archived or changed.

    Waits for another transaction that is about to take the step.
    """
    arguments = (
        tx.tenant_id,
        redemption.pass_id,
        place.chain_id,
        place.version,
        redemption.scan_time,
        redemption.redemption_id,
    )
    if not place.has_begun:
        return await tx.fetch_value(_BEGIN, *arguments) is not None
    taken = await tx.fetch_value(
        _ADVANCE, *arguments, place.done, place.redemption_id, place.step_time
    )
    return taken is not None


async def step_back(tx: Transaction, redemption_id: RedemptionId) -> bool:
    """Takes the pass of a redemption back to before it; False when it was not the latest step."""
    return await tx.fetch_value(_STEP_BACK, tx.tenant_id, redemption_id) is not None


async def keep_look(tx: Transaction, redemption_id: RedemptionId, undo: LookUndo) -> None:
    """Keeps with a step of this transaction what its pass showed before."""
    await tx.execute(
        "UPDATE chain_steps SET undo = $3 WHERE tenant_id = $1 AND redemption_id = $2",
        tx.tenant_id,
        redemption_id,
        json.dumps([undo.slots, undo.revision], separators=(",", ":")),
    )


async def find_look(tx: Transaction, redemption_id: RedemptionId) -> LookUndo | None:
    """What `keep_look` kept, None when there was nothing to keep."""
    text = await tx.fetch_value(
        "SELECT undo FROM chain_steps WHERE tenant_id = $1 AND redemption_id = $2",
        tx.tenant_id,
        redemption_id,
    )
    if text is None:
        return None
    slots, revision = json.loads(text)
    return LookUndo(
        slots={name: (before, after) for name, (before, after) in slots.items()},
        revision=revision,
    )


async def _insert_version(tx: Transaction, chain: Chain) -> None:
    await tx.execute(
        "INSERT INTO chain_versions (tenant_id, chain_id, version, steps, create_time)"
        " VALUES ($1, $2, $3, $4, $5)",
        tx.tenant_id,
        chain.chain_id,
        chain.version,
        steps_to_json(chain.steps),
        chain.update_time,
    )


def _columns(chain: Chain) -> tuple[object, ...]:
    return (
        chain.chain_id,
        chain.display_name,
        chain.state,
        chain.version,
        chain.revision,
        chain.update_time,
    )


def _existing(row: asyncpg.Record | None) -> Chain:
    if row is None:
        raise errors.not_found("chain")
    return _chain(row)


def _chain(row: asyncpg.Record) -> Chain:
    return Chain(
        chain_id=ChainId(UUID(int=row["chain_id"].int)),
        program_id=ProgramId(UUID(int=row["program_id"].int)),
        template_id=TemplateId(UUID(int=row["template_id"].int)),
        display_name=row["display_name"],
        steps=steps_from_json(row["steps"]),
        version=row["version"],
        revision=row["revision"],
        state=ChainState(row["state"]),
        create_time=row["create_time"],
        update_time=row["update_time"],
    )


def _place(row: asyncpg.Record) -> ChainPlace:
    redemption_id = row["redemption_id"]
    return ChainPlace(
        chain_id=ChainId(UUID(int=row["chain_id"].int)),
        state=ChainState(row["state"]),
        version=row["version"],
        steps=steps_from_json(row["steps"]),
        has_begun=row["has_begun"],
        done=row["done"],
        step_time=row["step_time"],
        redemption_id=None if redemption_id is None else RedemptionId(UUID(int=redemption_id.int)),
    )
