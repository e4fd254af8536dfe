"""TemplateService on a real server over a real database: drafts and revisions."""

import asyncio
import uuid
from collections.abc import Awaitable
from datetime import UTC, datetime

import grpc
from google.protobuf.message import Message

from passmill.dev.authority import ThrowawayAuthority
from passmill.domain.callers import Scope
from passmill.rpc.convert_template import (
    content_from_proto,
)
from passmill.v1 import program_service_pb2, template_pb2
from passmill.v1 import template_service_pb2 as pb
from tests.support.coffee_club import (
    PASS_TYPE,
    STYLE,
    TEAM,
    Club,
    add_club,
    add_identity,
    add_program,
    club_content,
    count,
    preview_request,
    publish_request,
    read,
    refused,
    update_request,
)
from tests.support.template_api import WEB_SERVICE_URL, Member, TemplateApi, meta


async def test_life(template_api: TemplateApi, signing_club: Club) -> None:
    """A template is drafted, published, changed, published again and archived; the first revision
    stays as it was published, pinned to certificate and web service."""
    club, stub = signing_club, signing_club.member.templates
    sent = await club_content(club.member)
    assert content_from_proto(club.template.content) == content_from_proto(sent)
    assert club.template.latest_revision == 0
    assert await read(club) == club.template

    published = await stub.PublishTemplate(publish_request(club, etag=club.template.etag))
    first = published.revision
    assert not published.findings
    assert (first.revision, first.pass_type_identifier, first.team_identifier) == (
        1,
        PASS_TYPE,
        TEAM,
    )
    assert first.content == club.template.content
    loaded = await template_api.load_revision.for_issue(
        template_api.caller(club.member.tenant_id), club.template.template_id, 0
    )
    assert loaded.revision.web_service_url == WEB_SERVICE_URL
    assert (await read(club)).etag == club.template.etag  # the draft did not change

    changed = template_pb2.TemplateContent(style=STYLE, description="Another card")
    answer = await stub.UpdateTemplate(
        update_request(club, "content.description", content=changed, etag=club.template.etag)
    )
    assert answer.template.content.description == "Another card"
    assert answer.template.content.fields == club.template.content.fields
    second = (await stub.PublishTemplate(publish_request(club))).revision
    assert (second.revision, second.content.description) == (2, "Another card")

    for number, expected in ((1, first), (2, second), (0, second)):
        request = pb.GetTemplateRevisionRequest(
            template_id=club.template.template_id, revision=number
        )
        assert (await stub.GetTemplateRevision(request)).revision == expected
    assert (await read(club)).latest_revision == 2

    archive = pb.ArchiveTemplateRequest(template_id=club.template.template_id, meta=meta())
    archived = (await stub.ArchiveTemplate(archive)).template
    assert archived.state == pb.Template.STATE_ARCHIVED
    for call in (
        stub.PublishTemplate(publish_request(club)),
        stub.UpdateTemplate(update_request(club, "display_name", display_name="New")),
    ):
        refusal = await refused(call)
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.reason == "TEMPLATE_ARCHIVED"
    assert await read(club) == archived


async def test_drafts_may_be_wrong(template_api: TemplateApi, member: Member) -> None:
    """A draft with errors is stored and told what is wrong; publishing it names every error and
    stores nothing, also as a dry run."""
    request = pb.CreateTemplateRequest(
        program_id=await add_program(member),
        display_name="Bad",
        content=template_pb2.TemplateContent(
            style=template_pb2.PASS_STYLE_COUPON,
            title="{nobody}",
            images=[
                template_pb2.ImageRef(
                    role=template_pb2.IMAGE_ROLE_ICON, scale=1, asset_id="not an asset"
                )
            ],
        ),
        meta=meta(),
    )
    made = await member.templates.CreateTemplate(request)
    errors = [f for f in made.findings if f.severity == template_pb2.FINDING_SEVERITY_ERROR]
    assert {f.code for f in errors} >= {
        template_pb2.FINDING_CODE_SLOT_UNKNOWN,
        template_pb2.FINDING_CODE_IMAGE_ASSET_UNKNOWN,
        template_pb2.FINDING_CODE_TEXT_MISSING,
    }
    club = Club(member=member, program_id=request.program_id, template=made.template)
    publish = publish_request(club)
    for validate_only in (True, False):
        publish.meta.validate_only = validate_only
        refusal = await refused(member.templates.PublishTemplate(publish))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert refusal.reason == "TEMPLATE_HAS_ERRORS"
        assert set(refusal.fields) == {f"content.{f.path}" for f in errors}
    assert await count(template_api, member, "template_revisions") == 0


