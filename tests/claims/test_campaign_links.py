"""Claim links that campaigns make with their passes: made once, exported alike each time, and kept
nowhere in the clear."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio

from passmill.domain.campaign_definitions import definition_from_json, definition_to_json
from passmill.domain.campaigns import Definition, IssueAction, PinnedRevision
from passmill.domain.claim_tokens import ClaimTokens
from passmill.domain.claims import LinkPlan
from passmill.domain.ids import (
    PassId,
    RevisionId,
    TemplateId,
    TenantId,
    campaign_pass_id,
    new_uuid,
)
from passmill.store.erasure import ERASED, run_scrub
from passmill.v1 import campaign_pb2, enrolment_pb2
from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1 import enrolment_service_pb2 as claims_pb
from passmill.v1.api_scope_pb2 import API_SCOPE_ISSUE, API_SCOPE_READ
from passmill.v1.campaign_pb2 import Campaign, CampaignAction, CampaignLinks, RecipientResult
from passmill.v1.enrolment_pb2 import ClaimLink
from passmill.v1.pass_service_pb2 import VoidPassRequest
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.edge.rig import Edge, open_client
from tests.support.bundles import pass_json
from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.campaigns import recipient
from tests.support.claims import CLAIMED, ClubLinks, new_key
from tests.support.holders import Desk
from tests.support.refusals import refused
from tests.support.service import WEB_SERVICE_URL, Club, Service, meta

pytestmark = pytest.mark.asyncio(loop_scope="session")
BASE = f"{WEB_SERVICE_URL}/p/"
COUNT, LANES = 200, 4


@pytest_asyncio.fixture(loop_scope="session")
async def worker(service: Service, links: ClubLinks) -> AsyncIterator[CampaignWorker]:
    """A worker for the campaigns of the club."""
    async with open_campaign_worker(service, links.club) as opened:
        yield opened


def with_links(club: Club, **plan: Any) -> CampaignAction:
    """Issues from the club's template, with a link to each pass."""
    action = CampaignAction()
    action.issue.template_id = club.template_id
    action.issue.claim_links.CopyFrom(CampaignLinks(**plan))
    return action


async def issued(worker: CampaignWorker, count: int, *, streams: int = 1, **plan: Any) -> Campaign:
    """A campaign that has issued to `count` recipients, each with a link."""
    rows = [recipient(f"m{at}", name=f"Ada {at}") for at in range(count)]
    campaign = await worker.loaded(rows, streams=streams, action=with_links(worker.club, **plan))
    await worker.start(campaign)
    await worker.serve_due()
    return await worker.get(campaign)


async def exported(worker: CampaignWorker, campaign: Campaign, key: str = "") -> list[str]:
    """The links of all results by ExportResults, in the results' order."""
    stub = worker.club.tenant.service.member(key).campaigns if key else worker.stub
    request = pb.ExportResultsRequest(campaign_id=campaign.campaign_id)
    return [
        result.claim_url
        async for answer in stub.ExportResults(request, timeout=30)
        for result in answer.results
    ]


def tokens(urls: Sequence[str]) -> list[str]:
    """The tokens in addresses."""
    assert all(each.startswith(BASE) for each in urls)
    return [each.removeprefix(BASE) for each in urls]


async def post(client: httpx.AsyncClient, token: str) -> httpx.Response:
    """Sends the form of a link that asks for nothing, with the key that came with its page."""
    return await client.post(f"/p/{token}")


@pytest.mark.timeout(180)
async def test_each_link_gives_its_holders_pass_once(
    worker: CampaignWorker, links: ClubLinks, edge: Edge
) -> None:
    """Each line of the export has the address of a page that gives this recipient's pass to whoever
    asks first, and to nobody after; looking uses nothing up."""
    campaign = await issued(worker, COUNT, streams=2)
    results = await worker.campaigns.results(campaign)
    assert len({each.claim_url for each in results}) == COUNT

    async def claim(phone: httpx.AsyncClient, result: RecipientResult) -> None:
        [token] = tokens([result.claim_url])
        page = await phone.get(f"/p/{token}")
        assert (page.status_code, "Get your pass" in page.text) == (200, True)
        assert (await post(phone, token)).status_code == 303
        bundle = await phone.get(f"/p/{token}/pass.pkpass")
        shown = pass_json(bundle.content)
        assert shown["serialNumber"] == result.serial_number
        name = f"Ada {result.external_id.removeprefix('m')}"
        assert shown["generic"]["primaryFields"][0]["value"] == name
        phone.cookies.clear()
        if int(result.external_id.removeprefix("m")) % 10 == 0:
            late = await phone.get(f"/p/{token}")
            assert (late.status_code, "already been claimed" in late.text) == (200, True)

    async def lane(first: int) -> None:
        async with open_client(edge.port) as phone:
            for result in results[first::LANES]:
                await claim(phone, result)

    await asyncio.gather(*map(lane, range(LANES)))
    assert await links.club.tenant.count("claims") == COUNT
    assert await worker.count_passes() == COUNT
    assert await exported(worker, campaign) == [each.claim_url for each in results]


