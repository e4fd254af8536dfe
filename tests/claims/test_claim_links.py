"""Claim links as staff make and see them."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.v1 import enrolment_pb2 as claims_pb2
from passmill.v1 import enrolment_service_pb2 as pb
from passmill.v1.enrolment_pb2 import ClaimField, ClaimLink
from tests.support.campaigns import ClubCampaigns
from tests.support.claims import EMAIL, NAME, PHONE, ClubLinks
from tests.support.refusals import refusal_of, refused
from tests.support.service import WEB_SERVICE_URL, Service, meta
from tests.support.small_card import draft

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")


async def test_a_token_is_shown_once_and_kept_nowhere(links: ClubLinks) -> None:
    """Making a link gives a token of 128 bits and the address with it; the same request gives the
    same token again, and no row of the database holds it in the clear."""
    request = pb.CreateClaimLinkRequest(draft=links.wanted(), meta=meta())
    created = (await links.staff.CreateClaimLink(request)).created
    assert (await links.staff.CreateClaimLink(request)).created == created
    assert TOKEN.fullmatch(created.token)
    assert created.url == f"{WEB_SERVICE_URL}/p/{created.token}"
    assert created.link.state == ClaimLink.STATE_OPEN
    for table in ("claim_links", "request_answers", "outbox"):
        rows = await links.club.tenant.fetch(f"SELECT t::text AS row FROM {table} t")  # noqa: S608
        assert rows
        for row in rows:
            assert created.token not in row["row"]
            assert created.token.encode().hex() not in row["row"]
    assert await links.get(created) == created.link


async def test_a_dry_run_makes_none(links: ClubLinks) -> None:
    """A dry run answers as if, without a token, and leaves nothing."""
    request = pb.CreateClaimLinkRequest(draft=links.wanted(), meta=meta(validate_only=True))
    created = (await links.staff.CreateClaimLink(request)).created
    assert (created.token, created.url) == ("", "")
    assert await links.club.tenant.count("claim_links") == 0


async def test_a_thousand_at_once(links: ClubLinks) -> None:
    """A batch of a thousand makes as many links with tokens of their own, in the order asked for,
    and tells of them in one event; a thousand and one are refused."""
    drafts = [links.wanted(known=draft(f"Ada {n}"), source=f"s{n}") for n in range(1000)]
    request = pb.BatchCreateClaimLinksRequest(drafts=drafts, meta=meta())
    created = (await links.staff.BatchCreateClaimLinks(request, timeout=20)).created
    assert [each.link.source for each in created] == [f"s{n}" for n in range(1000)]
    assert len({each.token for each in created}) == 1000
    [event] = await links.events("claim_link.created")
    assert json.loads(event["detail"])["total"] == 1000
    request.drafts.append(drafts[0])
    request.meta.CopyFrom(meta())
    assert (await refused(links.staff.BatchCreateClaimLinks(request))).reason == "INVALID_FIELD"


async def test_a_batch_is_all_or_none(links: ClubLinks) -> None:
    """One draft that does not fit refuses the batch, by its place."""
    wrong = links.wanted(known=draft("Ada", points=7, tier="x" * 600))
    request = pb.BatchCreateClaimLinksRequest(drafts=[links.wanted(), wrong], meta=meta())
    refusal = await refused(links.staff.BatchCreateClaimLinks(request))
    assert set(refusal.fields) == {'drafts[1].template.draft.values["tier"]'}
    assert await links.club.tenant.count("claim_links") == 0


async def test_links_are_listed_by_campaign_and_source(links: ClubLinks) -> None:
    """Lists give all links oldest first over pages, or those of a campaign, or with a source."""
    campaign = await ClubCampaigns(club=links.club).create()
    made = []
    for number in range(7):
        more: dict[str, Any] = {"campaign_id": campaign.campaign_id} if number % 2 else {}
        made.append((await links.create(source=f"s{number % 3}", **more)).link)

    async def listed(**wanted: str) -> list[ClaimLink]:
        found: list[ClaimLink] = []
        token = ""
        while True:
            request = pb.ListClaimLinksRequest(page_size=2, page_token=token, **wanted)
            page = await links.staff.ListClaimLinks(request)
            assert len(page.links) <= 2
            found += page.links
            token = page.next_page_token
            if not token:
                return found

    assert await listed() == made
    assert await listed(campaign_id=campaign.campaign_id) == made[1::2]
    assert await listed(source="s2") == made[2::3]


async def test_a_revoked_link_gives_nothing(links: ClubLinks) -> None:
    """A revoked link says so to whoever looks or claims, and revoking again changes nothing."""
    created = await links.create()
    request = pb.RevokeClaimLinkRequest(link_id=created.link.link_id, meta=meta())
    revoked = (await links.staff.RevokeClaimLink(request)).link
    assert revoked.state == ClaimLink.STATE_REVOKED
    request.meta.CopyFrom(meta())
    assert (await links.staff.RevokeClaimLink(request)).link == revoked
    [event] = await links.events("claim_link.revoked")
    assert json.loads(event["detail"]) == {"link_id": created.link.link_id}
    assert not event["pass_ids"]
    assert (await links.resolve(created.token)).state == claims_pb2.CLAIM_STATE_REVOKED
    assert (await links.claim(created.token)).state == claims_pb2.CLAIM_STATE_REVOKED
    assert await links.club.tenant.count("claims") == 0


async def test_an_expired_link_gives_nothing(links: ClubLinks) -> None:
    """A link whose time has passed says so; one that would never have had any is refused."""
    end = Timestamp()
    end.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    created = await links.create(expire_time=end)
    assert (await links.resolve(created.token)).state == claims_pb2.CLAIM_STATE_OPEN
    await links.club.tenant.fetch(
        "UPDATE claim_links SET expire_time = expire_time - interval '2 hours'"
    )
    assert (await links.get(created)).state == ClaimLink.STATE_EXPIRED
    assert (await links.claim(created.token)).state == claims_pb2.CLAIM_STATE_EXPIRED
    end.FromDatetime(datetime.now(UTC) - timedelta(seconds=1))
    request = pb.CreateClaimLinkRequest(draft=links.wanted(expire_time=end), meta=meta())
    assert set((await refused(links.staff.CreateClaimLink(request))).fields) == {
        "draft.expire_time"
    }


SLOT, CONSENT = ClaimField.KIND_SLOT, ClaimField.KIND_CONSENT


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ([NAME, NAME], "draft.template.fields[1]"),
        ([ClaimField(kind=SLOT, name="points", label="x")], "draft.template.fields[0].name"),
        ([ClaimField(kind=SLOT, name="nothing", label="x")], "draft.template.fields[0].name"),
        ([ClaimField(kind=SLOT, name="note")], "draft.template.fields[0].label"),
        ([ClaimField(kind=CONSENT, label="x")], "draft.template.fields[0].name"),
        ([ClaimField(kind=ClaimField.KIND_PHONE, name="x")], "draft.template.fields[0].name"),
        ([ClaimField(kind=ClaimField.KIND_UNSPECIFIED)], "draft.template.fields[0].kind"),
    ],
)
async def test_forms_that_make_no_sense_are_refused(
    links: ClubLinks, fields: list[ClaimField], path: str
) -> None:
    """A field asked for twice, a slot that takes no text, a missing name or label: named."""
    request = pb.CreateClaimLinkRequest(draft=links.wanted(fields=fields), meta=meta())
    assert set((await refused(links.staff.CreateClaimLink(request))).fields) == {path}


@pytest.mark.parametrize("fields", [[], [NAME], [EMAIL]])
async def test_once_per_person_needs_to_know_persons(
    links: ClubLinks, fields: list[ClaimField]
) -> None:
    """Without a required number or address nobody can be known again: refused."""
    wanted = links.wanted(fields=fields, once_per_person=True, is_unlimited=True)
    request = pb.CreateClaimLinkRequest(draft=wanted, meta=meta())
    assert set((await refused(links.staff.CreateClaimLink(request))).fields) == {
        "draft.once_per_person"
    }
    await links.create(fields=[PHONE], once_per_person=True, is_unlimited=True)


async def test_what_is_asked_for_may_be_missing(links: ClubLinks) -> None:
    """A required slot that the form asks for need not be known beforehand; another one must be."""
    content = ClaimField(kind=SLOT, name="note", label="Note", is_required=True)
    await links.create(fields=[content])
    request = pb.CreateClaimLinkRequest(draft=links.wanted(fields=[content]), meta=meta())
    del request.draft.template.draft.values["points"]
    assert set((await refused(links.staff.CreateClaimLink(request))).fields) == {
        'draft.template.draft.values["points"]'
    }


async def test_a_token_is_one_tenants(links: ClubLinks, service: Service) -> None:
    """The row policy that shows a link to whoever has its token shows one row, to read alone."""
    mine = await links.create()
    theirs = ClubLinks(club=await service.add_club())
    other = await theirs.create()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await theirs.get(mine)
    assert refusal_of(caught.value).reason == "NOT_FOUND"
    assert (await links.resolve(other.token)).state == claims_pb2.CLAIM_STATE_OPEN
