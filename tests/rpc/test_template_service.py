"""TemplateService on a real server over a real database, with real certificates."""

import asyncio
import hashlib
import io
import json
import struct
import subprocess
import uuid
import zipfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from passmill.dev.authority import ThrowawayAuthority
from passmill.domain.callers import Scope
from passmill.domain.templates import TemplateContent
from passmill.rpc.convert_template import (
    content_from_proto,
    content_to_proto,
    values_to_proto,
)
from passmill.v1 import program_service_pb2, template_pb2
from passmill.v1 import template_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import Holder, PassDraft
from tests.support import templates
from tests.support.png import draw_png
from tests.support.postgres import Database
from tests.support.template_api import (
    WEB_SERVICE_URL,
    Member,
    Refusal,
    TemplateApi,
    meta,
    open_template_api,
    refusal_of,
)

PASS_TYPE = "pass.com.example.club"
TEAM = "A1B2C3D4E5"
GREY = "#808080"
STYLE = template_pb2.PASS_STYLE_STORE_CARD
NAME = 'Zoë "Z" Ōtani'


@pytest.fixture(scope="module")
def authority() -> ThrowawayAuthority:
    """A certificate authority shaped like Apple's."""
    return ThrowawayAuthority(now=datetime.now(UTC))


@pytest.fixture
async def api(database: Database) -> AsyncIterator[TemplateApi]:
    """The services on this test's database."""
    async with open_template_api(database.url) as opened:
        yield opened


@pytest.fixture
async def member(api: TemplateApi) -> AsyncIterator[Member]:
    """A tenant's client with every scope."""
    async with api.member() as opened:
        yield opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Club:
    """A tenant with a program and a sound draft in it."""

    member: Member
    program_id: str
    template: pb.Template


@pytest.fixture
async def club(member: Member) -> Club:
    """A coffee club without a signing identity."""
    return await add_club(member)


@pytest.fixture
async def signing_club(api: TemplateApi, club: Club, authority: ThrowawayAuthority) -> Club:
    """A coffee club that can publish."""
    await add_identity(api, club.member, authority)
    return club


async def add_identity(
    api: TemplateApi, member: Member, authority: ThrowawayAuthority, *, nfc: bool = False
) -> None:
    """Makes and stores a certificate for the club's pass type."""
    issued = authority.issue_pass_certificate(
        now=datetime.now(UTC), pass_type_identifier=PASS_TYPE, team_identifier=TEAM, nfc=nfc
    )
    await api.add_identity(member.tenant_id, issued)


async def add_club(member: Member) -> Club:
    """A program and a template in it."""
    program_id = await add_program(member)
    request = pb.CreateTemplateRequest(
        program_id=program_id,
        display_name="Club card",
        content=await club_content(member),
        meta=meta(),
    )
    made = await member.templates.CreateTemplate(request)
    return Club(member=member, program_id=program_id, template=made.template)


async def add_program(member: Member) -> str:
    """A program of the club's pass type."""
    request = program_service_pb2.CreateProgramRequest(
        display_name="Club", pass_type_identifier=PASS_TYPE, meta=meta()
    )
    return (await member.programs.CreateProgram(request)).program.program_id


async def upload(member: Member, content: bytes) -> pb.Asset:
    """A stored image."""
    request = pb.UploadAssetRequest(content=content, meta=meta())
    return (await member.templates.UploadAsset(request)).asset


async def club_content(member: Member) -> template_pb2.TemplateContent:
    """A store card that the lint has nothing against."""
    content = template_pb2.TemplateContent(
        style=STYLE,
        organization_name="Example Coffee",
        description="Coffee club card",
        title="Coffee club",
        slots=[
            template_pb2.Slot(name="points", type=template_pb2.SLOT_TYPE_INTEGER, required=True)
        ],
        fields=[
            template_pb2.Field(
                key="points",
                position=template_pb2.FIELD_POSITION_HEADER,
                label="Points",
                value="{points}",
            ),
            template_pb2.Field(
                key="member",
                position=template_pb2.FIELD_POSITION_SECONDARY,
                label="Member",
                value="{holder.name}",
            ),
        ],
        colors=template_pb2.Colors(background="#202020", foreground="#ffffff", label="#f0f0f0"),
        barcodes=[
            template_pb2.Barcode(
                format=template_pb2.BARCODE_FORMAT_QR, message="{pass.serial_number}"
            )
        ],
    )
    for scale in (1, 2, 3):
        for role, width, height in (
            (template_pb2.IMAGE_ROLE_ICON, 29, 29),
            (template_pb2.IMAGE_ROLE_LOGO, 50, 50),
        ):
            asset = await upload(member, draw_png(width * scale, height * scale, GREY))
            content.images.add(role=role, scale=scale, asset_id=asset.asset_id)
    return content


