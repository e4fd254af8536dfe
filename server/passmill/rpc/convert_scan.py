"""Between proto/passmill/v1/scan.proto and what is done at the counter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from passmill.domain.ledger import Balance
from passmill.domain.offline_scans import OfflineAction, OfflineOutcome, OfflineResult
from passmill.domain.redemptions import CheckIn, Redemption
from passmill.domain.reference_ids import format_reference_id
from passmill.domain.scanners import TILL_ORIGIN, Desk, ScannerRight
from passmill.domain.scans import RefusalReason, ScanState, Standing
from passmill.domain.values import Value
from passmill.errors import invalid_field
from passmill.rpc.convert_counter import amount_to_proto, demands_to_proto
from passmill.rpc.convert_time import time_from, timestamp
from passmill.usecases.check_pass import CheckResult
from passmill.usecases.judge_passes import JudgedPass
from passmill.usecases.list_offline_scans import ListedScan
from passmill.usecases.resolve_scan import ScanRef
from passmill.usecases.reverse_redemption import ReversalResult
from passmill.usecases.sync_offline_scans import OfflineScan
from passmill.usecases.use_offer import UseResult
from passmill.usecases.verify_pass import Verified
from passmill.v1 import scan_pb2 as pb
from passmill.v1 import scan_service_pb2 as service_pb

_STATES: Final[Mapping[ScanState, pb.ScanState.ValueType]] = {
    state: pb.ScanState.Value(f"SCAN_STATE_{state.name}") for state in ScanState
}
_REASONS: Final[Mapping[RefusalReason, pb.RefusalReason.ValueType]] = {
    reason: pb.RefusalReason.Value(f"REFUSAL_REASON_{reason.name}") for reason in RefusalReason
}
_REASON_OF: Final = {number: reason for reason, number in _REASONS.items()}
_OUTCOMES: Final[Mapping[OfflineOutcome, service_pb.OfflineScanResult.Outcome.ValueType]] = {
    outcome: service_pb.OfflineScanResult.Outcome.Value(f"OUTCOME_{outcome.name}")
    for outcome in OfflineOutcome
}
_ACTIONS: Final[Mapping[OfflineAction, service_pb.KeptOfflineScan.Action.ValueType]] = {
    action: service_pb.KeptOfflineScan.Action.Value(f"ACTION_{action.name}")
    for action in OfflineAction
}


def scan_ref_from(message: pb.ScanRef) -> ScanRef:
    """A reference as sent."""
    match message.WhichOneof("ref"):
        case "barcode":
            return ScanRef(barcode=message.barcode)
        case "serial_number":
            return ScanRef(serial_number=message.serial_number)
        case "reference_id":
            return ScanRef(reference_id=message.reference_id)
        case "phone":
            return ScanRef(phone=message.phone)
        case _:
            return ScanRef(pass_id=message.pass_id)


def verified_to_proto(verified: Verified) -> service_pb.VerifyPassResponse:
    """What a pass is worth, for the wire."""
    return service_pb.VerifyPassResponse(
        state=_STATES[verified.state],
        reason=_reason(verified.reason),
        passes=[_judged(each, verified.desk) for each in verified.passes],
        server_time=timestamp(verified.time),
    )


def use_to_proto(result: UseResult) -> service_pb.RedeemPassResponse:
    """What became of a redemption, for the wire."""
    return service_pb.RedeemPassResponse(
        outcome=_outcome(result.reason),
        reason=_reason(result.reason),
        pass_id=result.pass_id,
        state=_STATES[result.state],
        redemption=_redemption_or_none(result.redemption),
        first_use=_redemption_or_none(result.first_use if result.tells_first_use else None),
        uses=result.uses,
        max_uses=result.max_uses,
        balance=_balance_or_none(result.balance),
    )


def reversal_to_proto(result: ReversalResult) -> service_pb.ReverseRedemptionResponse:
    """What became of taking one back, for the wire. It is kept: what staff said goes with the
    redemption when its holder is erased, and is not in here."""
    return service_pb.ReverseRedemptionResponse(
        outcome=_outcome(result.reason),
        reason=_reason(result.reason),
        redemption=None
        if result.redemption is None
        else redemption_to_proto(replace(result.redemption, reverse_reason="")),
        uses=result.uses,
        balance=_balance_or_none(result.balance),
    )


def check_in_to_proto(result: CheckResult) -> service_pb.CheckInResponse:
    """What became of coming in, for the wire."""
    return service_pb.CheckInResponse(
        outcome=_outcome(result.reason),
        reason=_reason(result.reason),
        pass_id=result.pass_id,
        state=_STATES[result.state],
        check_in=None if result.check_in is None else _stay(result.check_in),
    )


def check_out_to_proto(result: CheckResult) -> service_pb.CheckOutResponse:
    """What became of going out, for the wire."""
    return service_pb.CheckOutResponse(
        outcome=_outcome(result.reason),
        reason=_reason(result.reason),
        pass_id=result.pass_id,
        state=_STATES[result.state],
        check_in=None if result.check_in is None else _stay(result.check_in),
    )


def offline_scan_from(
    message: service_pb.OfflineScan, *, path: str, fingerprint: bytes
) -> OfflineScan:
    """A scan as told. AppError INVALID_FIELD for a time that is none."""
    scan_time = time_from(message, "scan_time", path=f"{path}.scan_time")
    if scan_time is None:
        raise invalid_field(f"{path}.scan_time", "is missing; say when the pass was shown")
    action = OfflineAction(message.WhichOneof("action") or OfflineAction.REFUSE)
    return OfflineScan(
        local_sequence=message.local_sequence,
        fingerprint=fingerprint,
        ref=scan_ref_from(message.ref),
        action=action,
        scan_time=scan_time,
        staff=message.staff,
        offer_id=message.redeem.offer_id,
        refusal=_REASON_OF.get(message.refuse.reason),
    )


def offline_result_to_proto(result: OfflineResult) -> service_pb.OfflineScanResult:
    """What became of a scan, for the wire."""
    message = service_pb.OfflineScanResult(
        local_sequence=result.local_sequence,
        outcome=_OUTCOMES[result.outcome],
        reason=_reason(result.reason),
        pass_id="" if result.pass_id is None else str(result.pass_id),
        redemption=_redemption_or_none(result.redemption),
        first_use=_redemption_or_none(result.first_use),
    )
    if result.first_outcome is not None:
        message.first_outcome = _OUTCOMES[result.first_outcome]
    return message


def listed_scan_to_proto(listed: ListedScan) -> service_pb.KeptOfflineScan:
    """An offline scan as it is listed, for the wire."""
    scan, record = listed.scan, listed.scan.record
    is_till = record.origin.startswith(TILL_ORIGIN)
    return service_pb.KeptOfflineScan(
        scanner_id="" if is_till else record.origin,
        key_id=record.origin.removeprefix(TILL_ORIGIN) if is_till else "",
        venue_id=str(scan.venue_id or ""),
        local_sequence=record.local_sequence,
        action=_ACTIONS[record.action],
        pass_id=str(record.pass_id or ""),
        offer_id=str(record.offer_id or ""),
        staff=record.staff,
        scan_time=timestamp(record.scan_time),
        create_time=timestamp(scan.create_time),
        outcome=_OUTCOMES[record.outcome],
        reason=_reason(record.reason),
        redemption=_redemption_or_none(listed.redemption),
        conflicting_use=_redemption_or_none(listed.conflicting_use),
        first_use=_redemption_or_none(listed.first_use),
    )


def redemption_to_proto(redemption: Redemption) -> pb.Redemption:
    """A redemption for the wire."""
    message = pb.Redemption(
        redemption_id=str(redemption.redemption_id),
        pass_id=str(redemption.pass_id),
        offer_id=str(redemption.offer_id),
        use_number=redemption.use_number,
        venue_id=str(redemption.venue_id or ""),
        scanner_id=str(redemption.scanner_id or ""),
        staff=redemption.staff,
        scan_time=timestamp(redemption.scan_time),
        create_time=timestamp(redemption.create_time),
        is_offline=redemption.is_offline,
        reverse_reason=redemption.reverse_reason,
        cost=amount_to_proto(redemption.cost),
    )
    if redemption.reverse_time is not None:
        message.reverse_time.CopyFrom(timestamp(redemption.reverse_time))
    return message


def _judged(judged: JudgedPass, desk: Desk) -> pb.ScannedPass:
    wallet_pass, policy = judged.listed.wallet_pass, judged.policy
    sees_holder = desk.may(ScannerRight.SEE_HOLDER)
    message = pb.ScannedPass(
        pass_id=str(wallet_pass.pass_id),
        state=_STATES[judged.state],
        program_id=str(judged.listed.program_id),
        template_id=str(judged.listed.template_id),
        reference_id=format_reference_id(wallet_pass.reference_number),
        holder_name=wallet_pass.holder.name if sees_holder else "",
        tier=judged.facts.tier,
        balances=[_balance(each) for each in judged.balances],
        thumbnail_url=_address(judged.values.get(policy.photo_slot)) if sees_holder else "",
        attention_texts=[
            text
            for slot in policy.attention_slots
            if isinstance(text := judged.values.get(slot), str) and text
        ],
        demands=demands_to_proto(judged.demands),
        offers=[_standing(each, judged, desk) for each in judged.standings],
        last_uses=[redemption_to_proto(each) for each in judged.history.last_uses],
        open_check_ins=[_stay(each) for each in judged.history.open_check_ins],
    )
    if judged.facts.expires_at is not None:
        message.expire_time.CopyFrom(timestamp(judged.facts.expires_at))
    return message


def _standing(standing: Standing, judged: JudgedPass, desk: Desk) -> pb.OfferStanding:
    offer, uses = standing.offer, standing.uses
    first_venue_id = uses.first_use_venue_id if desk.sees(uses.first_use_venue_id) else None
    message = pb.OfferStanding(
        offer_id=str(offer.offer_id),
        display_name=offer.display_name,
        uses=uses.uses,
        max_uses=offer.max_uses,
        is_redeemable=standing.refusal is None,
        reason=_reason(standing.refusal),
        first_use_venue_id=str(first_venue_id or ""),
        cost=amount_to_proto(offer.cost),
        attention=offer.attention,
        demands=demands_to_proto(judged.demands_for(offer)),
    )
    if uses.first_use_time is not None:
        message.first_use_time.CopyFrom(timestamp(uses.first_use_time))
    return message


def _address(value: Value | None) -> str:
    """A slot's https address, empty when it holds another thing."""
    return value if isinstance(value, str) and value.startswith("https://") else ""


def _stay(stay: CheckIn) -> pb.CheckIn:
    message = pb.CheckIn(
        check_in_id=str(stay.check_in_id),
        pass_id=str(stay.pass_id),
        venue_id=str(stay.venue_id),
        in_time=timestamp(stay.in_time),
        is_offline=stay.is_offline,
    )
    if stay.out_time is not None:
        message.out_time.CopyFrom(timestamp(stay.out_time))
    return message


def _balance(balance: Balance) -> pb.ScannedBalance:
    return pb.ScannedBalance(unit=balance.unit, balance=balance.balance, held=balance.held)


def _balance_or_none(balance: Balance | None) -> pb.ScannedBalance | None:
    return None if balance is None else _balance(balance)


def _redemption_or_none(redemption: Redemption | None) -> pb.Redemption | None:
    return None if redemption is None else redemption_to_proto(redemption)


def _reason(reason: RefusalReason | None) -> pb.RefusalReason.ValueType:
    return pb.REFUSAL_REASON_UNSPECIFIED if reason is None else _REASONS[reason]


def _outcome(reason: RefusalReason | None) -> pb.ScanOutcome.ValueType:
    return pb.SCAN_OUTCOME_ACCEPTED if reason is None else pb.SCAN_OUTCOME_REFUSED
