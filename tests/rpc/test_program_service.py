"""ProgramService on a real server over a real database."""

import asyncio
import json
import uuid
from collections.abc import Awaitable

import grpc
import pytest
from google.protobuf.message import Message

from passmill.domain.callers import Scope
from passmill.v1 import program_service_pb2 as pb
from passmill.v1.program_pb2 import Program
from passmill.v1.request_meta_pb2 import RequestMeta
from tests.support.template_api import (
    Member,
    TemplateApi,
    meta,
    refusal_of,
)

PASS_TYPE = "pass.com.example.club"


def create_request(name: str = "Club", *, validate_only: bool = False) -> pb.CreateProgramRequest:
    """A request to make a program."""
    return pb.CreateProgramRequest(
        display_name=name,
        pass_type_identifier=PASS_TYPE,
        meta=meta(validate_only=validate_only),
    )


def update_request(
    program: Program, name: str, *, etag: str = "", paths: tuple[str, ...] = ("display_name",)
) -> pb.UpdateProgramRequest:
    """A request to rename a program."""
    request = pb.UpdateProgramRequest(
        program_id=program.program_id,
        program=Program(display_name=name),
        etag=etag,
        meta=meta(),
    )
    request.update_mask.paths.extend(paths)
    return request


async def create(member: Member, name: str = "Club") -> Program:
    """A new program."""
    return (await member.programs.CreateProgram(create_request(name))).program


async def test_life(member: Member) -> None:
    """A program is made, read, renamed and archived, and each answer is what is read afterwards."""
    made = await create(member, "Cafe\u0301 Club")
    assert made.display_name == "Café Club"
    assert made.pass_type_identifier == PASS_TYPE
    assert made.state == Program.STATE_ACTIVE
    assert made.create_time == made.update_time

    renamed = (await member.programs.UpdateProgram(update_request(made, "الولاء"))).program
    assert renamed.display_name == "الولاء"
    assert renamed.etag != made.etag
    assert renamed.create_time == made.create_time

    request = pb.ArchiveProgramRequest(program_id=made.program_id, meta=meta())
    archived = (await member.programs.ArchiveProgram(request)).program
    assert archived.state == Program.STATE_ARCHIVED
    again = pb.ArchiveProgramRequest(program_id=made.program_id, meta=meta())
    assert (await member.programs.ArchiveProgram(again)).program == archived

    read = await member.programs.GetProgram(pb.GetProgramRequest(program_id=made.program_id))
    assert read.program == archived


async def test_retry_gives_the_first_answer(member: Member) -> None:
    """The same request again makes no second program; another one under its id is refused."""
    request = create_request()
    first = await member.programs.CreateProgram(request)
    call = member.programs.CreateProgram(request)
    assert await call == first
    assert dict(await call.trailing_metadata())["passmill-replayed"] == "true"

    at_once = create_request("Other")
    answers = await asyncio.gather(*(member.programs.CreateProgram(at_once) for _ in range(8)))
    assert {answer.program.program_id for answer in answers} == {answers[0].program.program_id}

    listed = await member.programs.ListPrograms(pb.ListProgramsRequest())
    assert len(listed.programs) == 2

    request.display_name = "Changed"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await member.programs.CreateProgram(request)
    assert refusal_of(refused.value).reason == "REQUEST_ID_REUSED"


async def test_validate_only_changes_nothing(member: Member) -> None:
    """A dry run answers as the real run would and leaves neither a program nor its request id."""
    request = create_request(validate_only=True)
    answer = await member.programs.CreateProgram(request)
    assert answer.program.display_name == "Club"
    assert not (await member.programs.ListPrograms(pb.ListProgramsRequest())).programs
    request.meta.validate_only = False
    await member.programs.CreateProgram(request)


async def test_changes_are_told(template_api: TemplateApi, member: Member) -> None:
    """Each change leaves one event in the outbox, a repeated or empty one none."""
    program = await create(member)
    rename = update_request(program, "New")
    await member.programs.UpdateProgram(rename)
    await member.programs.UpdateProgram(rename)
    for _ in range(2):
        await member.programs.ArchiveProgram(
            pb.ArchiveProgramRequest(program_id=program.program_id, meta=meta())
        )
    async with template_api.database.transaction(template_api.caller(member.tenant_id)) as tx:
        rows = await tx.fetch("SELECT kind, detail FROM outbox ORDER BY event_id")
    assert [row["kind"] for row in rows] == [
        "program.created",
        "program.updated",
        "program.archived",
    ]
    assert {json.loads(row["detail"])["program_id"] for row in rows} == {program.program_id}


async def test_etag(member: Member) -> None:
    """An update with an old etag is refused with ABORTED, with the current one it is done."""
    program = await create(member)
    await member.programs.UpdateProgram(update_request(program, "One", etag=program.etag))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await member.programs.UpdateProgram(update_request(program, "Two", etag=program.etag))
    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    read = await member.programs.GetProgram(pb.GetProgramRequest(program_id=program.program_id))
    assert read.program.display_name == "One"