def update_request(
    club: Club,
    *paths: str,
    content: template_pb2.TemplateContent | None = None,
    display_name: str = "",
    etag: str = "",
) -> pb.UpdateTemplateRequest:
    """A request to change the club's draft."""
    request = pb.UpdateTemplateRequest(
        template_id=club.template.template_id,
        template=pb.Template(display_name=display_name, content=content),
        etag=etag,
        meta=meta(),
    )
    request.update_mask.paths.extend(paths)
    return request


def publish_request(club: Club, *, etag: str = "") -> pb.PublishTemplateRequest:
    """A request to publish the club's draft."""
    return pb.PublishTemplateRequest(template_id=club.template.template_id, etag=etag, meta=meta())


def preview_request(club: Club, *, revision: int = 0, points: int = 1250) -> pb.PreviewPassRequest:
    """A request to show the club's card for somebody."""
    draft = PassDraft(
        holder=Holder(name=NAME), values={"points": template_pb2.Value(integer=points)}
    )
    return pb.PreviewPassRequest(
        template_id=club.template.template_id, revision=revision, draft=draft
    )


async def read(club: Club) -> pb.Template:
    """The template as it is now."""
    request = pb.GetTemplateRequest(template_id=club.template.template_id)
    return (await club.member.templates.GetTemplate(request)).template