async def test_publishing_needs_an_identity(
    template_api: TemplateApi, club: Club, authority: ThrowawayAuthority
) -> None:
    """Without an active certificate of the program's pass type nothing is published; with one the
    same request is done."""
    publish = publish_request(club)
    other = authority.issue_pass_certificate(
        now=datetime.now(UTC), pass_type_identifier="pass.com.example.other", team_identifier=TEAM
    )
    await template_api.add_identity(club.member.tenant_id, other)
    refusal = await refused(club.member.templates.PublishTemplate(publish))
    assert refusal.reason == "NO_SIGNING_IDENTITY"
    await add_identity(template_api, club.member, authority)
    answer = await club.member.templates.PublishTemplate(publish)
    assert answer.revision.revision == 1


async def test_contactless_needs_the_right(
    signing_club: Club,
) -> None:
    """A contactless pass is an error under a certificate that does not allow it."""
    nfc = template_pb2.TemplateContent(
        style=STYLE, nfc=template_pb2.Nfc(message="{pass.serial_number}", encryption_public_key="x")
    )
    answer = await signing_club.member.templates.UpdateTemplate(
        update_request(signing_club, "content.nfc", content=nfc)
    )
    found = {finding.code for finding in answer.findings}
    assert template_pb2.FINDING_CODE_NFC_NOT_ALLOWED in found


async def test_publishing_once(template_api: TemplateApi, signing_club: Club) -> None:
    """A repeated request gives the first revision again, a dry run none; requests at once get
    numbers of their own without a gap."""
    stub = signing_club.member.templates
    dry = publish_request(signing_club)
    dry.meta.validate_only = True
    assert (await stub.PublishTemplate(dry)).revision.revision == 1
    assert await count(template_api, signing_club.member, "template_revisions") == 0

    publish = publish_request(signing_club)
    answers = await asyncio.gather(*(stub.PublishTemplate(publish) for _ in range(4)))
    assert all(answer == answers[0] for answer in answers)
    more = await asyncio.gather(
        *(stub.PublishTemplate(publish_request(signing_club)) for _ in range(4))
    )
    assert sorted(answer.revision.revision for answer in more) == [2, 3, 4, 5]


async def test_mask_changes_what_it_names(club: Club) -> None:
    """What the mask names is as in the request, a list whole and an absent part cleared; the rest
    stays."""
    before = club.template.content
    sent = template_pb2.TemplateContent(
        style=STYLE,
        description="New",
        title="ignored",
        fields=[before.fields[1]],
        colors=template_pb2.Colors(background="#000000", foreground="#123456"),
    )
    paths = (
        "content.description",
        "content.fields",
        "content.colors.background",
        "content.barcodes",
        "content.apple.event_logo_text",
    )
    answer = await club.member.templates.UpdateTemplate(
        update_request(club, *paths, content=sent, display_name="ignored")
    )
    after = answer.template
    assert after.display_name == club.template.display_name
    assert after.content.description == "New"
    assert after.content.title == before.title
    assert list(after.content.fields) == [before.fields[1]]
    assert not after.content.barcodes
    assert after.content.colors == template_pb2.Colors(
        background="#000000", foreground="#ffffff", label="#f0f0f0"
    )
    assert after.content.images == before.images
    assert after == await read(club)

    # The request has no colours at all: what the mask names of them is cleared.
    answer = await club.member.templates.UpdateTemplate(
        update_request(club, "content.colors.label", "display_name", display_name="Renamed")
    )
    assert answer.template.display_name == "Renamed"
    assert answer.template.content.colors == template_pb2.Colors(
        background="#000000", foreground="#ffffff"
    )

    answer = await club.member.templates.UpdateTemplate(
        update_request(club, "content", content=before)
    )
    assert answer.template.content == before


async def test_mask_refused(club: Club) -> None:
    """A path that is no field to be changed refuses the whole update, naming update_mask."""
    paths = ["", "*", "etag", "template_id", "state", "contents", "content.", "content.nothing"]
    paths += ["content.fields.key", "content.style.x", "content..colors", "template.content"]
    for path in paths:
        request = update_request(club, "display_name", path, display_name="New")
        refusal = await refused(club.member.templates.UpdateTemplate(request))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert set(refusal.fields) == {"update_mask"}, path
    assert await read(club) == club.template


