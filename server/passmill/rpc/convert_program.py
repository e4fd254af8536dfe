"""Between programs and proto/passmill/v1/program.proto."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from passmill import errors
from passmill.domain.ids import ProgramId, parse_uuid
from passmill.domain.programs import Program, ProgramState
from passmill.v1 import program_pb2

_STATES: Final[Mapping[ProgramState, program_pb2.Program.State.ValueType]] = {
    ProgramState.ACTIVE: program_pb2.Program.STATE_ACTIVE,
    ProgramState.ARCHIVED: program_pb2.Program.STATE_ARCHIVED,
}


def program_to_proto(program: Program) -> program_pb2.Program:
    """A program for the wire."""
    message = program_pb2.Program(
        program_id=str(program.program_id),
        display_name=program.display_name,
        pass_type_identifier=program.pass_type_identifier,
        state=_STATES[program.state],
        etag=program.etag,
    )
    message.create_time.FromDatetime(program.create_time)
    message.update_time.FromDatetime(program.update_time)
    return message


def program_id_from(text: str) -> ProgramId:
    """The id that a request names. AppError NOT_FOUND when it spells none."""
    parsed = parse_uuid(text)
    if parsed is None:
        raise errors.not_found("program")
    return ProgramId(parsed)