async def test_no_token_is_in_the_database(worker: CampaignWorker) -> None:
    """Exported twice the links are the same, and no row of any table of the tenant holds one: only
    its SHA-256 is there."""
    campaign = await issued(worker, 30, source="sms", utm={"utm_campaign": "spring"})
    urls = await exported(worker, campaign)
    assert await exported(worker, campaign) == urls
    given = tokens(urls)
    rows = await worker.club.tenant.fetch("SELECT token_hash FROM claim_links")
    assert {row["token_hash"] for row in rows} == {sha256(each.encode()).digest() for each in given}
    tables = await worker.club.tenant.fetch(
        "SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables"
        " WHERE table_schema IN ('public', 'pgqueuer') AND table_type = 'BASE TABLE'"
    )
    words = {each for token in given for each in (token, token.encode().hex())}
    words |= {base64.urlsafe_b64decode(token + "==").hex() for token in given}
    searched = 0
    for table in tables:
        for row in await worker.club.tenant.fetch(
            f"SELECT t::text AS row FROM {table['name']} t"  # noqa: S608 - of the catalogue
        ):
            searched += 1
            assert not any(word in row["row"] for word in words), table["name"]
    assert searched > 60


async def test_a_key_that_only_reads_sees_no_link(worker: CampaignWorker) -> None:
    """Results are for every key that may read; their links only for one that could make links."""
    campaign = await issued(worker, 3)
    tenant = worker.club.tenant
    reads = await tenant.service.add_key(tenant.tenant_id, [API_SCOPE_READ])
    issues = await tenant.service.add_key(tenant.tenant_id, [API_SCOPE_READ, API_SCOPE_ISSUE])
    assert await exported(worker, campaign, reads) == ["", "", ""]
    request = pb.ListRecipientsRequest(campaign_id=campaign.campaign_id)
    listed = await tenant.service.member(reads).campaigns.ListRecipients(request)
    assert [(each.claim_url, bool(each.pass_id)) for each in listed.recipients] == [("", True)] * 3
    assert await exported(worker, campaign, issues) == await exported(worker, campaign)
    assert len(set(tokens(await exported(worker, campaign, issues)))) == 3


async def test_a_shard_served_again_makes_no_second_link(worker: CampaignWorker) -> None:
    """Served by several workers at once and once more, and with recipients in two shards at once,
    each pass has one link; a duplicate's line has none."""
    ids = [f"m{at}" for at in range(40)]
    rows = [recipient(each) for each in (*ids, *reversed(ids))]
    campaign = await worker.loaded(rows, streams=2, action=with_links(worker.club))
    await worker.start(campaign)
    numbers = (0, 1, 1, 0)
    await asyncio.gather(*(worker.serve_shard(campaign, number) for number in numbers))
    await worker.serve_shard(campaign, 0)
    assert await worker.club.tenant.count("claim_links") == await worker.count_passes() == 40
    results = await worker.campaigns.results(campaign)
    with_url = [each for each in results if each.claim_url]
    assert {each.state for each in with_url} == {RecipientResult.STATE_SUCCEEDED}
    assert len(with_url) == len({each.claim_url for each in with_url}) == 40


async def test_links_and_passes_are_written_together(
    worker: CampaignWorker, links: ClubLinks
) -> None:
    """When one link cannot be written its shard writes no pass, link or event; tried again it
    writes all."""
    campaign = await worker.loaded(10, action=with_links(worker.club))
    await worker.start(campaign)
    tenant = worker.club.tenant
    await links.create()
    taken = campaign_pass_id(worker.campaign_id(campaign), "m3")
    [row] = await tenant.fetch("SELECT link_id FROM claim_links")
    await tenant.fetch("UPDATE claim_links SET link_id = $1", taken)
    with pytest.raises(asyncpg.UniqueViolationError):
        await worker.serve_shard(campaign, 0)
    assert (await worker.count_passes(), await worker.told()) == (0, [])
    assert await tenant.count("claim_links") == 1
    await tenant.fetch("UPDATE claim_links SET link_id = $1", row["link_id"])
    await worker.serve_due()
    assert await worker.count_passes() == await tenant.count("claim_links") - 1 == 10
    assert len(set(tokens(await exported(worker, campaign)))) == 10


