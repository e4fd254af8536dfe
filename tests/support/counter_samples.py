"""A request that each method of the counter takes, and the ids it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.v1 import counter_pb2
from passmill.v1 import counter_service_pb2 as counter_service
from passmill.v1 import scan_service_pb2 as scans
from passmill.v1.chain_pb2 import Chain, ChainStep, StepCondition
from passmill.v1.counter_pb2 import Offer, OfferMark
from passmill.v1.scan_pb2 import ScanRef
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.counters import open_counter
from tests.support.service import Club
from tests.support.small_card import value


async def counter_ids(club: Club, issued: Pass) -> dict[str, str]:
    """A venue, an offer, a scanner, a redemption of a pass and a chain, by the fields that take
    them."""
    counter = await open_counter(club)
    offer = await counter.add_offer(max_uses=0)
    enrolled = await counter.enrol(await counter.scanner_code())
    redeemed = await counter.till.redeem(issued, offer)
    chain = await counter.set_chain(await counter.step(""))
    return {
        "chain_id": chain.chain_id,
        "venue_id": counter.venue.venue_id,
        "offer_id": offer.offer_id,
        "scanner_id": enrolled.scanner.scanner_id,
        "redemption_id": redeemed.redemption.redemption_id,
    }


async def counter_requests(
    club: Club, ids: Mapping[str, str], new: Callable[[], Any]
) -> list[Message]:
    """The requests. `new`: gives each change a request id of its own."""
    counter = await open_counter(club)
    code = await counter.scanner_code()
    now = Timestamp()
    now.FromDatetime(datetime.now(UTC))
    program: dict[str, Any] = {"program_id": club.program_id}
    offer: dict[str, Any] = {"offer_id": ids["offer_id"]}
    scanned: dict[str, Any] = {
        "ref": ScanRef(pass_id=ids["pass_id"]),
        "venue_id": ids["venue_id"],
    }
    mark = OfferMark(uses_slot="points", used_up_values={"note": value("used")})
    policy = counter_pb2.CounterPolicy(photo_slot="offers", attention_slots=["note"])
    rights = [counter_pb2.SCANNER_RIGHT_REDEEM]
    return [
        counter_service.CreateVenueRequest(display_name="x", partner="taxi", meta=new()),
        counter_service.ListVenuesRequest(),
        counter_service.CreateOfferRequest(
            **program,
            template_id=club.template_id,
            offer=Offer(display_name="x", tiers=["Gold"], mark=mark),
            meta=new(),
        ),
        counter_service.UpdateOfferRequest(
            **offer,
            offer=Offer(attention="x"),
            update_mask={"paths": ["attention"]},  # type: ignore[arg-type]
            meta=new(),
        ),
        counter_service.ArchiveOfferRequest(**offer, meta=new()),
        counter_service.ListOffersRequest(),
        counter_service.CreateScannerCodeRequest(
            venue_id=ids["venue_id"], rights=rights, meta=new()
        ),
        counter_service.ListScannersRequest(),
        counter_service.RevokeScannerRequest(scanner_id=ids["scanner_id"], meta=new()),
        counter_service.SetCounterPolicyRequest(**program, policy=policy, meta=new()),
        counter_service.GetCounterPolicyRequest(**program),
        counter_service.SetChainRequest(
            template_id=club.template_id,
            chain=Chain(
                display_name="x",
                steps=[
                    ChainStep(
                        display_name="x",
                        partner="taxi",
                        offer_id=(await counter.add_offer()).offer_id,
                        condition=StepCondition(from_minute=540, time_zone="Europe/Vienna"),
                        next_values={"note": value("x")},
                    )
                ],
            ),
            meta=new(),
        ),
        counter_service.GetChainRequest(chain_id=ids["chain_id"]),
        counter_service.ListChainsRequest(),
        counter_service.ArchiveChainRequest(chain_id=ids["chain_id"], meta=new()),
        scans.VerifyPassRequest(**scanned),
        scans.RedeemPassRequest(**scanned, **offer, staff="Bo", meta=new()),
        scans.CheckInRequest(**scanned, staff="Bo", meta=new()),
        scans.CheckOutRequest(**scanned, staff="Bo", meta=new()),
        scans.ReverseRedemptionRequest(redemption_id=ids["redemption_id"], meta=new()),
        scans.SyncOfflineScansRequest(
            scans=[
                scans.OfflineScan(
                    local_sequence=1,
                    ref=scanned["ref"],
                    redeem=scans.OfflineScan.Redeem(**offer),
                    scan_time=now,
                )
            ],
            venue_id=ids["venue_id"],
        ),
        scans.GetScannerConfigRequest(venue_id=ids["venue_id"]),
        scans.GetOfflineBundleRequest(),
        scans.ListRedemptionsRequest(),
        scans.ListOfflineScansRequest(),
        scans.EnrolScannerRequest(code=code, display_name="Gate", meta=new()),
    ]
