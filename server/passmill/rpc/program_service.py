"""ProgramService: programs of the caller's tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from passmill.domain.callers import Scope
from passmill.domain.ids import ProgramId
from passmill.domain.programs import Program
from passmill.errors import invalid_field
from passmill.rpc.convert_program import program_id_from, program_to_proto
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.paging import Pages
from passmill.store.database import Database
from passmill.store.programs import get_program, list_programs
from passmill.usecases.archive_program import ArchiveProgram
from passmill.usecases.create_program import CreateProgram
from passmill.usecases.mutation import Answer
from passmill.usecases.update_program import UpdateProgram
from passmill.v1 import program_service_pb2 as pb

_READ: Final = MethodRule(scope=Scope.READ)
_CHANGE: Final = MethodRule(scope=Scope.ADMIN, mutates=True)

SERVICE: Final = pb.DESCRIPTOR.services_by_name["ProgramService"]
RULES: Final[Mapping[str, MethodRule]] = {
    "CreateProgram": _CHANGE,
    "UpdateProgram": _CHANGE,
    "ArchiveProgram": _CHANGE,
    "GetProgram": _READ,
    "ListPrograms": _READ,
}


class ProgramServicer:
    """Decodes, calls the use case, encodes."""

    def __init__(
        self,
        *,
        database: Database,
        pages: Pages,
        create_program: CreateProgram,
        update_program: UpdateProgram,
        archive_program: ArchiveProgram,
    ) -> None:
        self._database = database
        self._pages = pages
        self._create_program = create_program
        self._update_program = update_program
        self._archive_program = archive_program

    async def create_program(self, request: pb.CreateProgramRequest, call: Call) -> Answer:
        """Makes a program."""

        def encode(program: Program) -> pb.CreateProgramResponse:
            return pb.CreateProgramResponse(program=program_to_proto(program))

        return await self._create_program(
            call.mutation(request, encode),
            display_name=request.display_name,
            pass_type_identifier=request.pass_type_identifier,
        )

    async def update_program(self, request: pb.UpdateProgramRequest, call: Call) -> Answer:
        """Renames a program: nothing else of it can change."""
        if set(request.update_mask.paths) != {"display_name"}:
            raise invalid_field("update_mask", "must be display_name, which alone can change")

        def encode(program: Program) -> pb.UpdateProgramResponse:
            return pb.UpdateProgramResponse(program=program_to_proto(program))

        return await self._update_program(
            call.mutation(request, encode),
            program_id=program_id_from(request.program_id),
            display_name=request.program.display_name,
            etag=request.etag,
        )

    async def archive_program(self, request: pb.ArchiveProgramRequest, call: Call) -> Answer:
        """Ends issuing from a program."""

        def encode(program: Program) -> pb.ArchiveProgramResponse:
            return pb.ArchiveProgramResponse(program=program_to_proto(program))

        return await self._archive_program(
            call.mutation(request, encode), program_id=program_id_from(request.program_id)
        )

    async def get_program(self, request: pb.GetProgramRequest, call: Call) -> pb.GetProgramResponse:
        """One program."""
        program_id = program_id_from(request.program_id)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            program = await get_program(tx, program_id)
        return pb.GetProgramResponse(program=program_to_proto(program))

    async def list_programs(
        self, request: pb.ListProgramsRequest, call: Call
    ) -> pb.ListProgramsResponse:
        """A page of programs, oldest first."""
        size = self._pages.size(request.page_size)
        key = self._pages.key(request, request.page_token)
        after = ProgramId(UUID(str(key[0]))) if key else None
        async with self._database.transaction(call.caller, read_only=True) as tx:
            # One more than asked for tells whether there is a next page.
            found = await list_programs(tx, after=after, at_most=size + 1)
        page = found[:size]
        return pb.ListProgramsResponse(
            programs=[program_to_proto(program) for program in page],
            next_page_token=self._pages.token(request, [str(page[-1].program_id)])
            if len(found) > size
            else "",
        )