async def test_recipients_tried_again_get_their_links(worker: CampaignWorker) -> None:
    """A recipient that failed has no link; RetryRecipients makes its pass and its link, and leaves
    the others'."""
    campaign = await worker.loaded(6, action=with_links(worker.club))
    tenant = worker.club.tenant
    [row] = await tenant.fetch("SELECT content FROM recipient_chunks")
    content = json.loads(row["content"])
    content["values"][2], right = "not JSON", content["values"][2]
    await rewrite_chunk(worker, content)
    await worker.start(campaign)
    await worker.serve_due()
    before = await exported(worker, campaign)
    assert [bool(each) for each in before] == [True, True, False, True, True, True]
    content["values"][2] = right
    await rewrite_chunk(worker, content)
    assert (await worker.retry(campaign)).count == 1
    await worker.serve_due()
    after = await exported(worker, campaign)
    assert len(set(tokens(after))) == await tenant.count("claim_links") == 6
    assert after[:2] + after[3:] == before[:2] + before[3:]


async def rewrite_chunk(worker: CampaignWorker, content: dict[str, Any]) -> None:
    """Writes other recipients into the only chunk there is, as no call could."""
    [row] = await worker.club.tenant.fetch("DELETE FROM recipient_chunks RETURNING *")
    await worker.club.tenant.fetch(
        "INSERT INTO recipient_chunks VALUES ($1, $2, $3, $4, $5)",
        *(row["tenant_id"], row["stream_id"], row["first_offset"], row["row_count"]),
        json.dumps(content),
    )


@pytest.mark.parametrize("voids", [True, False])
async def test_cancelling_withdraws_links_with_their_passes(
    worker: CampaignWorker, links: ClubLinks, edge: Edge, voids: bool
) -> None:
    """Cancelled with voiding, the links that were made say that they are withdrawn, by gRPC and on
    their pages, and are exported no more; without it they give their passes still."""
    campaign = await worker.loaded(20, streams=2, action=with_links(worker.club))
    await worker.start(campaign)
    await worker.serve_due(at_most=1)
    urls = await exported(worker, campaign)
    made = tokens([each for each in urls if each])
    assert len(made) == 10
    claimed_with = new_key()
    assert (await links.claim(made[0], claimed_with)).state == CLAIMED
    await worker.cancel(campaign, void_issued=voids)
    await worker.serve_due()
    ended = await worker.get(campaign)
    assert (ended.state, ended.progress.voided) == (Campaign.STATE_CANCELLED, 10 if voids else 0)
    assert await exported(worker, campaign) == ([""] * 20 if voids else urls)
    wanted = enrolment_pb2.CLAIM_STATE_REVOKED if voids else enrolment_pb2.CLAIM_STATE_OPEN
    assert (await links.resolve(made[1])).state == wanted
    assert (await edge.client.get(f"/p/{made[1]}")).status_code == (410 if voids else 200)
    answer = await links.claim(made[2])
    assert answer.state == (enrolment_pb2.CLAIM_STATE_REVOKED if voids else CLAIMED)
    # Who had claimed it before sees what became of the pass.
    again = await links.claim(made[0], claimed_with)
    assert again.state == CLAIMED
    assert pass_json(again.bundle).get("voided", False) is voids


async def test_a_link_to_a_voided_pass_is_withdrawn(links: ClubLinks) -> None:
    """So is one that staff made to a pass that was voided since."""
    wallet_pass = await links.club.issue()
    wanted = enrolment_pb2.ClaimLinkDraft(pass_id=wallet_pass.pass_id)
    created = await links.create_from(wanted)
    assert (await links.resolve(created.token)).state == enrolment_pb2.CLAIM_STATE_OPEN
    ref = PassRef(pass_id=wallet_pass.pass_id)
    await links.club.passes.VoidPass(VoidPassRequest(ref=ref, meta=meta()))
    for answer in (await links.resolve(created.token), await links.claim(created.token)):
        assert answer.state == enrolment_pb2.CLAIM_STATE_REVOKED
    assert await links.club.tenant.count("claims") == 0