async def refused(call: Awaitable[Message]) -> Refusal:
    """How a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def count(api: TemplateApi, member: Member, table: str) -> int:
    """How many rows a tenant has in a table."""
    async with api.database.transaction(api.caller(member.tenant_id)) as tx:
        found = await tx.fetch_value(f"SELECT count(*) FROM {table}")  # noqa: S608
    assert isinstance(found, int)
    return found


async def test_life(api: TemplateApi, signing_club: Club) -> None:
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
    loaded = await api.load_revision.for_issue(
        api.caller(club.member.tenant_id), club.template.template_id, 0
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


async def test_drafts_may_be_wrong(api: TemplateApi, member: Member) -> None:
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
    assert await count(api, member, "template_revisions") == 0


async def test_publishing_needs_an_identity(
    api: TemplateApi, club: Club, authority: ThrowawayAuthority
) -> None:
    """Without an active certificate of the program's pass type nothing is published; with one the
    same request is done."""
    publish = publish_request(club)
    other = authority.issue_pass_certificate(
        now=datetime.now(UTC), pass_type_identifier="pass.com.example.other", team_identifier=TEAM
    )
    await api.add_identity(club.member.tenant_id, other)
    refusal = await refused(club.member.templates.PublishTemplate(publish))
    assert refusal.reason == "NO_SIGNING_IDENTITY"
    await add_identity(api, club.member, authority)
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


async def test_publishing_once(api: TemplateApi, signing_club: Club) -> None:
    """A repeated request gives the first revision again, a dry run none; requests at once get
    numbers of their own without a gap."""
    stub = signing_club.member.templates
    dry = publish_request(signing_club)
    dry.meta.validate_only = True
    assert (await stub.PublishTemplate(dry)).revision.revision == 1
    assert await count(api, signing_club.member, "template_revisions") == 0

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


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "etag",
        "template_id",
        "state",
        "contents",
        "content.",
        "content.nothing",
        "content.fields.key",
        "content.style.x",
        "content..colors",
        "display_name.x",
        "template.content",
    ],
)
async def test_mask_refused(club: Club, path: str) -> None:
    """A path that is no field to be changed refuses the whole update, naming update_mask."""
    request = update_request(club, "display_name", path, display_name="New")
    refusal = await refused(club.member.templates.UpdateTemplate(request))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(refusal.fields) == {"update_mask"}
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


async def test_archived_program(api: TemplateApi, signing_club: Club) -> None:
    """Nothing new comes of an archived program: no template, no revision, no pass."""
    member = signing_club.member
    await member.templates.PublishTemplate(publish_request(signing_club))
    caller = api.caller(member.tenant_id)
    template_id = signing_club.template.template_id
    loaded = await api.load_revision.for_issue(caller, template_id, 1)
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
    assert await api.load_revision.by_id(caller, loaded.revision.revision_id) is loaded


async def test_assets(api: TemplateApi, member: Member) -> None:
    """An image is named by the digest of its bytes, stored once, and told with its size."""
    content = draw_png(58, 29, GREY)
    asset = await upload(member, content)
    assert asset.asset_id == hashlib.sha256(content).hexdigest()
    assert (asset.width, asset.height, asset.size_bytes) == (58, 29, len(content))
    assert await upload(member, content) == asset
    assert await count(api, member, "assets") == 1
    assert await count(api, member, "outbox") == 1


def claim_size(width: int, height: int) -> bytes:
    """A small file that says it is a large image."""
    small = draw_png(29, 29, GREY)
    header = b"IHDR" + struct.pack(">II", width, height) + small[24:29]
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a" + bytes(100),
        draw_png(29, 29, GREY)[:20],
        b"\x89PNG\r\n\x1a\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        claim_size(2001, 2000),
        claim_size(60_000, 60_000),
        draw_png(29, 29, GREY) + bytes(2 << 20),
    ],
    ids=["gif", "truncated", "no header", "svg", "four megapixels", "bomb", "two mebibytes"],
)
async def test_bad_assets(api: TemplateApi, member: Member, content: bytes) -> None:
    """What is no PNG, or larger than a pass may hold by its header or length, is refused and not
    stored."""
    refusal = await refused(
        member.templates.UploadAsset(pb.UploadAssetRequest(content=content, meta=meta()))
    )
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "INVALID_ASSET"
    assert set(refusal.fields) == {"content"}
    assert await count(api, member, "assets") == 0


async def test_assets_of_others_are_unknown(api: TemplateApi, club: Club) -> None:
    """An image that another tenant uploaded is not there for this one, though its id is known."""
    async with api.member() as other:
        request = pb.CreateTemplateRequest(
            program_id=await add_program(other),
            display_name="Copy",
            content=club.template.content,
            meta=meta(),
        )
        findings = (await other.templates.CreateTemplate(request)).findings
    unknown = [f for f in findings if f.code == template_pb2.FINDING_CODE_IMAGE_ASSET_UNKNOWN]
    assert len(unknown) == len(club.template.content.images)


async def test_preview(
    api: TemplateApi, signing_club: Club, authority: ThrowawayAuthority, tmp_path: Path
) -> None:
    """A preview of draft or revision is a bundle that OpenSSL verifies, holds what was asked for
    and no web service, and is recorded nowhere."""
    stub = signing_club.member.templates
    await stub.PublishTemplate(publish_request(signing_club))
    await stub.UpdateTemplate(
        update_request(
            signing_club,
            "content.title",
            content=template_pb2.TemplateContent(style=STYLE, title="Of the draft"),
        )
    )
    events = await count(api, signing_club.member, "outbox")
    serials = set()
    for revision, title in ((0, "Of the draft"), (1, "Coffee club")):
        preview = await stub.PreviewPass(preview_request(signing_club, revision=revision))
        assert not preview.findings
        with zipfile.ZipFile(io.BytesIO(preview.bundle)) as bundle:
            assert bundle.testzip() is None
            files = {name: bundle.read(name) for name in bundle.namelist()}
        assert files["pass.json"] == preview.pass_json
        shown = json.loads(preview.pass_json)
        assert shown["logoText"] == title
        assert shown["passTypeIdentifier"] == PASS_TYPE
        assert shown["teamIdentifier"] == TEAM
        assert shown["storeCard"]["headerFields"][0]["value"] == 1250
        assert shown["storeCard"]["secondaryFields"][0]["value"] == NAME
        assert "webServiceURL" not in shown
        serials.add(shown["serialNumber"])
        assert "icon@3x.png" in files
        verify_with_openssl(files, authority, tmp_path)
    assert len(serials) == 2
    assert all(serial.startswith("PREVIEW-") for serial in serials)
    assert await count(api, signing_club.member, "passes") == 0
    assert await count(api, signing_club.member, "outbox") == events


def verify_with_openssl(
    files: dict[str, bytes], authority: ThrowawayAuthority, folder: Path
) -> None:
    """Fails unless the signature is over this manifest and chains to the authority's root."""
    for name, content in {**files, "root.pem": authority.root_pem}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    command = ["openssl", "cms", "-verify", "-binary", "-purpose", "any", "-inform", "DER"]
    command += ["-in", "signature", "-content", "manifest.json", "-CAfile", "root.pem"]
    subprocess.run(
        [*command, "-out", "/dev/null"], cwd=folder, check=True, capture_output=True, timeout=30
    )
    manifest = json.loads(files["manifest.json"])
    for name in set(files) - {"manifest.json", "signature"}:
        assert manifest[name] == hashlib.sha1(files[name]).hexdigest()  # noqa: S324 - Apple's


