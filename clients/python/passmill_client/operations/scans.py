"""ScanService."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Unpack

from passmill.v1 import scan_service_pb2 as pb
from passmill.v1.scan_pb2 import Redemption, ScanRef
from passmill_client.call import Call, ChangeOptions, Listing, ReadOptions, call_of, meta_of
from passmill_client.values import to_timestamp

_SERVICE = pb.DESCRIPTOR.services_by_name["ScanService"]


def verify_pass(
    ref: ScanRef, *, venue_id: str = "", **options: Unpack[ReadOptions]
) -> Call[pb.VerifyPassResponse]:
    """Says what a pass is worth, here and now, and changes nothing. `venue_id`: only with a key
    that is no scanner's. Scope: redeem."""
    request = pb.VerifyPassRequest(ref=ref, venue_id=venue_id)
    return call_of(_SERVICE, request, pb.VerifyPassResponse, lambda answer: answer, options)


def redeem_pass(
    ref: ScanRef,
    offer_id: str,
    *,
    venue_id: str = "",
    staff: str = "",
    scan_time: datetime | None = None,
    **options: Unpack[ChangeOptions],
) -> Call[pb.RedeemPassResponse]:
    """Redeems an offer, as often as it may be and not once more. A refusal is an answer too: look
    at its outcome. Scope: redeem."""
    request = pb.RedeemPassRequest(
        ref=ref,
        offer_id=offer_id,
        venue_id=venue_id,
        staff=staff,
        scan_time=to_timestamp(scan_time),
        meta=meta_of(options),
    )
    return call_of(_SERVICE, request, pb.RedeemPassResponse, lambda answer: answer, options)


def check_in(
    ref: ScanRef,
    *,
    venue_id: str = "",
    staff: str = "",
    scan_time: datetime | None = None,
    **options: Unpack[ChangeOptions],
) -> Call[pb.CheckInResponse]:
    """Checks a pass in at a venue, where it is not yet. Scope: redeem."""
    request = pb.CheckInRequest(
        ref=ref,
        venue_id=venue_id,
        staff=staff,
        scan_time=to_timestamp(scan_time),
        meta=meta_of(options),
    )
    return call_of(_SERVICE, request, pb.CheckInResponse, lambda answer: answer, options)


def check_out(
    ref: ScanRef,
    *,
    venue_id: str = "",
    staff: str = "",
    scan_time: datetime | None = None,
    **options: Unpack[ChangeOptions],
) -> Call[pb.CheckOutResponse]:
    """Checks a pass out of a venue, where it is. Scope: redeem."""
    request = pb.CheckOutRequest(
        ref=ref,
        venue_id=venue_id,
        staff=staff,
        scan_time=to_timestamp(scan_time),
        meta=meta_of(options),
    )
    return call_of(_SERVICE, request, pb.CheckOutResponse, lambda answer: answer, options)


def reverse_redemption(
    redemption_id: str, *, reason: str = "", **options: Unpack[ChangeOptions]
) -> Call[pb.ReverseRedemptionResponse]:
    """Takes a redemption back: the use is free again, and the pass looks as before. Scope:
    redeem."""
    request = pb.ReverseRedemptionRequest(
        redemption_id=redemption_id, reverse_reason=reason, meta=meta_of(options)
    )
    return call_of(_SERVICE, request, pb.ReverseRedemptionResponse, lambda answer: answer, options)


def sync_offline_scans(
    scans: Iterable[pb.OfflineScan], *, venue_id: str = "", **options: Unpack[ReadOptions]
) -> Call[Sequence[pb.OfflineScanResult]]:
    """Tells what a scanner did while it was offline, up to 500 scans; what became of each, in their
    order. A scan is done once, however often it is sent. Scope: redeem."""
    request = pb.SyncOfflineScansRequest(scans=scans, venue_id=venue_id)
    return call_of(
        _SERVICE, request, pb.SyncOfflineScansResponse, lambda answer: answer.results, options
    )


def get_scanner_config(
    *, venue_id: str = "", **options: Unpack[ReadOptions]
) -> Call[pb.GetScannerConfigResponse]:
    """Tells a scanner what it is and what it needs. Scope: redeem."""
    request = pb.GetScannerConfigRequest(venue_id=venue_id)
    return call_of(_SERVICE, request, pb.GetScannerConfigResponse, lambda answer: answer, options)


def get_offline_bundle(
    *, digest: bytes = b"", **options: Unpack[ReadOptions]
) -> Call[pb.GetOfflineBundleResponse]:
    """Gives what it takes to check signed barcodes offline. `digest`: of the bundle at hand, which
    is not sent again when nothing is new. Scope: redeem."""
    request = pb.GetOfflineBundleRequest(digest=digest)
    return call_of(_SERVICE, request, pb.GetOfflineBundleResponse, lambda answer: answer, options)


def list_redemptions(
    *,
    pass_id: str = "",
    offer_id: str = "",
    venue_id: str = "",
    scanner_id: str = "",
    create_time_from: datetime | None = None,
    create_time_before: datetime | None = None,
    only_standing: bool = False,
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[Redemption]:
    """Lists redemptions, the newest first; a scanner those at its venue. Scope: redeem."""
    wanted = pb.ListRedemptionsRequest.Filter(
        pass_id=pass_id,
        offer_id=offer_id,
        venue_id=venue_id,
        scanner_id=scanner_id,
        create_time_from=to_timestamp(create_time_from),
        create_time_before=to_timestamp(create_time_before),
        only_standing=only_standing,
    )

    def page(token: str) -> Call[tuple[Sequence[Redemption], str]]:
        return call_of(
            _SERVICE,
            pb.ListRedemptionsRequest(filter=wanted, page_size=page_size, page_token=token),
            pb.ListRedemptionsResponse,
            lambda answer: (answer.redemptions, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def list_offline_scans(
    *,
    only_conflicts: bool = False,
    venue_id: str = "",
    scanner_id: str = "",
    create_time_from: datetime | None = None,
    create_time_before: datetime | None = None,
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[pb.KeptOfflineScan]:
    """Lists what scanners and tills did while they were offline, and what became of it, those told
    last first; to a scanner those at its venue. Scope: redeem."""
    wanted = pb.ListOfflineScansRequest.Filter(
        only_conflicts=only_conflicts,
        venue_id=venue_id,
        scanner_id=scanner_id,
        create_time_from=to_timestamp(create_time_from),
        create_time_before=to_timestamp(create_time_before),
    )

    def page(token: str) -> Call[tuple[Sequence[pb.KeptOfflineScan], str]]:
        return call_of(
            _SERVICE,
            pb.ListOfflineScansRequest(filter=wanted, page_size=page_size, page_token=token),
            pb.ListOfflineScansResponse,
            lambda answer: (answer.scans, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def enrol_scanner(
    code: str, display_name: str, **options: Unpack[ChangeOptions]
) -> Call[pb.EnrolScannerResponse]:
    """Makes a scanner of the device that has the code. Needs no credential."""
    request = pb.EnrolScannerRequest(code=code, display_name=display_name, meta=meta_of(options))
    return call_of(_SERVICE, request, pb.EnrolScannerResponse, lambda answer: answer, options)
