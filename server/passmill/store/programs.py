"""Programs at rest."""

from __future__ import annotations

from typing import Final

import asyncpg

from passmill import errors
from passmill.domain.ids import ProgramId
from passmill.domain.programs import Program, ProgramState
from passmill.store.database import Transaction

_SELECT: Final = (
    "SELECT program_id, display_name, pass_type_identifier, state, version, create_time,"
    " update_time FROM programs"
)


async def insert_program(tx: Transaction, program: Program) -> None:
    """Writes a new program."""
    await tx.execute(
        "INSERT INTO programs (tenant_id, program_id, display_name, pass_type_identifier, state,"
        " version, create_time, update_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        tx.tenant_id,
        program.program_id,
        program.display_name,
        program.pass_type_identifier,
        program.state,
        program.version,
        program.create_time,
        program.update_time,
    )


async def get_program(tx: Transaction, program_id: ProgramId) -> Program:
    """The program. AppError NOT_FOUND."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND program_id = $2",
        tx.tenant_id,
        program_id,
    )
    return _existing(row)


async def lock_program(tx: Transaction, program_id: ProgramId) -> Program:
    """As `get_program`; nobody else changes it before this transaction ends."""
    row = await tx.fetch_one(
        _SELECT + " WHERE tenant_id = $1 AND program_id = $2 FOR UPDATE",
        tx.tenant_id,
        program_id,
    )
    return _existing(row)


async def list_programs(tx: Transaction, *, after: ProgramId | None, at_most: int) -> list[Program]:
    """Programs by id, which is by age, those after `after` only."""
    rows = await tx.fetch(
        _SELECT + " WHERE tenant_id = $1 AND ($2::uuid IS NULL OR program_id > $2)"
        " ORDER BY program_id LIMIT $3",
        tx.tenant_id,
        after,
        at_most,
    )
    return [_program(row) for row in rows]


async def write_program(tx: Transaction, program: Program) -> None:
    """Writes what can change of a program locked in this transaction."""
    await tx.execute(
        "UPDATE programs SET display_name = $3, state = $4, version = $5, update_time = $6"
        " WHERE tenant_id = $1 AND program_id = $2",
        tx.tenant_id,
        program.program_id,
        program.display_name,
        program.state,
        program.version,
        program.update_time,
    )


def _existing(row: asyncpg.Record | None) -> Program:
    if row is None:
        raise errors.not_found("program")
    return _program(row)


def _program(row: asyncpg.Record) -> Program:
    return Program(
        program_id=ProgramId(row["program_id"]),
        display_name=row["display_name"],
        pass_type_identifier=row["pass_type_identifier"],
        state=ProgramState(row["state"]),
        version=row["version"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )
