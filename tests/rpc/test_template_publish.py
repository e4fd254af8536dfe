"""PublishTemplate: what it freezes can be issued, under the identity that is active then."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import pytest
from google.protobuf.message import Message

from passmill.dev.authority import IssuedCertificate, ThrowawayAuthority
from passmill.domain.assets import Asset, asset_id_of
from passmill.domain.callers import Caller
from passmill.domain.tenants import StoredIdentity
from passmill.errors import AppError, Reason
from passmill.store.assets import insert_asset
from passmill.store.database import Transaction
from passmill.store.signing_identities import get_identity, list_identities
from passmill.usecases.activate_signing_identity import activate
from passmill.v1 import program_service_pb2, template_pb2
from passmill.v1 import template_service_pb2 as pb
from tests.support.coffee_club import (
    GREY,
    PASS_TYPE,
    STYLE,
    TEAM,
    Club,
    count,
    preview_request,
    publish_request,
    refused,
    update_request,
    upload,
)
from tests.support.png import draw_png
from tests.support.postgres import Database
from tests.support.template_api import TemplateApi, meta

_OTHER_TEAM = "Z9Y8X7W6V5"
_LANGUAGES = ("de", "fr", "es", "it", "pt-BR", "nl", "ja", "ko", "zh-Hans", "ar", "he")


async def test_what_is_too_much_is_not_published(
    template_api: TemplateApi, signing_club: Club
) -> None:
    """A draft with more files than a pass may have is told of when it is stored, and not
    published."""
    stub = signing_club.member.templates
    images = template_pb2.TemplateContent(style=STYLE)
    for scale in (1, 2, 3):
        icon = await upload(signing_club.member, draw_png(29 * scale, 29 * scale, GREY))
        logo = await upload(signing_club.member, draw_png(50 * scale, 50 * scale, GREY))
        images.images.add(role=template_pb2.IMAGE_ROLE_ICON, scale=scale, asset_id=icon.asset_id)
        for role in (template_pb2.IMAGE_ROLE_LOGO, template_pb2.IMAGE_ROLE_PERSONALIZATION_LOGO):
            for locale in _LANGUAGES:
                images.images.add(role=role, scale=scale, asset_id=logo.asset_id, locale=locale)
    answer = await stub.UpdateTemplate(
        update_request(signing_club, "content.images", content=images)
    )
    assert template_pb2.FINDING_CODE_FILE_COUNT in {each.code for each in answer.findings}
    refusal = await refused(stub.PublishTemplate(publish_request(signing_club)))
    assert refusal.reason == "TEMPLATE_HAS_ERRORS"
    assert set(refusal.fields) == {"content.images"}
    assert await count(template_api, signing_club.member, "template_revisions") == 0


async def test_the_signer_has_the_last_word(template_api: TemplateApi, signing_club: Club) -> None:
    """A draft with an image that is damaged where it is stored is not published, and a preview
    tells why."""
    club, stub = signing_club, signing_club.member.templates
    damaged = draw_png(58, 58, "#123456")[:-5]
    asset = Asset(asset_id=asset_id_of(damaged), width=58, height=58, size_bytes=len(damaged))
    caller = template_api.caller(club.member.tenant_id)
    async with template_api.database.transaction(caller) as tx:
        await insert_asset(tx, asset, content=damaged, now=datetime.now(UTC))
    content = template_pb2.TemplateContent(style=STYLE, images=club.template.content.images)
    for image in content.images:
        if image.role == template_pb2.IMAGE_ROLE_ICON and image.scale == 2:
            image.asset_id = asset.asset_id
    changed = await stub.UpdateTemplate(update_request(club, "content.images", content=content))
    assert not changed.findings
    refusal = await refused(stub.PublishTemplate(publish_request(club)))
    assert refusal.reason == "TEMPLATE_HAS_ERRORS"
    assert "icon@2x.png" in refusal.message
    assert await count(template_api, club.member, "template_revisions") == 0
    preview = await stub.PreviewPass(preview_request(club))
    assert not preview.pass_json
    assert preview.findings[0].code == template_pb2.FINDING_CODE_IMAGE_INVALID


async def test_first_answers_stay(signing_club: Club) -> None:
    """What was done is answered again when the same request would be refused by now."""
    club, stub = signing_club, signing_club.member.templates
    create = pb.CreateTemplateRequest(
        program_id=club.program_id,
        display_name="Card",
        content=club.template.content,
        meta=meta(),
    )
    update = update_request(club, "display_name", display_name="New", etag=club.template.etag)
    publish = publish_request(club)
    calls: list[Callable[[], Awaitable[Message]]] = [
        lambda: stub.CreateTemplate(create),
        lambda: stub.UpdateTemplate(update),
        lambda: stub.PublishTemplate(publish),
    ]
    first = [await call() for call in calls]
    await stub.ArchiveTemplate(
        pb.ArchiveTemplateRequest(template_id=club.template.template_id, meta=meta())
    )
    await _archive_program(club)
    assert [await call() for call in calls] == first
    for request in (create, update, publish):
        request.meta.request_id = str(uuid.uuid4())
    reasons = [(await refused(call())).reason for call in calls]
    assert reasons == ["PROGRAM_ARCHIVED", "ETAG_MISMATCH", "TEMPLATE_ARCHIVED"]


async def test_a_draft_changed_meanwhile_is_judged_anew(
    template_api: TemplateApi, database: Database, signing_club: Club
) -> None:
    """A draft that is changed between the look at it and its publishing is not published unseen:
    with errors it is refused, and with an etag it is a mismatch."""
    club, stub = signing_club, signing_club.member.templates
    wrong = template_pb2.TemplateContent(style=STYLE).SerializeToString()
    for etag, reason in (("", "TEMPLATE_HAS_ERRORS"), ("now", "ETAG_MISMATCH")):
        answer = await stub.UpdateTemplate(
            update_request(club, "content", content=club.template.content)
        )
        request = publish_request(club, etag=etag and answer.template.etag)
        async with _observer(database) as observer:
            async with template_api.database.transaction(
                template_api.caller(club.member.tenant_id)
            ) as tx:
                await tx.execute("UPDATE templates SET version = version + 1, draft = $1", wrong)
                publishing = asyncio.ensure_future(refused(stub.PublishTemplate(request)))
                await observer.until_one_waits()
            assert (await publishing).reason == reason
    assert await count(template_api, club.member, "template_revisions") == 0


async def test_publishing_waits_for_activation(
    template_api: TemplateApi,
    database: Database,
    signing_club: Club,
    authority: ThrowawayAuthority,
) -> None:
    """While an identity of another team is being activated nothing is published under the old one;
    the revision is of the new team."""
    club = signing_club
    await _add_other_team(template_api, club, authority)
    async with _observer(database) as observer:
        async with template_api.database.transaction(
            template_api.caller(club.member.tenant_id)
        ) as tx:
            await _activate(tx, _OTHER_TEAM)
            publishing = asyncio.ensure_future(
                club.member.templates.PublishTemplate(publish_request(club))
            )
            await observer.until_one_waits()
        published = await publishing
    assert published.revision.team_identifier == _OTHER_TEAM


async def test_activation_waits_for_publishing(
    template_api: TemplateApi,
    database: Database,
    signing_club: Club,
    authority: ThrowawayAuthority,
) -> None:
    """While a revision is being published no identity of another team is activated, and none
    afterwards."""
    club = signing_club
    await _add_other_team(template_api, club, authority)
    caller = template_api.caller(club.member.tenant_id)
    async with _observer(database) as observer:
        async with observer.connection.transaction():
            # Holds the publishing up where it has taken its locks and writes the revision.
            await observer.connection.execute("LOCK TABLE template_revisions IN EXCLUSIVE MODE")
            publishing = asyncio.ensure_future(
                club.member.templates.PublishTemplate(publish_request(club))
            )
            await observer.until_one_waits()
            activating = asyncio.ensure_future(_try_activate(template_api, caller, _OTHER_TEAM))
            await observer.until_one_waits(2)
        published = await publishing
        refusal = await activating
    assert published.revision.team_identifier == TEAM
    assert (refusal.reason, refusal.metadata) == (
        Reason.INVALID_SIGNING_IDENTITY,
        {"cause": "TEAM_CHANGED"},
    )


async def test_first_activations_follow_each_other(
    template_api: TemplateApi,
    database: Database,
    club: Club,
    authority: ThrowawayAuthority,
) -> None:
    """Two identities that are activated at once, where none was active before, are activated one
    after the other."""
    await _store(template_api, club, _certificate(authority, TEAM))
    await _store(template_api, club, _certificate(authority, _OTHER_TEAM))
    caller = template_api.caller(club.member.tenant_id)
    async with _observer(database) as observer:
        async with template_api.database.transaction(caller) as tx:
            await tx.execute("UPDATE signing_identities SET is_active = false")
        async with template_api.database.transaction(caller) as tx:
            await _activate(tx, TEAM)
            second = asyncio.ensure_future(_do_activate(template_api, caller, _OTHER_TEAM))
            await observer.until_one_waits()
        assert (await second).team_identifier == _OTHER_TEAM
    async with template_api.database.transaction(caller) as tx:
        found = await list_identities(tx, expire_before=None, after=None, at_most=9)
    assert [each.team_identifier for each in found if each.is_active] == [_OTHER_TEAM]


@dataclass(frozen=True, slots=True)
class _Observer:
    """Sees who waits for whom, from outside of the service."""

    connection: asyncpg.Connection

    async def until_one_waits(self, number: int = 1) -> None:
        """Returns as soon as so many statements of others wait for a lock."""
        async with asyncio.timeout(15):
            while True:
                waiting = await self.connection.fetchval(
                    "SELECT count(DISTINCT w.pid) FROM pg_locks w JOIN pg_locks d USING (pid)"
                    " JOIN pg_database b ON b.oid = d.database"
                    " WHERE NOT w.granted AND b.datname = current_database()"
                )
                if waiting >= number:
                    return
                await asyncio.sleep(0.01)


@asynccontextmanager
async def _observer(database: Database) -> AsyncIterator[_Observer]:
    connection = await asyncpg.connect(database.owner_url, timeout=10)
    try:
        yield _Observer(connection)
    finally:
        await connection.close(timeout=5)


def _certificate(authority: ThrowawayAuthority, team: str) -> IssuedCertificate:
    return authority.issue_pass_certificate(
        now=datetime.now(UTC), pass_type_identifier=PASS_TYPE, team_identifier=team
    )


async def _store(api: TemplateApi, club: Club, issued: IssuedCertificate) -> None:
    await api.add_identity(club.member.tenant_id, issued)


async def _add_other_team(api: TemplateApi, club: Club, authority: ThrowawayAuthority) -> None:
    """Stores an identity of another team; the club's stays the active one."""
    await _store(api, club, _certificate(authority, _OTHER_TEAM))
    async with api.database.transaction(api.caller(club.member.tenant_id)) as tx:
        await _activate(tx, TEAM)


async def _activate(tx: Transaction, team: str) -> StoredIdentity:
    found = await list_identities(tx, expire_before=None, after=None, at_most=9)
    (chosen,) = (each for each in found if each.team_identifier == team)
    identity = await get_identity(tx, chosen.signing_identity_id)
    return await activate(tx, identity, now=datetime.now(UTC))


async def _do_activate(api: TemplateApi, caller: Caller, team: str) -> StoredIdentity:
    async with api.database.transaction(caller) as tx:
        return await _activate(tx, team)


async def _try_activate(api: TemplateApi, caller: Caller, team: str) -> AppError:
    with pytest.raises(AppError) as caught:
        await _do_activate(api, caller, team)
    return caught.value


async def _archive_program(club: Club) -> None:
    await club.member.programs.ArchiveProgram(
        program_service_pb2.ArchiveProgramRequest(program_id=club.program_id, meta=meta())
    )
