"""Claim links of a club, the worker that issues their passes, and who claims them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from prometheus_client import CollectorRegistry

from passmill.compose_worker import open_worker
from passmill.v1 import enrolment_pb2 as claims_pb2
from passmill.v1 import enrolment_service_pb2 as pb
from passmill.v1.enrolment_pb2 import ClaimAnswers, ClaimField, ClaimTemplate
from passmill.v1.enrolment_service_pb2_grpc import EnrolmentServiceStub
from passmill.v1.wallet_pass_pb2 import PassDraft
from tests.support.channels import keyed
from tests.support.service import Club, Service, meta
from tests.support.small_card import draft

if TYPE_CHECKING:
    from passmill.v1.enrolment_service_pb2_grpc import EnrolmentServiceAsyncStub

NAME: Final = ClaimField(kind=ClaimField.KIND_NAME, is_required=True)
PHONE: Final = ClaimField(kind=ClaimField.KIND_PHONE, is_required=True)
EMAIL: Final = ClaimField(kind=ClaimField.KIND_EMAIL)
NOTE: Final = ClaimField(kind=ClaimField.KIND_SLOT, name="note", label="Favourite drink")
NEWS: Final = ClaimField(
    kind=ClaimField.KIND_CONSENT, name="newsletter_2026", label="Send me the newsletter"
)
CLAIMED: Final = claims_pb2.CLAIM_STATE_CLAIMED


@dataclass(frozen=True, slots=True, kw_only=True)
class ClubLinks:
    """A club as its claim links see it."""

    club: Club

    @property
    def staff(self) -> EnrolmentServiceAsyncStub:
        """As a key with every scope sees it."""
        service = self.club.tenant.service
        return EnrolmentServiceStub(keyed(service.api, self.club.tenant.member.api_key))

    @property
    def public(self) -> EnrolmentServiceAsyncStub:
        """As somebody without a key sees it."""
        return EnrolmentServiceStub(self.club.tenant.service.api)

    def wanted(
        self,
        *,
        known: PassDraft | None = None,
        fields: Iterable[ClaimField] = (),
        revision: int = 0,
        **more: Any,
    ) -> claims_pb2.ClaimLinkDraft:
        """A link to passes of the club's template, once unless told otherwise."""
        template = ClaimTemplate(
            template_id=self.club.template_id,
            revision=revision,
            draft=known or draft(),
            fields=fields,
        )
        return claims_pb2.ClaimLinkDraft(template=template, **more)

    async def create(self, **more: Any) -> claims_pb2.CreatedClaimLink:
        """Makes a link (`wanted`)."""
        return await self.create_from(self.wanted(**more))

    async def create_from(self, wanted: claims_pb2.ClaimLinkDraft) -> claims_pb2.CreatedClaimLink:
        """Makes this link."""
        request = pb.CreateClaimLinkRequest(draft=wanted, meta=meta())
        return (await self.staff.CreateClaimLink(request)).created

    async def get(self, created: claims_pb2.CreatedClaimLink) -> claims_pb2.ClaimLink:
        """The link as it is now."""
        request = pb.GetClaimLinkRequest(link_id=created.link.link_id)
        return (await self.staff.GetClaimLink(request)).link

    async def resolve(self, token: str, claim_key: str = "") -> pb.ResolveClaimResponse:
        """What the link gives."""
        request = pb.ResolveClaimRequest(token=token, claim_key=claim_key)
        return await self.public.ResolveClaim(request, timeout=20)

    async def claim(
        self, token: str, claim_key: str | None = None, **answers: Any
    ) -> pb.ClaimPassResponse:
        """Claims, with a key of its own unless one is given."""
        request = pb.ClaimPassRequest(
            token=token, claim_key=claim_key or new_key(), answers=ClaimAnswers(**answers)
        )
        return await self.public.ClaimPass(request, timeout=20)

    async def recover(self, token: str, **answers: Any) -> pb.RequestClaimRecoveryResponse:
        """Asks for the pass to be sent again."""
        request = pb.RequestClaimRecoveryRequest(token=token, answers=ClaimAnswers(**answers))
        return await self.public.RequestClaimRecovery(request, timeout=20)

    async def events(self, kind: str) -> list[asyncpg.Record]:
        """The outbox's rows of a kind, in order."""
        return await self.club.tenant.fetch(
            "SELECT pass_ids, detail FROM outbox WHERE kind = $1 ORDER BY event_id", kind
        )


def new_key() -> str:
    """A claim key that nobody has."""
    return secrets.token_urlsafe(16)


@asynccontextmanager
async def open_claim_worker(service: Service) -> AsyncIterator[None]:
    """A worker that serves claims and nothing else until the block ends."""
    stop = asyncio.Event()
    async with (
        open_worker(service.settings, registry=CollectorRegistry()) as services,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(services.claims.worker.run(stop))
        try:
            yield
        finally:
            stop.set()
