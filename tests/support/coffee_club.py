"""A coffee club for tests of templates: a tenant with a program, images and a sound draft."""

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import grpc
import pytest
from google.protobuf.message import Message

from passmill.dev.authority import ThrowawayAuthority
from passmill.v1 import program_service_pb2, template_pb2
from passmill.v1 import template_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import Holder, PassDraft
from tests.support.png import draw_png
from tests.support.template_api import Member, Refusal, TemplateApi, meta, refusal_of

PASS_TYPE: Final = "pass.com.example.club"
TEAM: Final = "A1B2C3D4E5"
GREY: Final = "#808080"
STYLE: Final = template_pb2.PASS_STYLE_STORE_CARD
HOLDER_NAME: Final = 'Zoë "Z" Ōtani'


@dataclass(frozen=True, slots=True, kw_only=True)
class Club:
    """A tenant with a program and a sound draft in it."""

    member: Member
    program_id: str
    template: pb.Template


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
        holder=Holder(name=HOLDER_NAME), values={"points": template_pb2.Value(integer=points)}
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
