"""Claim links of an erased holder that nobody has claimed by: found by whom they are for."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from passmill.compose_worker import open_worker
from passmill.domain.claim_forms import EMAIL_SYSTEM, ClaimAnswers, answers_to_json
from passmill.domain.claims import ClaimId, KnownHolder, known_from_json
from passmill.usecases.mutation import Answer
from passmill.v1.enrolment_pb2 import (
    CLAIM_STATE_OPEN,
    CLAIM_STATE_REVOKED,
    ClaimLink,
    CreatedClaimLink,
)
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassDraft
from tests.support.claims import PHONE, ClubLinks
from tests.support.holders import Desk, customer
from tests.support.service import Club, Service
from tests.support.small_card import draft

pytestmark = pytest.mark.asyncio(loop_scope="session")

NUMBER, ADDRESS = "+41446681842", "Ada@Example.com"


def for_somebody(name: str = "Ada", *, phone: str = "", **external_ids: str) -> PassDraft:
    """What is known of whom a link is for."""
    made = draft(name, phone=phone, note="likes tea")
    made.holder.external_ids.update(external_ids)
    return made


async def known(links: ClubLinks, created: CreatedClaimLink) -> KnownHolder:
    """What the database still knows by a link."""
    [row] = await links.club.tenant.fetch(
        "SELECT draft FROM claim_links WHERE link_id = $1", UUID(created.link.link_id)
    )
    return known_from_json(row["draft"])


async def test_links_for_an_erased_holder_are_emptied(rowing_club: Club) -> None:
    """Links to passes that name a number, an address or an id of the holder's, linked to the holder
    or on one of the passes, know nothing any more and are revoked, also those for many uses; so is
    one that gives a pass of the holder's. Somebody else's, and one by name alone, are as before."""
    links, desk = ClubLinks(club=rowing_club), Desk(club=rowing_club)
    emails = {EMAIL_SYSTEM: ADDRESS.lower()}
    held = await rowing_club.issue(for_somebody(phone=NUMBER, crm="4711", **emails))
    await desk.link(held, customer("till-1"))
    of_holder = [
        await links.create(known=for_somebody(phone=NUMBER), fields=[PHONE]),
        await links.create(known=for_somebody(**{EMAIL_SYSTEM: ADDRESS}), max_uses=100),
        await links.create(known=for_somebody(crm="4711")),
        await links.create(known=for_somebody(till="till-1")),
    ]
    others = [
        await links.create(known=for_somebody()),
        await links.create(known=for_somebody("Grace", phone="+41446681843", crm="4712")),
        await links.create(known=for_somebody("Grace", other="4711")),
    ]
    before = [await known(links, each) for each in others]
    await desk.erase(held)
    for each in of_holder:
        assert await known(links, each) == KnownHolder()
        assert (await links.resolve(each.token)).state == CLAIM_STATE_REVOKED
    assert [await known(links, each) for each in others] == before
    for each in others:
        assert (await links.resolve(each.token)).state == CLAIM_STATE_OPEN
    keys = "SELECT DISTINCT link_id FROM claim_link_keys"
    kept = {str(row["link_id"]) for row in await rowing_club.tenant.fetch(keys)}
    assert kept == {each.link.link_id for each in others[1:]}


async def claim_by(club: Club, link: ClaimLink, name: str) -> UUID:
    """A claim that was written down, of which no worker has been told."""
    claim_id = uuid4()
    await club.tenant.fetch(
        "INSERT INTO claims (tenant_id, claim_id, link_id, key_hash, answers, create_time)"
        " VALUES ($1, $2, $3, $4, $5, now())",
        int(club.tenant.tenant_id),
        claim_id,
        UUID(link.link_id),
        name.encode(),
        answers_to_json(ClaimAnswers(name=name)),
    )
    return claim_id


async def test_a_claim_under_way_is_dropped(rowing_club: Club) -> None:
    """What was filled in by such a link, and is no pass yet, goes with it; a claim by another
    person's link does not."""
    links, desk = ClubLinks(club=rowing_club), Desk(club=rowing_club)
    held = await rowing_club.issue(for_somebody(crm="4711"))
    for number in ("4711", "4712"):
        created = await links.create(known=for_somebody(crm=number))
        await claim_by(rowing_club, created.link, number)
    await desk.erase(held)
    left = await rowing_club.tenant.fetch("SELECT answers FROM claims")
    assert ["4712" in row["answers"] for row in left] == [True]


@pytest.mark.parametrize("is_found_later", [True, False], ids=["killed", "alive"])
async def test_a_pass_issued_meanwhile_is_taken_back(
    service: Service, rowing_club: Club, is_found_later: bool
) -> None:
    """When the holder is erased while a worker issues the pass of such a claim, that is voided and
    emptied, also if the worker died before it could note what it had issued."""
    links, desk = ClubLinks(club=rowing_club), Desk(club=rowing_club)
    held = await rowing_club.issue(for_somebody(crm="4711"))
    created = await links.create(known=for_somebody(crm="4711"))
    claim_id = ClaimId(await claim_by(rowing_club, created.link, "4711"))
    tenant_id = rowing_club.tenant.caller.tenant_id
    async with open_worker(service.settings, registry=CollectorRegistry()) as worker:
        use_case: Any = worker.claims.issue_claim
        issue = use_case._issue_passes

        async def issue_and_erase(*arguments: Any, **more: Any) -> Answer:
            answer: Answer = await issue(*arguments, **more)
            await desk.erase(held)
            if is_found_later:
                raise RuntimeError("killed")
            return answer

        use_case._issue_passes = issue_and_erase
        if is_found_later:
            with pytest.raises(RuntimeError):
                await use_case(tenant_id, claim_id)
        await use_case(tenant_id, claim_id)
    rows = await rowing_club.tenant.fetch("SELECT pass_id FROM passes")
    assert len(rows) == 2
    for each in rows:
        found = await rowing_club.get(Pass(pass_id=str(each["pass_id"])))
        assert (found.state, found.holder) == (Pass.STATE_VOIDED, Holder())
    assert await rowing_club.tenant.count("claims") == 0
    assert "claim.completed" not in {
        row["kind"] for row in await rowing_club.tenant.fetch("SELECT kind FROM outbox")
    }
