"""UploadAsset: images are checked without being decoded, and stored once."""

import hashlib
import struct
import zlib

import grpc
import pytest

from passmill.v1 import template_pb2
from passmill.v1 import template_service_pb2 as pb
from tests.support.coffee_club import (
    GREY,
    Club,
    add_program,
    count,
    refused,
    upload,
)
from tests.support.png import draw_png
from tests.support.template_api import Member, TemplateApi, meta


async def test_assets(template_api: TemplateApi, member: Member) -> None:
    """An image is named by the digest of its bytes, stored once, and told with its size."""
    content = draw_png(58, 29, GREY)
    asset = await upload(member, content)
    assert asset.asset_id == hashlib.sha256(content).hexdigest()
    assert (asset.width, asset.height, asset.size_bytes) == (58, 29, len(content))
    assert await upload(member, content) == asset
    assert await count(template_api, member, "assets") == 1
    assert await count(template_api, member, "outbox") == 1


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
        draw_png(29, 29, GREY)[:-20],
        draw_png(29, 29, GREY) + b"more",
        b"\x89PNG\r\n\x1a\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        claim_size(2001, 2000),
        claim_size(60_000, 60_000),
        draw_png(29, 29, GREY) + bytes(2 << 20),
    ],
    ids=[
        "gif",
        "header truncated",
        "data truncated",
        "more than an image",
        "no header",
        "svg",
        "four megapixels",
        "bomb",
        "two mebibytes",
    ],
)
async def test_bad_assets(template_api: TemplateApi, member: Member, content: bytes) -> None:
    """What is no PNG, no whole one, or larger than a pass may hold by its header or length, is
    refused and not stored."""
    refusal = await refused(
        member.templates.UploadAsset(pb.UploadAssetRequest(content=content, meta=meta()))
    )
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.reason == "INVALID_ASSET"
    assert set(refusal.fields) == {"content"}
    assert await count(template_api, member, "assets") == 0


async def test_assets_of_others_are_unknown(template_api: TemplateApi, club: Club) -> None:
    """An image that another tenant uploaded is not there for this one, though its id is known."""
    async with template_api.member() as other:
        request = pb.CreateTemplateRequest(
            program_id=await add_program(other),
            display_name="Copy",
            content=club.template.content,
            meta=meta(),
        )
        findings = (await other.templates.CreateTemplate(request)).findings
    unknown = [f for f in findings if f.code == template_pb2.FINDING_CODE_IMAGE_ASSET_UNKNOWN]
    assert len(unknown) == len(club.template.content.images)
