"""CounterService."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from passmill.v1 import counter_service_pb2 as pb
from passmill.v1.chain_pb2 import Chain
from passmill.v1.counter_pb2 import CounterPolicy, Offer, Scanner, ScannerRight, Venue
from passmill_client.call import Call, ChangeOptions, Listing, ReadOptions, call_of, meta_of

_SERVICE = pb.DESCRIPTOR.services_by_name["CounterService"]


def create_venue(
    display_name: str, *, partner: str = "", **options: Unpack[ChangeOptions]
) -> Call[Venue]:
    """Makes a venue; venues of one partner have the same `partner`. Scope: admin."""
    request = pb.CreateVenueRequest(
        display_name=display_name, partner=partner, meta=meta_of(options)
    )
    return call_of(_SERVICE, request, pb.CreateVenueResponse, lambda answer: answer.venue, options)


def list_venues(
    *, partner: str = "", page_size: int = 500, **options: Unpack[ReadOptions]
) -> Listing[Venue]:
    """Lists venues, oldest first, all or those of a partner. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[Venue], str]]:
        return call_of(
            _SERVICE,
            pb.ListVenuesRequest(partner=partner, page_size=page_size, page_token=token),
            pb.ListVenuesResponse,
            lambda answer: (answer.venues, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def create_offer(
    offer: Offer, *, program_id: str, template_id: str = "", **options: Unpack[ChangeOptions]
) -> Call[Offer]:
    """Makes an offer to all passes of a program, or to those of one template, which then stand for
    it. Scope: admin."""
    request = pb.CreateOfferRequest(
        program_id=program_id, template_id=template_id, offer=offer, meta=meta_of(options)
    )
    return call_of(_SERVICE, request, pb.CreateOfferResponse, lambda answer: answer.offer, options)


def update_offer(
    offer_id: str,
    offer: Offer,
    fields: Iterable[str],
    *,
    etag: str = "",
    **options: Unpack[ChangeOptions],
) -> Call[Offer]:
    """Sets the fields named of an offer to what they are in `offer`. Scope: admin."""
    request = pb.UpdateOfferRequest(
        offer_id=offer_id,
        offer=offer,
        update_mask=FieldMask(paths=fields),
        etag=etag,
        meta=meta_of(options),
    )
    return call_of(_SERVICE, request, pb.UpdateOfferResponse, lambda answer: answer.offer, options)


def archive_offer(offer_id: str, **options: Unpack[ChangeOptions]) -> Call[Offer]:
    """Ends an offer for good. Scope: admin."""
    request = pb.ArchiveOfferRequest(offer_id=offer_id, meta=meta_of(options))
    return call_of(_SERVICE, request, pb.ArchiveOfferResponse, lambda answer: answer.offer, options)


def list_offers(
    *,
    program_id: str = "",
    include_archived: bool = False,
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[Offer]:
    """Lists offers, oldest first, all or those of a program. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[Offer], str]]:
        return call_of(
            _SERVICE,
            pb.ListOffersRequest(
                program_id=program_id,
                include_archived=include_archived,
                page_size=page_size,
                page_token=token,
            ),
            pb.ListOffersResponse,
            lambda answer: (answer.offers, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def create_scanner_code(
    venue_id: str,
    rights: Iterable[ScannerRight.ValueType] = (),
    **options: Unpack[ChangeOptions],
) -> Call[pb.CreateScannerCodeResponse]:
    """Makes a code with which one device becomes a scanner at a venue, within ten minutes.
    `rights`: `messages.SCANNER_RIGHT_…`, without which it only verifies; a till's are REDEEM,
    LOOK_UP and POST_BALANCES. Scope: admin."""
    request = pb.CreateScannerCodeRequest(venue_id=venue_id, rights=rights, meta=meta_of(options))
    return call_of(_SERVICE, request, pb.CreateScannerCodeResponse, lambda answer: answer, options)


def list_scanners(
    *,
    venue_id: str = "",
    include_revoked: bool = False,
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[Scanner]:
    """Lists scanners, oldest first, all or those of a venue. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[Scanner], str]]:
        return call_of(
            _SERVICE,
            pb.ListScannersRequest(
                venue_id=venue_id,
                include_revoked=include_revoked,
                page_size=page_size,
                page_token=token,
            ),
            pb.ListScannersResponse,
            lambda answer: (answer.scanners, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def revoke_scanner(scanner_id: str, **options: Unpack[ChangeOptions]) -> Call[Scanner]:
    """Ends a scanner and its API key for good. Scope: admin."""
    request = pb.RevokeScannerRequest(scanner_id=scanner_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.RevokeScannerResponse, lambda answer: answer.scanner, options
    )


def set_counter_policy(
    policy: CounterPolicy, *, program_id: str, **options: Unpack[ChangeOptions]
) -> Call[CounterPolicy]:
    """Says how passes of a program are treated at the counter. Scope: admin."""
    request = pb.SetCounterPolicyRequest(
        program_id=program_id, policy=policy, meta=meta_of(options)
    )
    return call_of(
        _SERVICE, request, pb.SetCounterPolicyResponse, lambda answer: answer.policy, options
    )


def get_counter_policy(program_id: str, **options: Unpack[ReadOptions]) -> Call[CounterPolicy]:
    """Gives what set_counter_policy said. Scope: read."""
    request = pb.GetCounterPolicyRequest(program_id=program_id)
    return call_of(
        _SERVICE, request, pb.GetCounterPolicyResponse, lambda answer: answer.policy, options
    )


def set_chain(
    chain: Chain,
    *,
    chain_id: str = "",
    template_id: str = "",
    etag: str = "",
    **options: Unpack[ChangeOptions],
) -> Call[Chain]:
    """Makes a chain for passes of a template, or gives the one named another name and other steps.
    Scope: admin."""
    request = pb.SetChainRequest(
        chain_id=chain_id, template_id=template_id, chain=chain, etag=etag, meta=meta_of(options)
    )
    return call_of(_SERVICE, request, pb.SetChainResponse, lambda answer: answer.chain, options)


def get_chain(chain_id: str, **options: Unpack[ReadOptions]) -> Call[Chain]:
    """Gives a chain as it is for passes that have not begun. Scope: read."""
    request = pb.GetChainRequest(chain_id=chain_id)
    return call_of(_SERVICE, request, pb.GetChainResponse, lambda answer: answer.chain, options)


def list_chains(
    *,
    program_id: str = "",
    include_archived: bool = False,
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[Chain]:
    """Lists chains, oldest first, all or those of a program. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[Chain], str]]:
        return call_of(
            _SERVICE,
            pb.ListChainsRequest(
                program_id=program_id,
                include_archived=include_archived,
                page_size=page_size,
                page_token=token,
            ),
            pb.ListChainsResponse,
            lambda answer: (answer.chains, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def archive_chain(chain_id: str, **options: Unpack[ChangeOptions]) -> Call[Chain]:
    """Ends a chain for good: no pass goes on in it. Scope: admin."""
    request = pb.ArchiveChainRequest(chain_id=chain_id, meta=meta_of(options))
    return call_of(_SERVICE, request, pb.ArchiveChainResponse, lambda answer: answer.chain, options)
