"""The worker's side of claims: killed in between, tried again, given up; and nobody there."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from prometheus_client import CollectorRegistry

from passmill.compose_worker import open_worker
from passmill.domain.claims import ClaimId
from passmill.domain.ids import TenantId
from passmill.store.claims import enqueue_claim
from passmill.v1 import admin_service_pb2 as admin_pb2
from passmill.v1 import enrolment_pb2 as claims_pb2
from passmill.v1 import enrolment_service_pb2 as pb
from passmill.v1 import template_service_pb2
from tests.edge.rig import open_client, open_edge_on
from tests.support.claims import CLAIMED, NAME, ClubLinks, new_key, open_claim_worker
from tests.support.postgres import Database
from tests.support.refusals import refusal_of
from tests.support.service import Service, meta, open_service

pytestmark = pytest.mark.asyncio(loop_scope="function")


@asynccontextmanager
async def club_links(database: Database) -> AsyncIterator[tuple[Service, ClubLinks]]:
    """A service of this test's own, where no other test's worker takes its jobs."""
    async with open_service(database.url) as service:
        yield service, ClubLinks(club=await service.add_club())


async def test_nobody_there_is_told_and_the_same_claim_goes_on(database: Database) -> None:
    """Without a worker a claim is told to come again, has taken its use and is kept; as soon as
    there is a worker the same key gives the pass, and no second use is taken."""
    async with club_links(database) as (service, links):
        created = await links.create(max_uses=2)
        key = new_key()
        request = pb.ClaimPassRequest(token=created.token, claim_key=key)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await links.public.ClaimPass(request, timeout=1.5)
        refused = refusal_of(caught.value)
        assert refused.reason == "UNAVAILABLE"
        assert refused.retry_after is not None
        assert (await links.resolve(created.token, key)).state == CLAIMED
        async with open_claim_worker(service):
            assert (await links.claim(created.token, key)).state == CLAIMED
        assert (await links.get(created)).uses == 1


async def test_the_page_waits_too(database: Database) -> None:
    """Without a worker the form leads to a page that says to wait and looks again by itself; as
    soon as there is a worker the pass is ready, for the browser that claimed first and lost
    nothing."""
    async with (
        club_links(database) as (service, links),
        open_edge_on(service.settings, request_seconds=1.5) as edge,
        open_client(edge.port) as phone,
        open_client(edge.port) as other,
    ):
        created = await links.create(fields=[NAME])
        path = f"/p/{created.token}"
        assert (await phone.get(path)).status_code == 200
        sent = await phone.post(path, data={"name": "Zoë"})
        assert (sent.status_code, sent.headers["location"]) == (303, created.token)
        waiting = await phone.get(path)
        assert (waiting.status_code, waiting.headers["refresh"]) == (200, "3")
        assert "One moment" in waiting.text
        assert "already been claimed" in (await other.get(path)).text
        async with open_claim_worker(service):
            for _ in range(20):  # as the page's button does, until it has been issued
                again = await phone.post(path)
                assert again.status_code == 303
                page = await phone.get(path)
                if "Your pass is ready" in page.text:
                    break
            else:
                pytest.fail(page.text)
        assert (await links.get(created)).uses == 1


async def test_a_worker_killed_after_issuing_issues_no_second(database: Database) -> None:
    """A worker that dies between the issue and its note of it leaves the job; whoever takes it
    finds the pass that there is."""
    async with club_links(database) as (service, links):
        created = await links.create()
        key = new_key()
        async with open_claim_worker(service):
            first = await links.claim(created.token, key)
        await forget_the_note(service, links)
        async with open_claim_worker(service):
            again = await links.claim(created.token, key)
        assert again == first
        assert await links.club.tenant.count("passes") == 1


async def forget_the_note(service: Service, links: ClubLinks) -> ClaimId:
    """The one claim as it is when its worker dies between the issue and its note, and its job."""
    tenant = links.club.tenant
    [row] = await tenant.fetch(
        "UPDATE claims SET pass_id = NULL, issue_time = NULL,"
        ' answers = \'["", "", "", {}, []]\' RETURNING claim_id'
    )
    claim_id = ClaimId(row["claim_id"])
    async with service.services.database.transaction(tenant.caller) as tx:
        await enqueue_claim(tx, claim_id)
    return claim_id


async def test_what_was_issued_stays_whatever_becomes_of_the_template(database: Database) -> None:
    """A worker dies after issuing, then the template is archived: the next one notes the pass, and
    neither is the claim forgotten nor its use given back."""
    async with club_links(database) as (service, links):
        created = await links.create()
        key = new_key()
        async with open_claim_worker(service):
            first = await links.claim(created.token, key)
        await forget_the_note(service, links)
        request = template_service_pb2.ArchiveTemplateRequest(
            template_id=links.club.template_id, meta=meta()
        )
        await links.club.tenant.member.templates.ArchiveTemplate(request)
        async with open_claim_worker(service):
            again = await links.claim(created.token, key)
        assert again == first
        assert (await links.get(created)).uses == 1
        assert await links.club.tenant.count("passes") == 1


@pytest.mark.parametrize("is_issued", [True, False], ids=["issued", "not issued"])
async def test_a_claim_given_up_is_issued_or_never(database: Database, is_issued: bool) -> None:
    """Giving up a claim whose pass was issued gives it that pass. One without is forgotten, and a
    worker that wakes up late with it issues nothing any more; nobody gets a second pass of a link
    for one either way."""
    async with club_links(database) as (service, links):
        created = await links.create()
        key = new_key()
        if is_issued:
            async with open_claim_worker(service):
                await links.claim(created.token, key)
            claim_id = await forget_the_note(service, links)
        else:
            request = pb.ClaimPassRequest(token=created.token, claim_key=key)
            with pytest.raises(grpc.aio.AioRpcError):
                await links.public.ClaimPass(request, timeout=1.5)
            [row] = await links.club.tenant.fetch("SELECT claim_id FROM claims")
            claim_id = ClaimId(row["claim_id"])
        rows = await links.club.tenant.fetch("SELECT * FROM claims")
        tenant_id = TenantId(int(links.club.tenant.tenant_id))
        async with open_worker(service.settings, registry=CollectorRegistry()) as services:
            issue_claim = services.claims.issue_claim
            await issue_claim.give_up(tenant_id, claim_id)
            assert await links.club.tenant.count("claims") == is_issued
            if not is_issued:  # as a worker still sees it that read it before
                await links.club.tenant.fetch(
                    "INSERT INTO claims SELECT (jsonb_populate_record(NULL::claims, $1)).*",
                    json.dumps(dict(rows[0]), default=_as_text),
                )
            await issue_claim(tenant_id, claim_id)
        assert await links.club.tenant.count("passes") == is_issued
        assert (await links.get(created)).uses == is_issued
        resolved = await links.resolve(created.token, key)
        assert bool(resolved.reference_id) == is_issued


def _as_text(value: object) -> str:
    return f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)


async def test_what_cannot_be_issued_is_forgotten_and_its_use_given_back(
    database: Database,
) -> None:
    """A claim taken in just before its tenant's signing identity is gone is given up at once: the
    claimer hears that it cannot be had, and the link is as if nobody had come."""
    async with club_links(database) as (service, links):
        created = await links.create(max_uses=2)
        await links.club.tenant.fetch("UPDATE signing_identities SET is_active = false")
        async with open_claim_worker(service):
            answer = await links.claim(created.token)
        assert answer.state == claims_pb2.CLAIM_STATE_UNAVAILABLE
        assert (await links.get(created)).uses == 0
        assert await links.club.tenant.count("claims") == 0
        await links.club.tenant.fetch("UPDATE signing_identities SET is_active = true")
        async with open_claim_worker(service):
            assert (await links.claim(created.token)).state == CLAIMED


async def test_a_suspended_tenants_links_do_not_work(database: Database) -> None:
    """Suspended, the links give nothing, as page and as call; afterwards they do again."""
    async with (
        club_links(database) as (service, links),
        open_edge_on(service.settings) as edge,
        open_client(edge.port) as phone,
    ):
        created = await links.create()
        states = {
            admin_pb2.Tenant.STATE_SUSPENDED: 404,
            admin_pb2.Tenant.STATE_ACTIVE: 200,
        }
        for state, status in states.items():
            await service.operator.SetTenantState(
                admin_pb2.SetTenantStateRequest(
                    tenant_id=links.club.tenant.tenant_id, state=state, meta=meta()
                )
            )
            assert (await phone.get(f"/p/{created.token}")).status_code == status


async def test_giving_up_twice_gives_one_use_back(database: Database) -> None:
    """A claim given up, or issued, by one worker is not given up by another: no use is made up."""
    async with club_links(database) as (service, links):
        created = await links.create(max_uses=1)
        async with open_claim_worker(service):
            await links.claim(created.token)
        [row] = await links.club.tenant.fetch("SELECT claim_id FROM claims")
        tenant_id = TenantId(int(links.club.tenant.tenant_id))
        async with open_worker(service.settings, registry=CollectorRegistry()) as services:
            for _ in range(2):
                await services.claims.issue_claim.give_up(tenant_id, ClaimId(row["claim_id"]))
        assert (await links.get(created)).uses == 1
