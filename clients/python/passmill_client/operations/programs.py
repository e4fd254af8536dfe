"""ProgramService."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from passmill.v1 import program_service_pb2 as pb
from passmill.v1.program_pb2 import Program
from passmill_client.call import Call, ChangeOptions, Listing, ReadOptions, call_of, meta_of

_SERVICE = pb.DESCRIPTOR.services_by_name["ProgramService"]


def create_program(
    display_name: str, *, pass_type_identifier: str, **options: Unpack[ChangeOptions]
) -> Call[Program]:
    """Makes a program, whose passes all have one Apple pass type identifier. Scope: admin."""
    request = pb.CreateProgramRequest(
        display_name=display_name,
        pass_type_identifier=pass_type_identifier,
        meta=meta_of(options),
    )
    return call_of(
        _SERVICE, request, pb.CreateProgramResponse, lambda answer: answer.program, options
    )


def update_program(
    program_id: str, *, display_name: str, etag: str = "", **options: Unpack[ChangeOptions]
) -> Call[Program]:
    """Renames a program. Scope: admin."""
    request = pb.UpdateProgramRequest(
        program_id=program_id,
        program=Program(display_name=display_name),
        update_mask=FieldMask(paths=["display_name"]),
        etag=etag,
        meta=meta_of(options),
    )
    return call_of(
        _SERVICE, request, pb.UpdateProgramResponse, lambda answer: answer.program, options
    )


def archive_program(program_id: str, **options: Unpack[ChangeOptions]) -> Call[Program]:
    """Ends issuing from a program; its passes live on. Scope: admin."""
    request = pb.ArchiveProgramRequest(program_id=program_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.ArchiveProgramResponse, lambda answer: answer.program, options
    )


def get_program(program_id: str, **options: Unpack[ReadOptions]) -> Call[Program]:
    """Gives one program. Scope: read."""
    request = pb.GetProgramRequest(program_id=program_id)
    return call_of(_SERVICE, request, pb.GetProgramResponse, lambda answer: answer.program, options)


def list_programs(*, page_size: int = 500, **options: Unpack[ReadOptions]) -> Listing[Program]:
    """Lists programs, oldest first, page by page. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[Program], str]]:
        return call_of(
            _SERVICE,
            pb.ListProgramsRequest(page_size=page_size, page_token=token),
            pb.ListProgramsResponse,
            lambda answer: (answer.programs, answer.next_page_token),
            options,
        )

    return Listing(page=page)
