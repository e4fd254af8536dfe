"""A club's counter: venues, offers, scanners, and what staff do there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from passmill.v1 import counter_pb2
from passmill.v1 import counter_service_pb2 as counter_service
from passmill.v1 import scan_service_pb2 as pb
from passmill.v1.chain_pb2 import Chain, ChainStep
from passmill.v1.counter_pb2 import Offer, Venue
from passmill.v1.counter_service_pb2_grpc import CounterServiceStub
from passmill.v1.scan_pb2 import ScannedPass, ScanRef
from passmill.v1.scan_service_pb2_grpc import ScanServiceStub
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.channels import CALL_SECONDS, keyed
from tests.support.service import Club, meta

if TYPE_CHECKING:  # these exist for type checkers only
    from passmill.v1.counter_service_pb2_grpc import CounterServiceAsyncStub
    from passmill.v1.scan_service_pb2_grpc import ScanServiceAsyncStub

ALL_RIGHTS = tuple(counter_pb2.ScannerRight.values()[1:])


def shown(wallet_pass: Pass) -> ScanRef:
    """What a scanner reads from the pass of a small card: its serial number."""
    return ScanRef(barcode=wallet_pass.serial_number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A club with a venue."""

    club: Club
    venue: Venue

    @property
    def manage(self) -> CounterServiceAsyncStub:
        """CounterService, as a key with every scope sees it."""
        tenant = self.club.tenant
        return CounterServiceStub(keyed(tenant.service.api, tenant.member.api_key))

    @property
    def till(self) -> Till:
        """A till of the club's own key, at the venue."""
        return self.till_of(self.club.tenant.member.api_key)

    def till_of(self, api_key: str, venue_id: str | None = None) -> Till:
        """A till with a key of its own."""
        stub: ScanServiceAsyncStub = ScanServiceStub(keyed(self.club.tenant.service.api, api_key))
        return Till(
            scans=stub,
            api_key=api_key,
            venue_id=self.venue.venue_id if venue_id is None else venue_id,
        )

    async def add_venue(self, name: str = "Boathouse", partner: str = "") -> Venue:
        """Another venue."""
        request = counter_service.CreateVenueRequest(
            display_name=name, partner=partner, meta=meta()
        )
        return (await self.manage.CreateVenue(request)).venue

    async def add_offer(self, *, is_of_template: bool = True, **fields: Any) -> Offer:
        """An offer to the club's passes: a coupon of the template unless told."""
        request = counter_service.CreateOfferRequest(
            program_id=self.club.program_id,
            template_id=self.club.template_id if is_of_template else "",
            offer=Offer(**{"display_name": "Free coffee", **fields}),
            meta=meta(),
        )
        return (await self.manage.CreateOffer(request)).offer

    async def step(self, partner: str, **fields: Any) -> ChainStep:
        """A step of a chain with an offer of its own."""
        offer = await self.add_offer(display_name=f"At {partner}")
        return ChainStep(
            **{
                "display_name": f"Step of {partner}",
                "partner": partner,
                "offer_id": offer.offer_id,
                **fields,
            }
        )

    async def set_chain(self, *steps: ChainStep, chain_id: str = "", etag: str = "") -> Chain:
        """A chain of the club's passes, made or changed."""
        request = counter_service.SetChainRequest(
            chain_id=chain_id,
            template_id="" if chain_id else self.club.template_id,
            chain=Chain(display_name="City tour", steps=steps),
            etag=etag,
            meta=meta(),
        )
        return (await self.manage.SetChain(request)).chain

    async def scanner(
        self,
        rights: Sequence[counter_pb2.ScannerRight.ValueType] = ALL_RIGHTS,
        venue: Venue | None = None,
    ) -> Till:
        """A device enrolled as a scanner."""
        code = await self.scanner_code(rights, venue)
        enrolled = await self.enrol(code)
        return self.till_of(enrolled.api_key, venue_id="")

    async def scanner_code(
        self,
        rights: Sequence[counter_pb2.ScannerRight.ValueType] = ALL_RIGHTS,
        venue: Venue | None = None,
    ) -> str:
        """A code for a scanner."""
        request = counter_service.CreateScannerCodeRequest(
            venue_id=(venue or self.venue).venue_id, rights=rights, meta=meta()
        )
        return (await self.manage.CreateScannerCode(request)).code

    async def enrol(self, code: str) -> pb.EnrolScannerResponse:
        """Brings a code, without any key."""
        stub: ScanServiceAsyncStub = ScanServiceStub(self.club.tenant.service.api)
        request = pb.EnrolScannerRequest(code=code, display_name="Gate 1", meta=meta())
        return await stub.EnrolScanner(request, timeout=CALL_SECONDS)

    async def set_policy(self, **fields: Any) -> None:
        """Sets the program's policy."""
        request = counter_service.SetCounterPolicyRequest(
            program_id=self.club.program_id,
            policy=counter_pb2.CounterPolicy(**fields),
            meta=meta(),
        )
        await self.manage.SetCounterPolicy(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Till:
    """Somebody at the counter. `venue_id`: what it says of itself; a scanner says nothing."""

    scans: ScanServiceAsyncStub
    api_key: str
    venue_id: str

    async def verify(self, ref: ScanRef) -> pb.VerifyPassResponse:
        """What passes are worth."""
        return await self.scans.VerifyPass(pb.VerifyPassRequest(ref=ref, venue_id=self.venue_id))

    async def look(self, wallet_pass: Pass) -> ScannedPass:
        """What a pass is worth."""
        [found] = (await self.verify(shown(wallet_pass))).passes
        return found

    def redeem_request(
        self, wallet_pass: Pass, offer: Offer, **fields: Any
    ) -> pb.RedeemPassRequest:
        """A request to redeem."""
        return pb.RedeemPassRequest(
            **{
                "ref": shown(wallet_pass),
                "offer_id": offer.offer_id,
                "venue_id": self.venue_id,
                "meta": meta(),
                **fields,
            }
        )

    async def redeem(self, wallet_pass: Pass, offer: Offer, **fields: Any) -> pb.RedeemPassResponse:
        """Redeems an offer."""
        return await self.scans.RedeemPass(self.redeem_request(wallet_pass, offer, **fields))

    async def reverse(self, redemption_id: str, why: str = "") -> pb.ReverseRedemptionResponse:
        """Takes a redemption back."""
        request = pb.ReverseRedemptionRequest(
            redemption_id=redemption_id, reverse_reason=why, meta=meta()
        )
        return await self.scans.ReverseRedemption(request)

    async def check_in(self, wallet_pass: Pass, **fields: Any) -> pb.CheckInResponse:
        """Checks in."""
        request = pb.CheckInRequest(
            **{"ref": shown(wallet_pass), "venue_id": self.venue_id, "meta": meta(), **fields}
        )
        return await self.scans.CheckIn(request)

    async def check_out(self, wallet_pass: Pass, **fields: Any) -> pb.CheckOutResponse:
        """Checks out."""
        request = pb.CheckOutRequest(
            **{"ref": shown(wallet_pass), "venue_id": self.venue_id, "meta": meta(), **fields}
        )
        return await self.scans.CheckOut(request)


async def open_counter(club: Club) -> Counter:
    """A venue of a club."""
    request = counter_service.CreateVenueRequest(display_name="Café", meta=meta())
    stub: CounterServiceAsyncStub = CounterServiceStub(
        keyed(club.tenant.service.api, club.tenant.member.api_key)
    )
    return Counter(club=club, venue=(await stub.CreateVenue(request)).venue)