async def test_mask_must_name_something(club: Club) -> None:
    """An update that names no field is refused."""
    refusal = await refused(club.member.templates.UpdateTemplate(update_request(club)))
    assert set(refusal.fields) == {"update_mask"}


async def test_no_draft_without_a_style(club: Club) -> None:
    """What must be set cannot be cleared; the error names it as it stands in the request."""
    refusal = await refused(
        club.member.templates.UpdateTemplate(update_request(club, "content.style"))
    )
    assert set(refusal.fields) == {"template.content.style"}
    refusal = await refused(club.member.templates.UpdateTemplate(update_request(club, "content")))
    assert set(refusal.fields) == {"template.content.style"}
    refusal = await refused(
        club.member.templates.UpdateTemplate(update_request(club, "display_name"))
    )
    assert set(refusal.fields) == {"template.display_name"}


async def test_the_whole_keeps_the_rules(club: Club) -> None:
    """A change that leaves the draft with what the proto forbids is refused, though what was sent
    is sound by itself."""
    nfc = template_pb2.Nfc(message="{pass.serial_number}", encryption_public_key="x")
    stub = club.member.templates
    with_nfc = template_pb2.TemplateContent(style=STYLE, nfc=nfc)
    await stub.UpdateTemplate(update_request(club, "content.nfc", content=with_nfc))
    without = template_pb2.TemplateContent(style=STYLE)
    refusal = await refused(
        stub.UpdateTemplate(update_request(club, "content.nfc.message", content=without))
    )
    assert refusal.reason == "INVALID_FIELD"
    assert set(refusal.fields) == {"template.content.nfc.message"}
    assert (await read(club)).content.nfc == nfc


async def test_changes_at_once_all_stay(club: Club) -> None:
    """Updates of different parts at the same time do not undo each other, and a late retry of one
    changes nothing."""
    requests = [
        update_request(club, "display_name", display_name="New name"),
        update_request(
            club,
            "content.colors.background",
            content=template_pb2.TemplateContent(
                style=STYLE, colors=template_pb2.Colors(background="#101010")
            ),
        ),
        update_request(
            club,
            "content.title",
            content=template_pb2.TemplateContent(style=STYLE, title="New title"),
        ),
    ]
    stub = club.member.templates
    answers = await asyncio.gather(*(stub.UpdateTemplate(each) for each in requests))
    after = await read(club)
    assert after.display_name == "New name"
    assert after.content.colors.background == "#101010"
    assert after.content.title == "New title"
    assert len({answer.template.etag for answer in answers}) == 3
    retried = await asyncio.gather(*(stub.UpdateTemplate(each) for each in requests))
    assert list(retried) == list(answers)
    assert await read(club) == after