async def test_links_are_listed_and_revoked_one_by_one(
    worker: CampaignWorker, links: ClubLinks
) -> None:
    """ListClaimLinks gives a campaign's links page by page and no other's, as what they are; one
    that is revoked gives nothing and is exported no more."""
    other = await issued(worker, 4)
    campaign = await issued(worker, 7, source="sms", utm={"utm_campaign": "spring"})
    results = await worker.campaigns.results(campaign)
    assert await listed(links, campaign_id=other.campaign_id) != []
    found = await listed(links, campaign_id=campaign.campaign_id)
    assert await listed(links, campaign_id=campaign.campaign_id, source="sms") == found
    assert await listed(links, campaign_id=campaign.campaign_id, source="mail") == []
    assert await listed(links, source="sms") == found
    assert [each.link_id for each in found] == sorted(each.pass_id for each in results)
    for link in found:
        assert (link.pass_id, link.template_id) == (link.link_id, links.club.template_id)
        assert (link.max_uses, link.uses, link.state) == (1, 0, ClaimLink.STATE_OPEN)
        assert (link.source, dict(link.utm)) == ("sms", {"utm_campaign": "spring"})
        assert (link.campaign_id, link.HasField("expire_time")) == (campaign.campaign_id, False)
    [token] = tokens([results[3].claim_url])
    request = claims_pb.RevokeClaimLinkRequest(link_id=results[3].pass_id, meta=meta())
    assert (await links.staff.RevokeClaimLink(request)).link.state == ClaimLink.STATE_REVOKED
    assert (await links.claim(token)).state == enrolment_pb2.CLAIM_STATE_REVOKED
    left = [each.claim_url for each in await worker.campaigns.results(campaign)]
    assert left == [each.claim_url if at != 3 else "" for at, each in enumerate(results)]


async def listed(links: ClubLinks, **wanted: str) -> list[ClaimLink]:
    """The links over pages of three."""
    found: list[ClaimLink] = []
    token = ""
    while True:
        request = claims_pb.ListClaimLinksRequest(page_size=3, page_token=token, **wanted)
        page = await links.staff.ListClaimLinks(request)
        found += page.links
        token = page.next_page_token
        if not token:
            return found


async def test_a_campaign_without_links_makes_none(worker: CampaignWorker) -> None:
    """Nothing is made, exported or kept of links that nobody asked for."""
    campaign = await worker.loaded(5)
    await worker.start(campaign)
    await worker.serve_due()
    assert await worker.club.tenant.count("claim_links") == 0
    assert await exported(worker, campaign) == [""] * 5
    [row] = await worker.club.tenant.fetch("SELECT definition FROM campaigns")
    assert "links" not in row["definition"]
    assert not (await worker.get(campaign)).action.issue.HasField("claim_links")


async def test_uses_and_ends_are_as_planned(worker: CampaignWorker, links: ClubLinks) -> None:
    """Links end so many days after their pass was issued, or all at a time, and are good as often
    as the plan says; the campaign tells its plan."""
    lasting = await issued(worker, 2, lifetime_days=30, is_unlimited=True)
    [first, _] = await listed(links, campaign_id=lasting.campaign_id)
    wallet_pass = await worker.pass_of((await worker.campaigns.results(lasting))[0])
    issue_time = wallet_pass.create_time.ToDatetime(UTC)
    assert first.expire_time.ToDatetime(UTC) == issue_time + timedelta(days=30)
    assert (first.max_uses, lasting.action.issue.claim_links.is_unlimited) == (0, True)
    end = campaign_pb2.CampaignLinks()
    end.expire_time.FromDatetime(datetime.now(UTC).replace(microsecond=0) + timedelta(days=2))
    ending = await issued(worker, 2, expire_time=end.expire_time, max_uses=2)
    assert ending.action.issue.claim_links == CampaignLinks(expire_time=end.expire_time, max_uses=2)
    assert {
        (each.expire_time.seconds, each.max_uses)
        for each in await listed(links, campaign_id=ending.campaign_id)
    } == {(end.expire_time.seconds, 2)}
    [token, _] = tokens(await exported(worker, ending))
    states = [(await links.claim(token)).state for _ in range(3)]
    assert states == [CLAIMED, CLAIMED, enrolment_pb2.CLAIM_STATE_USED_UP]


