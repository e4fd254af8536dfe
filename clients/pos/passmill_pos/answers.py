"""The service's answers as outcomes. What an answer says of a person goes to no outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final, Protocol, TypeVar

from passmill_client import PassmillError, messages
from passmill_pos.outcomes import Json, Outcome, Verdict

Number = TypeVar("Number", bound=int)

UNREACHED: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})
"""Nobody answered; whether the service heard is not known."""

RIGHT_MISSING: Final = "right_missing"
"""What a scanner that lacks a right is refused with where the service answers."""

_NO_RIGHT: Final = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
_WRONG: Final = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE"})
# The service may do it yet: it had too much to do, or broke.
_UNDECIDED: Final = frozenset({"RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "ABORTED", "CANCELLED"})


class _Moment(Protocol):
    def ToDatetime(self, tzinfo: tzinfo | None) -> datetime: ...  # noqa: N802 - protobuf's


def name_of(name: Callable[[Number], str], number: Number, prefix: str) -> str:
    """An enum's value for programs, `already_redeemed`; empty for none. A value of a newer service
    is told by its number."""
    if not number:
        return ""
    try:
        return name(number).removeprefix(prefix).lower()
    except ValueError:
        return f"unknown_{number}"


def refusal_name(reason: messages.RefusalReason.ValueType) -> str:
    """A RefusalReason for programs."""
    return name_of(messages.RefusalReason.Name, reason, "REFUSAL_REASON_")


def verdict_of_refusal(reason: str) -> Verdict:
    """What a "no" is: the service's about the pass, or about who asks."""
    return Verdict.NO_RIGHT if reason == RIGHT_MISSING else Verdict.REFUSED


def state_name(state: messages.ScanState.ValueType) -> str:
    """A ScanState for programs."""
    return name_of(messages.ScanState.Name, state, "SCAN_STATE_") or "unknown"


def is_undecided(error: PassmillError) -> bool:
    """Whether the same call may yet be answered, so that it must be sent again."""
    return error.code.name in UNREACHED or error.code.name in _UNDECIDED


def is_unreached(error: PassmillError) -> bool:
    """Whether nobody answered."""
    return error.code.name in UNREACHED


def is_crowded(error: PassmillError) -> bool:
    """Whether there was too much to do."""
    return error.code.name == "RESOURCE_EXHAUSTED"


def is_right_missing(error: PassmillError) -> bool:
    """Whether the key is good, but its scanner has not got the right to this."""
    return error.reason == "SCANNER_RIGHT_MISSING"


def outcome_of_error(error: PassmillError) -> Outcome:
    """A failed call."""
    code = error.code.name
    if code in UNREACHED:
        verdict = Verdict.UNREACHED
    elif code in _NO_RIGHT:
        verdict = Verdict.NO_RIGHT
    elif code in _WRONG:
        verdict = Verdict.INVALID
    else:
        verdict = Verdict.FAILED
    said = "; ".join(f"{problem.path} {problem.message}" for problem in error.fields)
    return Outcome(verdict=verdict, reason=error.reason.lower(), message=said or error.message)


def outcome_of_redemption(answer: messages.RedeemPassResponse) -> Outcome:
    """What became of RedeemPass."""
    facts: dict[str, Json] = {"state": state_name(answer.state)}
    if answer.pass_id:
        facts["pass_id"] = answer.pass_id
    if answer.HasField("redemption"):
        facts["redemption_id"] = answer.redemption.redemption_id
    if answer.HasField("first_use"):
        facts["first_use"] = redemption_json(answer.first_use)
    facts |= {"uses": answer.uses, "max_uses": answer.max_uses}
    if answer.HasField("balance"):
        facts |= {"unit": answer.balance.unit, "balance": answer.balance.balance}
    return _outcome_of_scan(answer.outcome, answer.reason, facts)


def outcome_of_stay(answer: messages.CheckInResponse | messages.CheckOutResponse) -> Outcome:
    """What became of CheckIn or CheckOut."""
    facts: dict[str, Json] = {"state": state_name(answer.state)}
    if answer.pass_id:
        facts["pass_id"] = answer.pass_id
    if answer.HasField("check_in"):
        facts["check_in_id"] = answer.check_in.check_in_id
        facts["in_time"] = _time(answer.check_in.in_time)
        if answer.check_in.HasField("out_time"):
            facts["out_time"] = _time(answer.check_in.out_time)
    return _outcome_of_scan(answer.outcome, answer.reason, facts)


def outcome_of_offline_scan(result: messages.OfflineScanResult) -> Outcome:
    """What became of a scan that was told of later; of a repeated one, the first time."""
    kind = messages.OfflineScanResult
    outcome = result.outcome
    reason = refusal_name(result.reason)
    if outcome == kind.OUTCOME_DUPLICATE and result.first_outcome:
        outcome = result.first_outcome
    verdict = {kind.OUTCOME_ACCEPTED: Verdict.DONE, kind.OUTCOME_CONFLICT: Verdict.CONFLICT}.get(
        outcome, verdict_of_refusal(reason)
    )
    facts: dict[str, Json] = {}
    if result.pass_id:
        facts["pass_id"] = result.pass_id
    if result.HasField("redemption"):
        facts["redemption_id"] = result.redemption.redemption_id
    if result.HasField("first_use"):
        facts["first_use"] = redemption_json(result.first_use)
    return Outcome(verdict=verdict, reason=reason, facts=facts)