async def test_changes_at_once_are_told_apart(member: Member) -> None:
    """Renamings at the same time each give an etag of their own."""
    program = await create(member)
    renamings = [update_request(program, f"Name {number}") for number in range(6)]
    answers = await asyncio.gather(*(member.programs.UpdateProgram(each) for each in renamings))
    etags = {program.etag} | {answer.program.etag for answer in answers}
    assert len(etags) == 7


@pytest.mark.parametrize(
    "paths",
    [(), ("pass_type_identifier",), ("display_name", "state"), ("nonsense",), ("*",), ("",)],
)
async def test_mask(member: Member, paths: tuple[str, ...]) -> None:
    """A mask that names anything but display_name, or nothing, is refused and named."""
    program = await create(member)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await member.programs.UpdateProgram(update_request(program, "New", paths=paths))
    refusal = refusal_of(refused.value)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "update_mask" in refusal.fields


@pytest.mark.parametrize("name", ["", " \u3000 ", "two\nlines", "x" * 101, "evil\u202etxt", "\0"])
async def test_bad_names(member: Member, name: str) -> None:
    """A name that is blank, too long, of two lines or holds what no text may is refused, with the
    field named by where it stands in the request."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await member.programs.CreateProgram(create_request(name))
    assert set(refusal_of(refused.value).fields) == {"display_name"}
    program = await create(member)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await member.programs.UpdateProgram(update_request(program, name))
    assert set(refusal_of(refused.value).fields) == {"program.display_name"}


async def test_unknown_foreign_and_malformed_ids(template_api: TemplateApi, member: Member) -> None:
    """An id that is unknown, another tenant's or no id at all gives one and the same answer."""
    async with template_api.member() as other:
        foreign = (await create(other)).program_id
    ids = [foreign, str(uuid.uuid4()), "x", "'; DROP TABLE programs", foreign.replace("-", "")]
    told = set()
    for program_id in ids:
        calls: list[Awaitable[Message]] = [
            member.programs.GetProgram(pb.GetProgramRequest(program_id=program_id)),
            member.programs.UpdateProgram(update_request(Program(program_id=program_id), "New")),
            member.programs.ArchiveProgram(
                pb.ArchiveProgramRequest(program_id=program_id, meta=meta())
            ),
        ]
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            refusal = refusal_of(refused.value)
            told.add((refusal.code, refusal.reason, refusal.message))
    assert len(told) == 1
    assert told.pop()[:2] == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_pages(template_api: TemplateApi, member: Member) -> None:
    """Pages hold every program of the tenant once, oldest first, and no other tenant's; a token of
    another's or another list's making is refused."""
    made = [(await create(member, f"Club {number}")).program_id for number in range(7)]
    async with template_api.member() as other:
        await create(other)
        found: list[str] = []
        request = pb.ListProgramsRequest(page_size=3)
        sizes = []
        while True:
            page = await member.programs.ListPrograms(request)
            found += [program.program_id for program in page.programs]
            sizes.append(len(page.programs))
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert found == made
        assert sizes == [3, 3, 1]
    request.page_token = request.page_token[:-4] + "AAAA"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await member.programs.ListPrograms(request)
    assert refusal_of(refused.value).reason == "INVALID_PAGE_TOKEN"


async def test_scopes(template_api: TemplateApi) -> None:
    """Changes need the scope admin, reads the scope read; neither stands for the other."""
    tenant_id = await template_api.add_tenant()
    async with (
        template_api.member(tenant_id=tenant_id, scopes=[Scope.ADMIN]) as admin,
        template_api.member(
            tenant_id=tenant_id, scopes=[Scope.READ, Scope.ISSUE, Scope.REDEEM]
        ) as reader,
    ):
        program = await create(admin)
        await reader.programs.GetProgram(pb.GetProgramRequest(program_id=program.program_id))
        refused_calls: list[Awaitable[Message]] = [
            reader.programs.CreateProgram(create_request()),
            reader.programs.UpdateProgram(update_request(program, "New")),
            reader.programs.ArchiveProgram(
                pb.ArchiveProgramRequest(program_id=program.program_id, meta=meta())
            ),
            admin.programs.ListPrograms(pb.ListProgramsRequest()),
        ]
        for call in refused_calls:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refusal_of(refused.value).reason == "SCOPE_MISSING"


@pytest.mark.parametrize(
    "identifier", ["", "com.example", "pass.", "pass.a b", "pass." + "x" * 200]
)
async def test_bad_pass_type_identifiers(member: Member, identifier: str) -> None:
    """What no certificate can name is refused at once."""
    request = create_request()
    request.pass_type_identifier = identifier
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await member.programs.CreateProgram(request)
    assert set(refusal_of(refused.value).fields) == {"pass_type_identifier"}


async def test_request_id_is_required(member: Member) -> None:
    """A change without a request id, or with one that is no UUID, is refused."""
    for bad in (None, RequestMeta(), RequestMeta(request_id="1")):
        request = pb.CreateProgramRequest(
            display_name="Club", pass_type_identifier=PASS_TYPE, meta=bad
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await member.programs.CreateProgram(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