async def test_plans_that_make_no_sense_are_refused(worker: CampaignWorker) -> None:
    """Uses that are both counted and not, an end that has passed, words that cannot be printed: by
    the field's name; and a campaign whose links would have ended does not begin."""
    past, soon = CampaignLinks(), CampaignLinks()
    past.expire_time.FromDatetime(datetime.now(UTC) - timedelta(minutes=1))
    soon.expire_time.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    for plan, field in (
        (CampaignLinks(is_unlimited=True, max_uses=2), "max_uses"),
        (past, "expire_time"),
        (CampaignLinks(source="a\nb"), "source"),
        (CampaignLinks(utm={"UTM": "x"}), 'utm["UTM"]'),
        (CampaignLinks(lifetime_days=0), "lifetime_days"),
    ):
        action = with_links(worker.club)
        action.issue.claim_links.CopyFrom(plan)
        request = pb.CreateCampaignRequest(display_name="Spring", action=action, meta=meta())
        refusal = await refused(worker.stub.CreateCampaign(request))
        assert (refusal.reason, set(refusal.fields)) == (
            "INVALID_FIELD",
            {f"action.issue.claim_links.{field}"},
        )
    campaign = await worker.loaded(2, action=with_links(worker.club, expire_time=soon.expire_time))
    start = pb.StartCampaignRequest(campaign_id=campaign.campaign_id, meta=meta())
    start.start_time.FromDatetime(datetime.now(UTC) + timedelta(hours=2))
    assert (await refused(worker.stub.StartCampaign(start))).reason == "INVALID_CAMPAIGN"
    start.ClearField("start_time")
    await worker.stub.StartCampaign(start)


async def test_who_is_erased_leaves_no_link(worker: CampaignWorker, links: ClubLinks) -> None:
    """Of a holder who is erased the link is ended and exported no more; others' stay."""
    campaign = await issued(worker, 3)
    results = await worker.campaigns.results(campaign)
    erased, *others = tokens([each.claim_url for each in results])
    wallet_pass = await worker.pass_of(results[0])
    await Desk(club=links.club).erase(wallet_pass)
    assert (await links.resolve(erased)).state == enrolment_pb2.CLAIM_STATE_REVOKED
    for token in others:
        assert (await links.resolve(token)).state == enrolment_pb2.CLAIM_STATE_OPEN
    assert len([each for each in await exported(worker, campaign) if each]) == 2
    statement = ERASED["claim_links"].statement
    assert statement is not None
    database, caller = links.club.tenant.service.services.database, links.club.tenant.caller
    async with database.transaction(caller) as tx:
        assert await run_scrub(tx, statement, [PassId(UUID(wallet_pass.pass_id))]) == 1
    request = claims_pb.GetClaimLinkRequest(link_id=wallet_pass.pass_id)
    assert (await links.staff.GetClaimLink(request)).link.state == ClaimLink.STATE_REVOKED


async def test_tokens_are_hmacs_under_a_tenants_key() -> None:
    """A token is the first 128 bits of HMAC-SHA-256 of the link's id under a key that is the same
    for a tenant alone, in URL-safe base 64; `repr` shows nothing of the key."""
    key, link_ids = bytes(range(32)), [new_uuid().bytes for _ in range(50)]
    made = ClaimTokens(key).of_many(TenantId(7), link_ids)
    of_tenant = hmac.new(key, (7).to_bytes(8, "big"), sha256).digest()
    assert made == [
        base64.urlsafe_b64encode(hmac.new(of_tenant, each, sha256).digest()[:16])
        .decode()
        .rstrip("=")
        for each in link_ids
    ]
    assert not {*made} & {*ClaimTokens(key).of_many(TenantId(8), link_ids)}
    assert not {*made} & {*ClaimTokens(key[::-1]).of_many(TenantId(7), link_ids)}
    assert ClaimTokens(key).of_many(TenantId(7), []) == []
    assert key.hex() not in repr(ClaimTokens(key))


async def test_plans_are_read_as_they_were_written() -> None:
    """A stored plan is read again as it was, and a campaign stored before there were any has
    none."""
    revision = PinnedRevision(
        template_id=TemplateId(UUID(int=1)), revision_id=RevisionId(2), number=3
    )
    end = datetime(2031, 5, 6, tzinfo=UTC)
    for plan in (
        None,
        LinkPlan(),
        LinkPlan(max_uses=None, lifetime_days=9, source="sms", utm={"utm_term": "x"}),
        LinkPlan(max_uses=3, expire_time=end),
    ):
        definition = Definition(action=IssueAction(revision=revision, links=plan))
        assert definition_from_json(definition_to_json(definition)) == definition