@pytest.mark.parametrize(
    "make",
    [
        templates.boarding_pass,
        templates.coupon,
        templates.event_ticket,
        templates.generic,
        templates.poster_event_ticket,
        templates.semantic_boarding_pass,
        templates.store_card,
    ],
    ids=lambda make: make.__name__,
)
async def test_every_style(
    api: TemplateApi,
    member: Member,
    authority: ThrowawayAuthority,
    tmp_path: Path,
    make: Callable[[], TemplateContent],
) -> None:
    """A full template of each style comes back as it was sent, is published, and its pass is a
    bundle that OpenSSL verifies."""
    content = make()
    uploaded = {
        asset_id: (await upload(member, image)).asset_id
        for asset_id, image in templates.assets(content).items()
    }
    images = tuple(replace(each, asset_id=uploaded[each.asset_id]) for each in content.images)
    message = content_to_proto(replace(content, images=images))
    program_id = await add_program(member)
    create = pb.CreateTemplateRequest(
        program_id=program_id, display_name="Card", content=message, meta=meta()
    )
    template = (await member.templates.CreateTemplate(create)).template
    assert template.content == message
    await add_identity(api, member, authority, nfc=True)
    club = Club(member=member, program_id=program_id, template=template)
    published = await member.templates.PublishTemplate(publish_request(club))
    assert published.revision.content == message
    request = preview_request(club, revision=1)
    request.draft.values.clear()
    for name, value in values_to_proto(templates.values(content)).items():
        request.draft.values[name].CopyFrom(value)
    preview = await member.templates.PreviewPass(request)
    with zipfile.ZipFile(io.BytesIO(preview.bundle)) as bundle:
        files = {name: bundle.read(name) for name in bundle.namelist()}
    assert files["pass.json"] == preview.pass_json
    assert json.loads(preview.pass_json)["passTypeIdentifier"] == PASS_TYPE
    verify_with_openssl(files, authority, tmp_path)


async def test_preview_without_identity(club: Club) -> None:
    """Without a certificate there is a pass.json to look at and no bundle."""
    preview = await club.member.templates.PreviewPass(preview_request(club))
    assert json.loads(preview.pass_json)["description"] == "Coffee club card"
    assert not preview.bundle


async def test_preview_of_errors(signing_club: Club) -> None:
    """A draft with errors gives the findings alone."""
    stub = signing_club.member.templates
    await stub.UpdateTemplate(update_request(signing_club, "content.description"))
    preview = await stub.PreviewPass(preview_request(signing_club))
    assert not preview.pass_json
    assert not preview.bundle
    assert preview.findings[0].severity == template_pb2.FINDING_SEVERITY_ERROR


async def test_preview_refusals(signing_club: Club) -> None:
    """Values that do not fit name the field; a revision that is not there is refused."""
    stub = signing_club.member.templates
    request = preview_request(signing_club)
    request.draft.values["points"].text = "many"
    request.draft.values["tier"].text = "gold"
    refusal = await refused(stub.PreviewPass(request))
    assert refusal.reason == "INVALID_VALUES"
    assert set(refusal.fields) == {'draft.values["points"]', 'draft.values["tier"]'}
    refusal = await refused(stub.PreviewPass(preview_request(signing_club, revision=1)))
    assert refusal.reason == "REVISION_NOT_PUBLISHED"


async def test_unknown_foreign_and_malformed_ids(api: TemplateApi, member: Member) -> None:
    """An id that is unknown, another tenant's or no id at all gives one and the same answer."""
    async with api.member() as other:
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
    listed = await stub.ListTemplates(pb.ListTemplatesRequest(program_id=foreign.program_id))
    assert not listed.templates


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


async def test_scopes(api: TemplateApi, club: Club) -> None:
    """Changes and previews need the scope admin, reads the scope read."""
    tenant_id = club.member.tenant_id
    async with (
        api.member(tenant_id=tenant_id, scopes=[Scope.ADMIN]) as admin,
        api.member(tenant_id=tenant_id, scopes=[Scope.READ, Scope.ISSUE, Scope.REDEEM]) as reader,
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