def outcome_of_entry(
    answer: messages.PostEntryResponse | messages.EntryOutcome, unit: str
) -> Outcome:
    """What became of an entry of the ledger."""
    facts: dict[str, Json] = {"unit": unit}
    if answer.HasField("entry"):
        facts |= {
            "entry_id": answer.entry.entry_id,
            "amount": answer.entry.amount,
            "balance": answer.entry.balance_after,
        }
    elif isinstance(answer, messages.PostEntryResponse) and answer.HasField("balance"):
        facts["balance"] = answer.balance.balance
    return refused_or(answer.refusal, facts)


def outcome_of_reversal(answer: messages.ReverseRedemptionResponse) -> Outcome:
    """What became of ReverseRedemption."""
    made = answer.redemption
    facts: dict[str, Json] = {"pass_id": made.pass_id, **redemption_json(made)}
    if made.HasField("reverse_time"):
        facts["reverse_time"] = _time(made.reverse_time)
    facts["uses"] = answer.uses
    if answer.HasField("balance"):
        facts |= {"unit": answer.balance.unit, "balance": answer.balance.balance}
    return _outcome_of_scan(answer.outcome, answer.reason, facts)


def outcome_of_reversed_entry(answer: messages.ReverseEntryResponse) -> Outcome:
    """What became of ReverseEntry; `entry_id` is of the reversal, also of the one there was."""
    facts: dict[str, Json] = {}
    if answer.HasField("entry"):
        entry = answer.entry
        facts |= {
            "entry_id": entry.entry_id,
            "reversed_entry_id": entry.reversed_entry_id,
            "amount": entry.amount,
        }
    if answer.HasField("balance"):
        facts |= {"unit": answer.balance.unit, "balance": answer.balance.balance}
    return refused_or(answer.refusal, facts)


def outcome_of_payment(
    refusal: messages.EntryRefusal.ValueType, balance: messages.Balance, facts: Mapping[str, Json]
) -> Outcome:
    """What became of a payment; `facts`: of its hold, while there was one."""
    return refused_or(refusal, dict(facts) | {"balance": balance.balance})


def refused_or(refusal: messages.EntryRefusal.ValueType, facts: Mapping[str, Json]) -> Outcome:
    """An answer of the ledger: done unless an EntryRefusal says why not."""
    reason = name_of(messages.EntryRefusal.Name, refusal, "ENTRY_REFUSAL_")
    return Outcome(verdict=Verdict.REFUSED if reason else Verdict.DONE, reason=reason, facts=facts)


def redemption_json(redemption: messages.Redemption) -> dict[str, Json]:
    """A use, for programs."""
    used: dict[str, Json] = {
        "redemption_id": redemption.redemption_id,
        "offer_id": redemption.offer_id,
        "time": _time(redemption.scan_time),
    }
    if redemption.venue_id:
        used["venue_id"] = redemption.venue_id
    return used


def pass_json(seen: messages.ScannedPass, *, with_names: bool) -> dict[str, Json]:
    """A pass as staff see it, for programs. Without `with_names` it tells nothing of a person: not
    the name, not the picture, not the texts that the holder's own values make."""
    told: dict[str, Json] = {
        "pass_id": seen.pass_id,
        "state": state_name(seen.state),
        "reference_id": seen.reference_id,
        "tier": seen.tier,
        "balances": [
            {"unit": each.unit, "balance": each.balance, "held": each.held}
            for each in seen.balances
        ],
        "demands": _demands(seen.demands),
        "offers": [_offer_json(offer) for offer in seen.offers],
        "last_uses": [redemption_json(use) for use in seen.last_uses],
        "is_checked_in": bool(seen.open_check_ins),
        "attention_count": len(seen.attention_texts),
    }
    if seen.HasField("expire_time"):
        told["expire_time"] = _time(seen.expire_time)
    if with_names:
        told |= {
            "holder_name": seen.holder_name,
            "thumbnail_url": seen.thumbnail_url,
            "attention_texts": list(seen.attention_texts),
        }
    return told


def _offer_json(offer: messages.OfferStanding) -> dict[str, Json]:
    told: dict[str, Json] = {
        "offer_id": offer.offer_id,
        "display_name": offer.display_name,
        "is_redeemable": offer.is_redeemable,
        "uses": offer.uses,
        "max_uses": offer.max_uses,
        "demands": _demands(offer.demands),
    }
    if reason := refusal_name(offer.reason):
        told["reason"] = reason
    if offer.HasField("first_use_time"):
        told["first_use_time"] = _time(offer.first_use_time)
    if offer.HasField("cost"):
        told["cost"] = {"unit": offer.cost.unit, "amount": offer.cost.amount}
    if offer.attention:
        told["attention"] = offer.attention
    return told


def _demands(demands: Sequence[messages.StaffDemand.ValueType]) -> list[Json]:
    return [name_of(messages.StaffDemand.Name, each, "STAFF_DEMAND_") for each in demands]


def _outcome_of_scan(
    outcome: messages.ScanOutcome.ValueType,
    reason: messages.RefusalReason.ValueType,
    facts: Mapping[str, Json],
) -> Outcome:
    # What is neither of the two that are known is not accepted.
    is_done = outcome == messages.SCAN_OUTCOME_ACCEPTED
    named = refusal_name(reason)
    verdict = Verdict.DONE if is_done else verdict_of_refusal(named)
    return Outcome(verdict=verdict, reason=named, facts=facts)


def _time(moment: _Moment) -> str:
    return moment.ToDatetime(UTC).isoformat()
