"""Between proto/passmill/v1/counter.proto and the counter's domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask

from passmill.domain.counter_policies import CounterPolicy, DemandRule, StaffDemand
from passmill.domain.ids import ProgramId, parse_uuid
from passmill.domain.offers import Offer, OfferState, UnitAmount
from passmill.domain.scanners import Scanner, ScannerRight
from passmill.domain.venues import Venue
from passmill.errors import FieldError, invalid_field, not_found
from passmill.rpc.convert_template import values_from_proto, values_to_proto
from passmill.rpc.convert_time import time_from, timestamp
from passmill.usecases.check_offer import OfferDraft
from passmill.v1 import counter_pb2 as pb

_RIGHTS: Final[Mapping[ScannerRight, pb.ScannerRight.ValueType]] = {
    right: pb.ScannerRight.Value(f"SCANNER_RIGHT_{right.name}") for right in ScannerRight
}
_RIGHT_OF: Final = {number: right for right, number in _RIGHTS.items()}
_STATES: Final[Mapping[OfferState, pb.Offer.State.ValueType]] = {
    OfferState.ACTIVE: pb.Offer.STATE_ACTIVE,
    OfferState.ARCHIVED: pb.Offer.STATE_ARCHIVED,
}
_DEMANDS: Final[Mapping[StaffDemand, pb.StaffDemand.ValueType]] = {
    demand: pb.StaffDemand.Value(f"STAFF_DEMAND_{demand.name}") for demand in StaffDemand
}
_DEMAND_OF: Final = {number: demand for demand, number in _DEMANDS.items()}
_EDITABLE: Final = frozenset(
    {
        "display_name",
        "max_uses",
        "cost",
        "worth",
        "valid_from",
        "valid_until",
        "venue_ids",
        "tiers",
        "attention",
        "mark",
    }
)


def rights_from(numbers: Iterable[pb.ScannerRight.ValueType]) -> frozenset[ScannerRight]:
    """Rights as asked for; the rules in the proto let only known ones in."""
    return frozenset(_RIGHT_OF[number] for number in numbers)


def demands_to_proto(demands: Iterable[StaffDemand]) -> list[pb.StaffDemand.ValueType]:
    """Demands for the wire."""
    return [_DEMANDS[demand] for demand in demands]


def venue_to_proto(venue: Venue) -> pb.Venue:
    """A venue for the wire."""
    return pb.Venue(
        venue_id=str(venue.venue_id),
        display_name=venue.display_name,
        partner=venue.partner,
        create_time=timestamp(venue.create_time),
    )


def scanner_to_proto(scanner: Scanner) -> pb.Scanner:
    """A scanner for the wire."""
    message = pb.Scanner(
        scanner_id=str(scanner.scanner_id),
        venue_id=str(scanner.venue_id),
        display_name=scanner.display_name,
        rights=sorted(_RIGHTS[right] for right in scanner.rights),
        key_id=scanner.key_id,
        enrol_time=timestamp(scanner.enrol_time),
    )
    if scanner.expire_time is not None:
        message.expire_time.CopyFrom(timestamp(scanner.expire_time))
    if scanner.revoke_time is not None:
        message.revoke_time.CopyFrom(timestamp(scanner.revoke_time))
    return message


def amount_to_proto(amount: UnitAmount | None) -> pb.UnitAmount | None:
    """An amount for the wire."""
    return None if amount is None else pb.UnitAmount(unit=amount.unit, amount=amount.amount)


def offer_to_proto(offer: Offer) -> pb.Offer:
    """An offer for the wire."""
    message = pb.Offer(
        offer_id=str(offer.offer_id),
        program_id=str(offer.program_id),
        template_id="" if offer.template_id is None else str(offer.template_id),
        display_name=offer.display_name,
        max_uses=offer.max_uses,
        cost=amount_to_proto(offer.cost),
        worth=amount_to_proto(offer.worth),
        venue_ids=[str(each) for each in offer.venue_ids],
        tiers=offer.tiers,
        attention=offer.attention,
        state=_STATES[offer.state],
        create_time=timestamp(offer.create_time),
        update_time=timestamp(offer.update_time),
        etag=offer.etag,
        chain_id="" if offer.chain_id is None else str(offer.chain_id),
    )
    if offer.valid_from is not None:
        message.valid_from.CopyFrom(timestamp(offer.valid_from))
    if offer.valid_until is not None:
        message.valid_until.CopyFrom(timestamp(offer.valid_until))
    if not offer.mark.is_empty:
        message.mark.CopyFrom(
            pb.OfferMark(
                uses_slot=offer.mark.uses_slot,
                used_up_values=values_to_proto(offer.mark.used_up_values),
                void_when_used_up=offer.mark.void_when_used_up,
            )
        )
    return message


def offer_draft_from(message: pb.Offer) -> OfferDraft:
    """What is said of an offer; values that cannot be read are among its problems. AppError
    INVALID_FIELD for times that are none."""
    values, problems = values_from_proto(message.mark.used_up_values)
    return OfferDraft(
        display_name=message.display_name,
        max_uses=message.max_uses if message.HasField("max_uses") else 1,
        cost=_amount_from(message, "cost"),
        worth=_amount_from(message, "worth"),
        valid_from=time_from(message, "valid_from", path="offer.valid_from"),
        valid_until=time_from(message, "valid_until", path="offer.valid_until"),
        venue_ids=tuple(message.venue_ids),
        tiers=tuple(message.tiers),
        attention=message.attention,
        uses_slot=message.mark.uses_slot,
        mark_values=values,
        void_when_used_up=message.mark.void_when_used_up,
        problems=tuple(
            FieldError(path=f"offer.mark.used_up_{each.path}", message=each.message)
            for each in problems
        ),
    )


def offer_fields_from(mask: FieldMask) -> frozenset[str]:
    """The fields that an update names. AppError INVALID_FIELD when it names none, or another."""
    if not mask.paths:
        raise invalid_field("update_mask", "must name at least one field")
    for path in mask.paths:
        if path not in _EDITABLE:
            known = ", ".join(sorted(_EDITABLE))
            raise invalid_field("update_mask", f'"{path:.100}" cannot be updated; {known} can')
    return frozenset(mask.paths)


def policy_from(program_id: str, message: pb.CounterPolicy) -> CounterPolicy:
    """A policy as sent. AppError NOT_FOUND for an id that is none."""
    parsed = parse_uuid(program_id)
    if parsed is None:
        raise not_found("program")
    return CounterPolicy(
        program_id=ProgramId(parsed),
        demands=tuple(
            DemandRule(demand=_DEMAND_OF[rule.demand], at_least=_amount_from(rule, "at_least"))
            for rule in message.demands
        ),
        photo_slot=message.photo_slot,
        tier_slot=message.tier_slot,
        attention_slots=tuple(message.attention_slots),
    )


def policy_to_proto(policy: CounterPolicy) -> pb.CounterPolicy:
    """A policy for the wire."""
    return pb.CounterPolicy(
        program_id=str(policy.program_id),
        demands=[
            pb.CounterPolicy.DemandRule(
                demand=_DEMANDS[rule.demand], at_least=amount_to_proto(rule.at_least)
            )
            for rule in policy.demands
        ],
        photo_slot=policy.photo_slot,
        tier_slot=policy.tier_slot,
        attention_slots=policy.attention_slots,
    )


def _amount_from(message: pb.Offer | pb.CounterPolicy.DemandRule, field: str) -> UnitAmount | None:
    if not message.HasField(field):  # type: ignore[arg-type]
        return None
    amount: pb.UnitAmount = getattr(message, field)
    return UnitAmount(unit=amount.unit, amount=amount.amount)
