"""What API processes, edges and workers do about claim links, wired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette

from passmill import compose_passes
from passmill.compose_frame import Frame
from passmill.domain.callers import Caller
from passmill.domain.claims import ClaimPersons
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId
from passmill.domain.rates import Rates
from passmill.edge.claim_pages import ClaimPages, ClaimUseCases
from passmill.edge.claim_view import ClaimView
from passmill.edge.page_refusals import PageRefusals
from passmill.edge.pages import make_pages
from passmill.jobs.worker import Worker
from passmill.rpc import enrolment_service
from passmill.rpc.connect_door import ConnectDoor
from passmill.rpc.status import RequestValidator
from passmill.settings import EdgeDoor, Settings
from passmill.store.claims import ClaimPayload
from passmill.store.database import Database
from passmill.store.jobs import JobKind, open_job_queue
from passmill.usecases.claim_branding import ClaimBranding
from passmill.usecases.claim_pace import ClaimPace
from passmill.usecases.claim_pass import ClaimPass
from passmill.usecases.create_claim_links import CreateClaimLinks
from passmill.usecases.find_pass import PassRef
from passmill.usecases.issue_claim import IssueClaim
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.present_link import PresentLink
from passmill.usecases.recover_claim import RecoverClaim
from passmill.usecases.resolve_claim import ResolveClaim
from passmill.usecases.revoke_claim_link import RevokeClaimLink
from passmill.usecases.serve_pass import ServePass

# Somebody waits for each, and each is done within some ten milliseconds; those that come together
# are issued together.
_AT_ONCE: Final = 16
# Of a request's time, to say in time that it was too short.
_ANSWER_SECONDS: Final = 0.3
_HOUR: Final = 3600.0
_CALLS: Final = f"/{enrolment_service.SERVICE.full_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimServices:
    """Claims whose passes are issued, and who serves their jobs."""

    issue_claim: IssueClaim
    worker: Worker[ClaimPayload]


def public_enrolment(
    *,
    database: Database,
    load_revision: LoadRevision,
    clock: Clock,
    edge_key: bytes,
    read_bundle: enrolment_service.BundleReader,
    place: EdgeDoor | None = None,
) -> enrolment_service.PublicEnrolmentUseCases:
    """What people reach without a credential, on whatever stands behind it. `place`: None where
    who calls is not who claims."""
    present_link = PresentLink(database=database)
    branding = ClaimBranding(database=database, load_revision=load_revision)
    persons = ClaimPersons(edge_key)
    return enrolment_service.PublicEnrolmentUseCases(
        resolve_claim=ResolveClaim(
            database=database, present_link=present_link, branding=branding, clock=clock
        ),
        claim_pass=ClaimPass(
            database=database,
            present_link=present_link,
            branding=branding,
            persons=persons,
            pace=_pace(place),
            clock=clock,
        ),
        recover_claim=RecoverClaim(
            database=database,
            present_link=present_link,
            persons=persons,
            pace=_pace(place),
            clock=clock,
        ),
        branding=branding,
        read_bundle=read_bundle,
    )


def _pace(place: EdgeDoor | None) -> ClaimPace:
    if place is None or not place.claims_per_hour:
        return ClaimPace(None)
    return ClaimPace(Rates(per_second=place.claims_per_hour / _HOUR, burst=place.claims_burst))


def enrolment_servicer(frame: Frame) -> enrolment_service.EnrolmentServicer:
    """EnrolmentService on a frame."""
    get_pass_bundle = compose_passes.get_pass_bundle(frame)

    async def read_bundle(caller: Caller, pass_id: PassId) -> bytes:
        return (await get_pass_bundle.one(caller, PassRef(pass_id=str(pass_id)))).content

    database, clock, mutator = frame.database, frame.clock, frame.mutator
    return enrolment_service.EnrolmentServicer(
        public=public_enrolment(
            database=database,
            load_revision=frame.load_revision,
            clock=clock,
            edge_key=frame.keyring.edge_key,
            read_bundle=read_bundle,
        ),
        create_claim_links=CreateClaimLinks(
            database=database,
            mutator=mutator,
            load_revision=frame.load_revision,
            keyring=frame.keyring,
            clock=clock,
        ),
        revoke_claim_link=RevokeClaimLink(mutator=mutator, clock=clock),
        database=database,
        pages=frame.pages,
        clock=clock,
        public_url=frame.settings.web_service_url,
    )


def edge_enrolment(
    *,
    database: Database,
    load_revision: LoadRevision,
    clock: Clock,
    edge_key: bytes,
    serve_pass: ServePass,
    place: EdgeDoor,
) -> enrolment_service.PublicEnrolmentUseCases:
    """The same where there is no private key."""

    async def read_bundle(caller: Caller, pass_id: PassId) -> bytes:
        return (await serve_pass.bundle_of(caller, pass_id)).content

    return public_enrolment(
        database=database,
        load_revision=load_revision,
        clock=clock,
        edge_key=edge_key,
        read_bundle=read_bundle,
        place=place,
    )


def claim_rooms(
    settings: Settings,
    use_cases: enrolment_service.PublicEnrolmentUseCases,
    *,
    serve_pass: ServePass,
    view: ClaimView,
    is_encrypted: bool,
    is_ready: Callable[[], bool],
) -> Starlette:
    """What the edge has for people: claim pages, and the calls of scripts."""
    place = settings.edge
    seconds = max(place.request_seconds - _ANSWER_SECONDS, place.request_seconds / 2)
    calls = ConnectDoor(validator=RequestValidator(), call_seconds=seconds).application(
        enrolment_service.SERVICE,
        enrolment_service.PublicEnrolment(use_cases=use_cases),
        enrolment_service.RULES,
        allowed_origins=place.allowed_origins,
    )
    return make_pages(
        is_ready=is_ready,
        claim_pages=ClaimPages(
            use_cases=ClaimUseCases(
                resolve_claim=use_cases.resolve_claim,
                claim_pass=use_cases.claim_pass,
                recover_claim=use_cases.recover_claim,
                serve_pass=serve_pass,
            ),
            view=view,
            public_url=settings.web_service_url,
            is_encrypted=is_encrypted,
            request_seconds=seconds,
        ),
        calls={_CALLS: calls},
    )


def page_refusals(settings: Settings, *, view: ClaimView) -> PageRefusals:
    """How people and scripts hear what the edge does not serve."""
    return PageRefusals(view=view, calls=[_CALLS], allowed_origins=settings.edge.allowed_origins)


@asynccontextmanager
async def open_claims(frame: Frame) -> AsyncIterator[ClaimServices]:
    """The worker's part of claims; nothing runs yet."""
    async with asyncio.TaskGroup() as tasks:
        issue_claim = _issue_claim(frame, tasks)
        yield ClaimServices(issue_claim=issue_claim, worker=_worker(frame, issue_claim))


def _issue_claim(frame: Frame, tasks: asyncio.TaskGroup) -> IssueClaim:
    return IssueClaim(
        database=frame.database,
        mutator=frame.mutator,
        load_revision=frame.load_revision,
        issue_passes=compose_passes.issue_passes(frame, tasks),
        edit_pass=compose_passes.edit_pass(frame),
        clock=frame.clock,
    )


def _worker(frame: Frame, issue: IssueClaim) -> Worker[ClaimPayload]:
    """Issues the passes of claims apart from all other jobs, so that none waits behind a campaign's
    shards."""

    async def serve(payload: ClaimPayload) -> None:
        await issue(payload.tenant_id, payload.claim_id)

    async def give_up(payload: ClaimPayload) -> bool:
        return await issue.give_up(payload.tenant_id, payload.claim_id)

    return Worker(
        open_queue=lambda: open_job_queue(frame.settings.database_url.get_secret_value()),
        decode=ClaimPayload.decode,
        handlers={JobKind.CLAIM: serve},
        give_up=give_up,
        metrics=frame.campaign_metrics,
        concurrent_jobs=_AT_ONCE,
        batch_size=_AT_ONCE // 2,
        heartbeat_seconds=frame.settings.worker.heartbeat_seconds,
    )
