"""ScanService: what scanners and tills call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from google.protobuf.message import Message

from passmill.domain.callers import Scope
from passmill.domain.ids import TenantId
from passmill.domain.keyring import Keyring
from passmill.domain.offline_scans import ScanPlace
from passmill.domain.redemptions import RedemptionId
from passmill.rpc.convert_counter import (
    offer_to_proto,
    policy_to_proto,
    scanner_to_proto,
    venue_to_proto,
)
from passmill.rpc.convert_scan import (
    check_in_to_proto,
    check_out_to_proto,
    listed_scan_to_proto,
    offline_result_to_proto,
    offline_scan_from,
    redemption_to_proto,
    reversal_to_proto,
    scan_ref_from,
    use_to_proto,
    verified_to_proto,
)
from passmill.rpc.convert_time import time_from, timestamp
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.paging import Pages
from passmill.usecases.check_pass import CheckPass, WantedCheck
from passmill.usecases.enrol_scanner import EnrolledScanner, EnrolScanner
from passmill.usecases.list_offline_scans import ListOfflineScans, WantedScans
from passmill.usecases.list_redemptions import ListRedemptions, WantedRedemptions
from passmill.usecases.mutation import Answer, Mutation
from passmill.usecases.offline_bundle import GetOfflineBundle
from passmill.usecases.redeem_pass import RedeemPass, WantedRedemption
from passmill.usecases.reverse_redemption import ReverseRedemption
from passmill.usecases.scanner_config import ReadScannerConfig
from passmill.usecases.sync_offline_scans import SyncOfflineScans
from passmill.usecases.verify_pass import VerifyPass
from passmill.v1 import scan_service_pb2 as pb

_READ: Final = MethodRule(scope=Scope.REDEEM)
_CHANGE: Final = MethodRule(scope=Scope.REDEEM, mutates=True)
_REFRESH_SECONDS: Final = 300

SERVICE: Final = pb.DESCRIPTOR.services_by_name["ScanService"]
RULES: Final[Mapping[str, MethodRule]] = {
    "VerifyPass": _READ,
    "RedeemPass": _CHANGE,
    "CheckIn": _CHANGE,
    "CheckOut": _CHANGE,
    "ReverseRedemption": _CHANGE,
    "SyncOfflineScans": _READ,  # scans have numbers, by which they may be repeated
    "GetScannerConfig": _READ,
    "GetOfflineBundle": _READ,
    "ListRedemptions": _READ,
    "ListOfflineScans": _READ,
    "EnrolScanner": MethodRule(scope=None, mutates=True, is_public=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanUseCases:
    """What ScanService calls."""

    verify_pass: VerifyPass
    redeem_pass: RedeemPass
    check_pass: CheckPass
    reverse_redemption: ReverseRedemption
    sync_offline_scans: SyncOfflineScans
    read_scanner_config: ReadScannerConfig
    list_redemptions: ListRedemptions
    list_offline_scans: ListOfflineScans
    enrol_scanner: EnrolScanner
    get_offline_bundle: GetOfflineBundle


class ScanServicer:
    """Decodes, calls the use case, encodes."""

    def __init__(self, *, use_cases: ScanUseCases, keyring: Keyring, pages: Pages) -> None:
        self._use_cases = use_cases
        self._keyring = keyring
        self._pages = pages

    async def verify_pass(self, request: pb.VerifyPassRequest, call: Call) -> Message:
        """Says what a pass is worth."""
        verified = await self._use_cases.verify_pass(
            call.caller, scan_ref_from(request.ref), venue_id=request.venue_id
        )
        return verified_to_proto(verified)

    async def redeem_pass(self, request: pb.RedeemPassRequest, call: Call) -> Answer:
        """Redeems an offer."""
        return await self._use_cases.redeem_pass(
            call.mutation(request, use_to_proto),
            WantedRedemption(
                ref=scan_ref_from(request.ref),
                offer_id=request.offer_id,
                venue_id=request.venue_id,
                staff=request.staff,
                scan_time=time_from(request, "scan_time"),
            ),
        )

    async def check_in(self, request: pb.CheckInRequest, call: Call) -> Answer:
        """Checks a pass in."""
        return await self._use_cases.check_pass(
            call.mutation(request, check_in_to_proto), _wanted_check(request, is_out=False)
        )

    async def check_out(self, request: pb.CheckOutRequest, call: Call) -> Answer:
        """Checks a pass out."""
        return await self._use_cases.check_pass(
            call.mutation(request, check_out_to_proto), _wanted_check(request, is_out=True)
        )

    async def reverse_redemption(self, request: pb.ReverseRedemptionRequest, call: Call) -> Answer:
        """Takes a redemption back."""
        return await self._use_cases.reverse_redemption(
            call.mutation(request, reversal_to_proto),
            redemption_id=request.redemption_id,
            reason=request.reverse_reason,
        )

    async def sync_offline_scans(self, request: pb.SyncOfflineScansRequest, call: Call) -> Message:
        """Takes offline scans in."""
        scans = [
            offline_scan_from(
                each,
                path=f"scans[{at}]",
                fingerprint=self._keyring.request_fingerprint(
                    each.SerializeToString(deterministic=True)
                ),
            )
            for at, each in enumerate(request.scans)
        ]
        results = await self._use_cases.sync_offline_scans(
            call.caller, scans, venue_id=request.venue_id
        )
        return pb.SyncOfflineScansResponse(
            results=[offline_result_to_proto(each) for each in results]
        )

    async def get_scanner_config(self, request: pb.GetScannerConfigRequest, call: Call) -> Message:
        """Tells a scanner what it needs."""
        config = await self._use_cases.read_scanner_config(call.caller, venue_id=request.venue_id)
        desk = config.desk
        return pb.GetScannerConfigResponse(
            scanner=None if desk.scanner is None else scanner_to_proto(desk.scanner),
            venue=None if desk.venue is None else venue_to_proto(desk.venue),
            offers=[offer_to_proto(each) for each in config.offers],
            policies=[policy_to_proto(each) for each in config.policies],
            server_time=timestamp(config.time),
            refresh_seconds=_REFRESH_SECONDS,
        )

    async def get_offline_bundle(self, request: pb.GetOfflineBundleRequest, call: Call) -> Message:
        """Gives what offline checks need, if it is not at hand already."""
        bundle = await self._use_cases.get_offline_bundle(call.caller)
        message = pb.GetOfflineBundleResponse(
            tenant_id=str(call.caller.tenant_id),
            digest=bundle.digest,
            is_unchanged=request.digest == bundle.digest,
            create_time=timestamp(bundle.create_time),
            valid_until=timestamp(bundle.valid_until),
        )
        if not message.is_unchanged:
            message.voided = bundle.voided
            message.keys.extend(
                pb.BarcodePublicKey(key_id=each.key_id, public_key=each.public_key)
                for each in bundle.keys
            )
        return message

    async def list_redemptions(self, request: pb.ListRedemptionsRequest, call: Call) -> Message:
        """A page of redemptions, the newest first."""
        size = self._pages.size(request.page_size)
        key = self._pages.key(request, request.page_token)
        wanted = request.filter
        found = await self._use_cases.list_redemptions(
            call.caller,
            WantedRedemptions(
                pass_id=wanted.pass_id,
                offer_id=wanted.offer_id,
                venue_id=wanted.venue_id,
                scanner_id=wanted.scanner_id,
                created_from=time_from(wanted, "create_time_from", path="filter.create_time_from"),
                created_before=time_from(
                    wanted, "create_time_before", path="filter.create_time_before"
                ),
                only_standing=wanted.only_standing,
            ),
            before=RedemptionId(UUID(str(key[0]))) if key else None,
            at_most=size + 1,
        )
        page = found[:size]
        has_more = len(found) > size
        return pb.ListRedemptionsResponse(
            redemptions=[redemption_to_proto(each) for each in page],
            next_page_token=self._pages.token(request, [str(page[-1].redemption_id)])
            if has_more
            else "",
        )

    async def list_offline_scans(self, request: pb.ListOfflineScansRequest, call: Call) -> Message:
        """A page of offline scans, those told last first."""
        size = self._pages.size(request.page_size)
        key = self._pages.key(request, request.page_token)
        wanted = request.filter
        found = await self._use_cases.list_offline_scans(
            call.caller,
            WantedScans(
                only_conflicts=wanted.only_conflicts,
                venue_id=wanted.venue_id,
                scanner_id=wanted.scanner_id,
                created_from=time_from(wanted, "create_time_from", path="filter.create_time_from"),
                created_before=time_from(
                    wanted, "create_time_before", path="filter.create_time_before"
                ),
            ),
            before=_place_from(key) if key else None,
            at_most=size + 1,
        )
        page = found[:size]
        has_more = len(found) > size
        return pb.ListOfflineScansResponse(
            scans=[listed_scan_to_proto(each) for each in page],
            next_page_token=self._pages.token(request, _place_key(page[-1].scan.place))
            if has_more
            else "",
        )

    async def enrol_scanner(self, request: pb.EnrolScannerRequest, call: Call) -> Answer:
        """Makes a scanner of a device that has a code."""

        def encode(enrolled: EnrolledScanner) -> Message:
            return pb.EnrolScannerResponse(
                scanner=scanner_to_proto(enrolled.scanner),
                api_key=enrolled.api_key,
                venue=venue_to_proto(enrolled.venue),
            )

        def within(tenant_id: TenantId) -> Mutation[EnrolledScanner]:
            return call.within(tenant_id).mutation(request, encode, holds_secret=True)

        return await self._use_cases.enrol_scanner(
            call.caller, within, code=request.code, display_name=request.display_name
        )


def _place_key(place: ScanPlace) -> list[str | int]:
    return [place.create_time.isoformat(), place.origin, place.local_sequence]


def _place_from(key: Sequence[str | int]) -> ScanPlace:
    create_time, origin, local_sequence = key
    return ScanPlace(
        create_time=datetime.fromisoformat(str(create_time)),
        origin=str(origin),
        local_sequence=int(local_sequence),
    )


def _wanted_check(request: pb.CheckInRequest | pb.CheckOutRequest, *, is_out: bool) -> WantedCheck:
    return WantedCheck(
        ref=scan_ref_from(request.ref),
        is_out=is_out,
        venue_id=request.venue_id,
        staff=request.staff,
        scan_time=time_from(request, "scan_time"),
    )
