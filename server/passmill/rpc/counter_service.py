"""CounterService: venues, offers, scanners, policies and chains of the caller's tenant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from passmill.domain.callers import Caller, Scope
from passmill.domain.ids import ProgramId, parse_uuid
from passmill.domain.offers import ChainId, OfferId
from passmill.domain.scanners import ScannerId
from passmill.domain.venues import VenueId
from passmill.errors import not_found
from passmill.rpc.convert_chain import chain_draft_from, chain_to_proto
from passmill.rpc.convert_counter import (
    offer_draft_from,
    offer_fields_from,
    offer_to_proto,
    policy_from,
    policy_to_proto,
    rights_from,
    scanner_to_proto,
    venue_to_proto,
)
from passmill.rpc.convert_program import program_id_from
from passmill.rpc.convert_time import timestamp
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.paging import Pages
from passmill.store.chains import get_chain, list_chains
from passmill.store.counter_policies import get_policy
from passmill.store.database import Database
from passmill.store.offers import list_offers
from passmill.store.programs import get_program
from passmill.store.scanners import list_scanners
from passmill.store.venues import get_venue, list_venues
from passmill.usecases.create_offer import CreateOffer
from passmill.usecases.create_scanner_code import CreateScannerCode
from passmill.usecases.create_venue import CreateVenue
from passmill.usecases.mutation import Answer
from passmill.usecases.revoke_scanner import RevokeScanner
from passmill.usecases.set_chain import SetChain
from passmill.usecases.set_counter_policy import SetCounterPolicy
from passmill.usecases.update_offer import UpdateOffer
from passmill.v1 import counter_service_pb2 as pb

_READ: Final = MethodRule(scope=Scope.READ)
_CHANGE: Final = MethodRule(scope=Scope.ADMIN, mutates=True)

SERVICE: Final = pb.DESCRIPTOR.services_by_name["CounterService"]
RULES: Final[Mapping[str, MethodRule]] = {
    "CreateVenue": _CHANGE,
    "ListVenues": _READ,
    "CreateOffer": _CHANGE,
    "UpdateOffer": _CHANGE,
    "ArchiveOffer": _CHANGE,
    "ListOffers": _READ,
    "CreateScannerCode": _CHANGE,
    "ListScanners": _READ,
    "RevokeScanner": _CHANGE,
    "SetCounterPolicy": _CHANGE,
    "GetCounterPolicy": _READ,
    "SetChain": _CHANGE,
    "GetChain": _READ,
    "ListChains": _READ,
    "ArchiveChain": _CHANGE,
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterUseCases:
    """What CounterService calls."""

    create_venue: CreateVenue
    create_offer: CreateOffer
    update_offer: UpdateOffer
    create_scanner_code: CreateScannerCode
    revoke_scanner: RevokeScanner
    set_counter_policy: SetCounterPolicy
    set_chain: SetChain


class CounterServicer:
    """Decodes, calls the use case, encodes."""

    def __init__(self, *, use_cases: CounterUseCases, database: Database, pages: Pages) -> None:
        self._use_cases = use_cases
        self._database = database
        self._pages = pages

    async def create_venue(self, request: pb.CreateVenueRequest, call: Call) -> Answer:
        """Makes a venue."""
        return await self._use_cases.create_venue(
            call.mutation(
                request, lambda venue: pb.CreateVenueResponse(venue=venue_to_proto(venue))
            ),
            display_name=request.display_name,
            partner=request.partner,
        )

    async def list_venues(self, request: pb.ListVenuesRequest, call: Call) -> Message:
        """A page of venues, oldest first."""
        size, after = self._page(request)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            found = await list_venues(
                tx,
                partner=request.partner,
                after=None if after is None else VenueId(after),
                at_most=size + 1,
            )
        page, token = self._cut(request, found, size, lambda each: each.venue_id)
        return pb.ListVenuesResponse(
            venues=[venue_to_proto(each) for each in page], next_page_token=token
        )

    async def create_offer(self, request: pb.CreateOfferRequest, call: Call) -> Answer:
        """Makes an offer."""
        return await self._use_cases.create_offer(
            call.mutation(
                request, lambda offer: pb.CreateOfferResponse(offer=offer_to_proto(offer))
            ),
            program_id=request.program_id,
            template_id=request.template_id,
            draft=offer_draft_from(request.offer),
        )

    async def update_offer(self, request: pb.UpdateOfferRequest, call: Call) -> Answer:
        """Changes fields of an offer."""
        return await self._use_cases.update_offer(
            call.mutation(
                request, lambda offer: pb.UpdateOfferResponse(offer=offer_to_proto(offer))
            ),
            offer_id=request.offer_id,
            draft=offer_draft_from(request.offer),
            fields=offer_fields_from(request.update_mask),
            etag=request.etag,
        )

    async def archive_offer(self, request: pb.ArchiveOfferRequest, call: Call) -> Answer:
        """Ends an offer."""
        return await self._use_cases.update_offer.archive(
            call.mutation(
                request, lambda offer: pb.ArchiveOfferResponse(offer=offer_to_proto(offer))
            ),
            offer_id=request.offer_id,
        )

    async def list_offers(self, request: pb.ListOffersRequest, call: Call) -> Message:
        """A page of offers, oldest first."""
        size, after = self._page(request)
        program_id = await self._program(call.caller, request.program_id)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            found = await list_offers(
                tx,
                program_id=program_id,
                include_archived=request.include_archived,
                after=None if after is None else OfferId(after),
                at_most=size + 1,
            )
        page, token = self._cut(request, found, size, lambda each: each.offer_id)
        return pb.ListOffersResponse(
            offers=[offer_to_proto(each) for each in page], next_page_token=token
        )

    async def create_scanner_code(self, request: pb.CreateScannerCodeRequest, call: Call) -> Answer:
        """Makes a code for a scanner."""
        mutation = call.mutation(
            request,
            lambda code: pb.CreateScannerCodeResponse(
                code=code.text, expire_time=timestamp(code.expire_time)
            ),
            holds_secret=True,
        )
        return await self._use_cases.create_scanner_code(
            mutation, venue_id=request.venue_id, rights=rights_from(request.rights)
        )

    async def list_scanners(self, request: pb.ListScannersRequest, call: Call) -> Message:
        """A page of scanners, oldest first."""
        size, after = self._page(request)
        venue_id = parse_uuid(request.venue_id)
        if venue_id is None and request.venue_id:
            raise not_found("venue")
        async with self._database.transaction(call.caller, read_only=True) as tx:
            if venue_id is not None:
                await get_venue(tx, VenueId(venue_id))
            found = await list_scanners(
                tx,
                venue_id=None if venue_id is None else VenueId(venue_id),
                include_revoked=request.include_revoked,
                after=None if after is None else ScannerId(after),
                at_most=size + 1,
            )
        page, token = self._cut(request, found, size, lambda each: each.scanner_id)
        return pb.ListScannersResponse(
            scanners=[scanner_to_proto(each) for each in page], next_page_token=token
        )

    async def revoke_scanner(self, request: pb.RevokeScannerRequest, call: Call) -> Answer:
        """Ends a scanner."""
        return await self._use_cases.revoke_scanner(
            call.mutation(
                request,
                lambda scanner: pb.RevokeScannerResponse(scanner=scanner_to_proto(scanner)),
            ),
            scanner_id=request.scanner_id,
        )

    async def set_counter_policy(self, request: pb.SetCounterPolicyRequest, call: Call) -> Answer:
        """Sets a program's policy."""
        return await self._use_cases.set_counter_policy(
            call.mutation(
                request, lambda policy: pb.SetCounterPolicyResponse(policy=policy_to_proto(policy))
            ),
            policy_from(request.program_id, request.policy),
        )

    async def get_counter_policy(
        self, request: pb.GetCounterPolicyRequest, call: Call
    ) -> pb.GetCounterPolicyResponse:
        """A program's policy."""
        program_id = program_id_from(request.program_id)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            await get_program(tx, program_id)
            policy = await get_policy(tx, program_id)
        return pb.GetCounterPolicyResponse(policy=policy_to_proto(policy))

    async def set_chain(self, request: pb.SetChainRequest, call: Call) -> Answer:
        """Makes or changes a chain."""
        return await self._use_cases.set_chain(
            call.mutation(request, lambda chain: pb.SetChainResponse(chain=chain_to_proto(chain))),
            chain_id=request.chain_id,
            template_id=request.template_id,
            draft=chain_draft_from(request.chain),
            etag=request.etag,
        )

    async def get_chain(self, request: pb.GetChainRequest, call: Call) -> pb.GetChainResponse:
        """A chain."""
        chain_id = parse_uuid(request.chain_id)
        if chain_id is None:
            raise not_found("chain")
        async with self._database.statement(call.caller) as tx:
            chain = await get_chain(tx, ChainId(chain_id))
        return pb.GetChainResponse(chain=chain_to_proto(chain))

    async def list_chains(self, request: pb.ListChainsRequest, call: Call) -> Message:
        """A page of chains, oldest first."""
        size, after = self._page(request)
        program_id = await self._program(call.caller, request.program_id)
        async with self._database.statement(call.caller) as tx:
            found = await list_chains(
                tx,
                program_id=program_id,
                include_archived=request.include_archived,
                after=None if after is None else ChainId(after),
                at_most=size + 1,
            )
        page, token = self._cut(request, found, size, lambda each: each.chain_id)
        return pb.ListChainsResponse(
            chains=[chain_to_proto(each) for each in page], next_page_token=token
        )

    async def archive_chain(self, request: pb.ArchiveChainRequest, call: Call) -> Answer:
        """Ends a chain."""
        return await self._use_cases.set_chain.archive(
            call.mutation(
                request, lambda chain: pb.ArchiveChainResponse(chain=chain_to_proto(chain))
            ),
            chain_id=request.chain_id,
        )

    async def _program(self, caller: Caller, text: str) -> ProgramId | None:
        if not text:
            return None
        program_id = program_id_from(text)
        async with self._database.transaction(caller, read_only=True) as tx:
            await get_program(tx, program_id)
        return program_id

    def _page(
        self,
        request: pb.ListVenuesRequest
        | pb.ListOffersRequest
        | pb.ListScannersRequest
        | pb.ListChainsRequest,
    ) -> tuple[int, UUID | None]:
        key = self._pages.key(request, request.page_token)
        return self._pages.size(request.page_size), UUID(str(key[0])) if key else None

    def _cut(
        self, request: Message, found: Sequence[T], size: int, id_of: Callable[[T], UUID]
    ) -> tuple[Sequence[T], str]:
        page = found[:size]
        has_more = len(found) > size  # one more than asked for tells
        return page, self._pages.token(request, [str(id_of(page[-1]))]) if has_more else ""
