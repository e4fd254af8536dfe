"""PreviewPass: what is shown is a real pass, and recorded nowhere."""

import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from passmill.dev.authority import ThrowawayAuthority
from passmill.domain.templates import TemplateContent
from passmill.rpc.convert_template import (
    content_to_proto,
    values_to_proto,
)
from passmill.v1 import template_pb2
from passmill.v1 import template_service_pb2 as pb
from tests.support import templates
from tests.support.coffee_club import (
    HOLDER_NAME,
    PASS_TYPE,
    STYLE,
    TEAM,
    Club,
    add_identity,
    add_program,
    count,
    preview_request,
    publish_request,
    refused,
    update_request,
    upload,
)
from tests.support.template_api import Member, TemplateApi, meta


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


async def test_preview(
    template_api: TemplateApi, signing_club: Club, authority: ThrowawayAuthority, tmp_path: Path
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
    events = await count(template_api, signing_club.member, "outbox")
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
        assert shown["storeCard"]["secondaryFields"][0]["value"] == HOLDER_NAME
        assert "webServiceURL" not in shown
        serials.add(shown["serialNumber"])
        assert "icon@3x.png" in files
        verify_with_openssl(files, authority, tmp_path)
    assert len(serials) == 2
    assert all(serial.startswith("PREVIEW-") for serial in serials)
    assert await count(template_api, signing_club.member, "passes") == 0
    assert await count(template_api, signing_club.member, "outbox") == events


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
    template_api: TemplateApi,
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
    await add_identity(template_api, member, authority, nfc=True)
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
