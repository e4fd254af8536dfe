"""EnrolmentService: claim links, over gRPC; what needs no credential also over Connect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from google.protobuf.message import Message

from passmill.domain.callers import Caller, Scope
from passmill.domain.claims import ClaimLink, ClaimLinkId
from passmill.domain.clock import Clock
from passmill.domain.ids import CampaignId, PassId, parse_uuid
from passmill.errors import not_found
from passmill.rpc.convert_enrolment import (
    CLAIM_STATES,
    answers_from_proto,
    branding_to_proto,
    created_link_to_proto,
    field_to_proto,
    link_id_from,
    link_to_proto,
    recovery_to_proto,
    wanted_link_from,
)
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.paging import Pages
from passmill.store.campaigns import get_campaign
from passmill.store.claim_links import get_link, list_links
from passmill.store.database import Database
from passmill.usecases.claim_branding import ClaimBranding
from passmill.usecases.claim_pass import ClaimPass
from passmill.usecases.create_claim_links import CreateClaimLinks, CreatedLink
from passmill.usecases.mutation import Answer
from passmill.usecases.recover_claim import RecoverClaim
from passmill.usecases.resolve_claim import ResolveClaim
from passmill.usecases.revoke_claim_link import RevokeClaimLink
from passmill.v1 import enrolment_service_pb2 as pb
from passmill.v1.enrolment_pb2 import CreatedClaimLink

SERVICE: Final = pb.DESCRIPTOR.services_by_name["EnrolmentService"]
RULES: Mapping[str, MethodRule] = {
    "CreateClaimLink": MethodRule(scope=Scope.ISSUE, mutates=True),
    "BatchCreateClaimLinks": MethodRule(scope=Scope.ISSUE, mutates=True),
    "GetClaimLink": MethodRule(scope=Scope.READ),
    "ListClaimLinks": MethodRule(scope=Scope.READ),
    "RevokeClaimLink": MethodRule(scope=Scope.ISSUE, mutates=True),
    # The claim key is what makes a claim the same one again: no request id besides.
    "ResolveClaim": MethodRule(scope=None, is_public=True),
    "ClaimPass": MethodRule(scope=None, is_public=True),
    "RequestClaimRecovery": MethodRule(scope=None, is_public=True),
}

# The .pkpass of a pass that its claimer may have.
BundleReader: TypeAlias = Callable[[Caller, PassId], Awaitable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicEnrolmentUseCases:
    """What people without a credential reach."""

    resolve_claim: ResolveClaim
    claim_pass: ClaimPass
    recover_claim: RecoverClaim
    branding: ClaimBranding
    read_bundle: BundleReader


class PublicEnrolment:
    """The methods without a credential: at the gRPC door and at the edge alike."""

    def __init__(self, *, use_cases: PublicEnrolmentUseCases) -> None:
        self._public = use_cases

    async def resolve_claim(self, request: pb.ResolveClaimRequest, call: Call) -> Message:
        """What a link gives."""
        resolved = await self._public.resolve_claim(
            request.token, request.claim_key, deadline=call.caller.deadline
        )
        logo = await self._public.branding.logo(resolved.caller, resolved.branding)
        return pb.ResolveClaimResponse(
            state=CLAIM_STATES[resolved.state],
            branding=branding_to_proto(resolved.branding, logo),
            fields=[field_to_proto(each) for each in resolved.fields],
            recovery=recovery_to_proto(resolved.recovery),
            reference_id=resolved.reference_id,
        )

    async def claim_pass(self, request: pb.ClaimPassRequest, call: Call) -> Message:
        """Claims a pass."""
        claimed = await self._public.claim_pass(
            request.token,
            request.claim_key,
            answers_from_proto(request.answers),
            deadline=call.caller.deadline,
            client=call.client,
        )
        bundle = b""
        if claimed.pass_id is not None:
            bundle = await self._public.read_bundle(claimed.caller, claimed.pass_id)
        return pb.ClaimPassResponse(
            state=CLAIM_STATES[claimed.state],
            reference_id=claimed.reference_id,
            bundle=bundle,
            recovery=recovery_to_proto(claimed.recovery),
        )

    async def request_claim_recovery(
        self, request: pb.RequestClaimRecoveryRequest, call: Call
    ) -> Message:
        """Has a pass sent again."""
        recovered = await self._public.recover_claim(
            request.token,
            answers_from_proto(request.answers),
            deadline=call.caller.deadline,
            client=call.client,
        )
        return pb.RequestClaimRecoveryResponse(recovery=recovery_to_proto(recovered.recovery))


class EnrolmentServicer(PublicEnrolment):
    """Decodes, calls one use case, encodes. `public_url`: where links lead, None where nobody is
    reached from outside."""

    def __init__(
        self,
        *,
        public: PublicEnrolmentUseCases,
        create_claim_links: CreateClaimLinks,
        revoke_claim_link: RevokeClaimLink,
        database: Database,
        pages: Pages,
        clock: Clock,
        public_url: str | None,
    ) -> None:
        super().__init__(use_cases=public)
        self._create_claim_links = create_claim_links
        self._revoke_claim_link = revoke_claim_link
        self._database = database
        self._pages = pages
        self._clock = clock
        self._public_url = public_url

    async def create_claim_link(self, request: pb.CreateClaimLinkRequest, call: Call) -> Answer:
        """Makes a link."""

        def encode(created: Sequence[CreatedLink]) -> Message:
            return pb.CreateClaimLinkResponse(created=self._created(created[0]))

        return await self._create_claim_links(
            call.mutation(request, encode, holds_secret=True),
            [wanted_link_from(request.draft, path="draft")],
            path=lambda _: "draft",
        )

    async def batch_create_claim_links(
        self, request: pb.BatchCreateClaimLinksRequest, call: Call
    ) -> Answer:
        """Makes several."""

        def encode(created: Sequence[CreatedLink]) -> Message:
            made = [self._created(each) for each in created]
            return pb.BatchCreateClaimLinksResponse(created=made)

        def path(index: int) -> str:
            return f"drafts[{index}]"

        return await self._create_claim_links(
            call.mutation(request, encode, holds_secret=True),
            [wanted_link_from(each, path=path(at)) for at, each in enumerate(request.drafts)],
            path=path,
        )

    async def get_claim_link(self, request: pb.GetClaimLinkRequest, call: Call) -> Message:
        """One link."""
        link_id = link_id_from(request.link_id)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            link = await get_link(tx, link_id)
        return pb.GetClaimLinkResponse(link=link_to_proto(link, now=self._clock.now()))

    async def list_claim_links(self, request: pb.ListClaimLinksRequest, call: Call) -> Message:
        """A page of links, oldest first."""
        size = self._pages.size(request.page_size)
        key = self._pages.key(request, request.page_token)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            campaign_id = None
            if request.campaign_id:
                parsed = parse_uuid(request.campaign_id)
                if parsed is None:
                    raise not_found("campaign")
                campaign_id = CampaignId(parsed)
                await get_campaign(tx, campaign_id)
            found = await list_links(
                tx,
                campaign_id=campaign_id,
                source=request.source,
                after=ClaimLinkId(UUID(str(key[0]))) if key else None,
                at_most=size + 1,
            )
        page, now = found[:size], self._clock.now()
        return pb.ListClaimLinksResponse(
            links=[link_to_proto(link, now=now) for link in page],
            next_page_token=self._pages.token(request, [str(page[-1].link_id)])
            if len(found) > size
            else "",
        )

    async def revoke_claim_link(self, request: pb.RevokeClaimLinkRequest, call: Call) -> Answer:
        """Ends a link."""

        def encode(link: ClaimLink) -> Message:
            return pb.RevokeClaimLinkResponse(link=link_to_proto(link, now=self._clock.now()))

        return await self._revoke_claim_link(
            call.mutation(request, encode), link_id=link_id_from(request.link_id)
        )

    def _created(self, created: CreatedLink) -> CreatedClaimLink:
        return created_link_to_proto(created, now=self._clock.now(), public_url=self._public_url)