async def test_etag(signing_club: Club) -> None:
    """An update or publishing with an old etag is refused."""
    stub, old = signing_club.member.templates, signing_club.template.etag
    await stub.UpdateTemplate(
        update_request(signing_club, "display_name", display_name="New", etag=old)
    )
    for call in (
        stub.UpdateTemplate(
            update_request(signing_club, "display_name", display_name="Newer", etag=old)
        ),
        stub.PublishTemplate(publish_request(signing_club, etag=old)),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


async def test_archived_program(template_api: TemplateApi, signing_club: Club) -> None:
    """Nothing new comes of an archived program: no template, no revision, no pass."""
    member = signing_club.member
    await member.templates.PublishTemplate(publish_request(signing_club))
    caller = template_api.caller(member.tenant_id)
    template_id = signing_club.template.template_id
    loaded = await template_api.load_revision.for_issue(caller, template_id, 1)
    await member.programs.ArchiveProgram(
        program_service_pb2.ArchiveProgramRequest(program_id=signing_club.program_id, meta=meta())
    )
    create = pb.CreateTemplateRequest(
        program_id=signing_club.program_id,
        display_name="Late",
        content=signing_club.template.content,
        meta=meta(),
    )
    for call in (
        member.templates.CreateTemplate(create),
        member.templates.PublishTemplate(publish_request(signing_club)),
    ):
        assert (await refused(call)).reason == "PROGRAM_ARCHIVED"
    # What was issued is still shown.
    assert await template_api.load_revision.by_id(caller, loaded.revision.revision_id) is loaded


async def test_unknown_foreign_and_malformed_ids(template_api: TemplateApi, member: Member) -> None:
    """An id that is unknown, another tenant's or no id at all gives one and the same answer."""
    async with template_api.member() as other:
        foreign = await add_club(other)
    told = set()
    stub = member.templates
    for template_id in (foreign.template.template_id, str(uuid.uuid4()), "x", "\u0000", "../.."):
        club = Club(
            member=member,
            program_id=foreign.program_id,
            template=pb.Template(template_id=template_id),
        )
        calls: list[Awaitable[Message]] = [
            stub.GetTemplate(pb.GetTemplateRequest(template_id=template_id)),
            stub.UpdateTemplate(update_request(club, "display_name", display_name="New")),
            stub.PublishTemplate(publish_request(club)),
            stub.ArchiveTemplate(pb.ArchiveTemplateRequest(template_id=template_id, meta=meta())),
            stub.GetTemplateRevision(
                pb.GetTemplateRevisionRequest(template_id=template_id, revision=1)
            ),
            stub.ListTemplateRevisions(pb.ListTemplateRevisionsRequest(template_id=template_id)),
            stub.PreviewPass(preview_request(club)),
        ]
        for call in calls:
            refusal = await refused(call)
            told.add((refusal.code, refusal.reason, refusal.message))
    assert len(told) == 1
    create = pb.CreateTemplateRequest(
        program_id=foreign.program_id,
        display_name="Card",
        content=foreign.template.content,
        meta=meta(),
    )
    assert (await refused(stub.CreateTemplate(create))).reason == "NOT_FOUND"
    listing = stub.ListTemplates(pb.ListTemplatesRequest(program_id=foreign.program_id))
    assert (await refused(listing)).reason == "NOT_FOUND"


async def test_pages(signing_club: Club) -> None:
    """Lists hold everything once, in order and without contents; a program's holds its own."""
    member, stub = signing_club.member, signing_club.member.templates
    made = [signing_club.template.template_id]
    for program_id in (signing_club.program_id, await add_program(member)):
        for _ in range(2):
            request = pb.CreateTemplateRequest(
                program_id=program_id,
                display_name="Card",
                content=signing_club.template.content,
                meta=meta(),
            )
            answer = await stub.CreateTemplate(request)
            made.append(answer.template.template_id)
    for program_id, expected in (("", made), (signing_club.program_id, made[:3])):
        found: list[str] = []
        listing = pb.ListTemplatesRequest(program_id=program_id, page_size=2)
        while True:
            page = await stub.ListTemplates(listing)
            assert not any(template.HasField("content") for template in page.templates)
            found += [template.template_id for template in page.templates]
            if not page.next_page_token:
                break
            listing.page_token = page.next_page_token
        assert found == expected

    for _ in range(3):
        await stub.PublishTemplate(publish_request(signing_club))
    numbers: list[int] = []
    revisions = pb.ListTemplateRevisionsRequest(
        template_id=signing_club.template.template_id, page_size=2
    )
    while True:
        listed = await stub.ListTemplateRevisions(revisions)
        assert not any(revision.HasField("content") for revision in listed.revisions)
        numbers += [revision.revision for revision in listed.revisions]
        if not listed.next_page_token:
            break
        revisions.page_token = listed.next_page_token
    assert numbers == [3, 2, 1]


async def test_scopes(template_api: TemplateApi, club: Club) -> None:
    """Changes and previews need the scope admin, reads the scope read."""
    tenant_id = club.member.tenant_id
    async with (
        template_api.member(tenant_id=tenant_id, scopes=[Scope.ADMIN]) as admin,
        template_api.member(
            tenant_id=tenant_id, scopes=[Scope.READ, Scope.ISSUE, Scope.REDEEM]
        ) as reader,
    ):
        template_id = club.template.template_id
        await reader.templates.GetTemplate(pb.GetTemplateRequest(template_id=template_id))
        calls: list[Awaitable[Message]] = [
            reader.templates.UploadAsset(pb.UploadAssetRequest(content=b"x", meta=meta())),
            reader.templates.UpdateTemplate(update_request(club, "display_name")),
            reader.templates.PublishTemplate(publish_request(club)),
            reader.templates.PreviewPass(preview_request(club)),
            reader.templates.ArchiveTemplate(
                pb.ArchiveTemplateRequest(template_id=template_id, meta=meta())
            ),
            admin.templates.GetTemplate(pb.GetTemplateRequest(template_id=template_id)),
            admin.templates.ListTemplates(pb.ListTemplatesRequest()),
        ]
        for call in calls:
            assert (await refused(call)).reason == "SCOPE_MISSING"
