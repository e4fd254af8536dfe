"""Between proto/passmill/v1/balance.proto and the ledger."""

from __future__ import annotations

from datetime import timedelta

from passmill.domain.balance_units import BalanceUnit, SalePayment, Tier, UnitKind
from passmill.domain.ledger import Balance, EntryKind, Hold, LedgerEntry, Posted
from passmill.domain.money import Money
from passmill.rpc.convert_pass import ref_from_proto
from passmill.rpc.convert_program import program_id_from
from passmill.rpc.convert_time import time_from, timestamp
from passmill.rpc.request_ids import request_id_from
from passmill.usecases.capture_hold import HoldEnd
from passmill.usecases.hold_balance import USUAL_DURATION, Held
from passmill.usecases.join_account import Joined
from passmill.usecases.pay_sale import Payment, Sale
from passmill.usecases.post_entries import EntryOutcome, KeyedDraft
from passmill.usecases.post_entry import EntryDraft
from passmill.usecases.read_balance import AccountView
from passmill.v1 import balance_pb2, template_pb2
from passmill.v1 import balance_service_pb2 as pb

# Kinds, states and refusals have the protocol's numbers (a test compares their names).


def unit_from_proto(message: balance_pb2.BalanceUnit) -> BalanceUnit:
    """A unit as sent. AppError NOT_FOUND when its program's id is none."""
    payment = None
    if message.HasField("sale_payment"):
        payment = SalePayment(
            max_share_percent=message.sale_payment.max_share_percent,
            amount=message.sale_payment.amount,
            value=money_from_proto(message.sale_payment.value),
        )
    return BalanceUnit(
        program_id=program_id_from(message.program_id),
        unit=message.unit,
        kind=UnitKind(message.kind),
        slot=message.slot,
        sale_payment=payment,
    )


def unit_to_proto(unit: BalanceUnit) -> balance_pb2.BalanceUnit:
    """A unit for the wire."""
    message = balance_pb2.BalanceUnit(
        program_id=str(unit.program_id),
        unit=unit.unit,
        kind=balance_pb2.BalanceUnit.Kind.ValueType(unit.kind),
        slot=unit.slot,
    )
    if (payment := unit.sale_payment) is not None:
        message.sale_payment.max_share_percent = payment.max_share_percent
        message.sale_payment.amount = payment.amount
        message.sale_payment.value.CopyFrom(money_to_proto(payment.value))
    return message


def tier_from_proto(message: balance_pb2.Tier) -> Tier:
    """A tier as sent."""
    return Tier(
        tier=message.tier,
        unit=message.unit,
        at_least=message.at_least,
        within_days=message.within_days,
        slot=message.slot,
        slot_value=message.slot_value,
    )


def tier_to_proto(tier: Tier) -> balance_pb2.Tier:
    """A tier for the wire."""
    return balance_pb2.Tier(
        tier=tier.tier,
        unit=tier.unit,
        at_least=tier.at_least,
        within_days=tier.within_days,
        slot=tier.slot,
        slot_value=tier.slot_value,
    )


def entry_draft_from_proto(message: balance_pb2.EntryDraft, *, path: str) -> EntryDraft:
    """An entry as sent, at this place of the request. AppError INVALID_FIELD for a time."""
    is_versioned = message.HasField("expected_version")
    return EntryDraft(
        unit=message.unit,
        kind=EntryKind(message.kind),
        amount=message.amount,
        expected_version=message.expected_version if is_versioned else None,
        reference=message.reference,
        venue=message.venue,
        occur_time=time_from(message, "occur_time", path=f"{path}.occur_time"),
        expire_time=time_from(message, "expire_time", path=f"{path}.expire_time"),
    )


def keyed_from_proto(message: pb.KeyedEntry, *, path: str) -> KeyedDraft:
    """A keyed entry as sent, at this place of the request. AppError INVALID_FIELD for a time."""
    return KeyedDraft(
        request_id=request_id_from(message.request_id, path=f"{path}.request_id"),
        ref=ref_from_proto(message.ref),
        draft=entry_draft_from_proto(message.entry, path=f"{path}.entry"),
    )


def sale_from_proto(request: pb.PaySaleRequest) -> Sale:
    """A sale as sent."""
    return Sale(
        unit=request.unit,
        total=money_from_proto(request.sale_total),
        max_amount=request.max_amount,
        only_hold=request.only_hold,
        duration=duration_from(request),
        reference=request.reference,
        venue=request.venue,
    )


def duration_from(request: pb.PaySaleRequest | pb.HoldBalanceRequest) -> timedelta:
    """For how long to hold."""
    return request.duration.ToTimedelta() if request.HasField("duration") else USUAL_DURATION


def money_from_proto(message: template_pb2.Money) -> Money:
    """An amount as sent."""
    return Money(minor_units=message.minor_units, currency=message.currency_code)


def money_to_proto(money: Money) -> template_pb2.Money:
    """An amount for the wire."""
    return template_pb2.Money(minor_units=money.minor_units, currency_code=money.currency)


def balance_to_proto(balance: Balance) -> balance_pb2.Balance:
    """A balance for the wire."""
    return balance_pb2.Balance(
        account_id=str(balance.account_id),
        unit=balance.unit,
        balance=balance.balance,
        held=balance.held,
        available=balance.available,
        earned=balance.earned,
        version=balance.version,
    )


def entry_to_proto(entry: LedgerEntry | None) -> balance_pb2.LedgerEntry | None:
    """An entry for the wire; None stays None."""
    if entry is None:
        return None
    return balance_pb2.LedgerEntry(
        entry_id=str(entry.entry_id),
        account_id=str(entry.account_id),
        unit=entry.unit,
        sequence=entry.sequence,
        kind=balance_pb2.EntryKind.ValueType(entry.kind),
        amount=entry.amount,
        balance_after=entry.balance_after,
        request_id=str(entry.request_id),
        reversed_entry_id=str(entry.reversed_entry_id or ""),
        hold_id=str(entry.hold_id or ""),
        reference=entry.reference,
        venue=entry.venue,
        expire_time=None if entry.expire_time is None else timestamp(entry.expire_time),
        occur_time=timestamp(entry.occur_time),
        create_time=timestamp(entry.create_time),
        scanner_id=str(entry.scanner_id or ""),
    )


def hold_to_proto(hold: Hold | None) -> balance_pb2.Hold | None:
    """A hold for the wire; None stays None."""
    if hold is None:
        return None
    return balance_pb2.Hold(
        hold_id=str(hold.hold_id),
        account_id=str(hold.account_id),
        unit=hold.unit,
        amount=hold.amount,
        state=balance_pb2.Hold.State.ValueType(hold.state),
        expire_time=timestamp(hold.expire_time),
        reference=hold.reference,
        create_time=timestamp(hold.create_time),
    )


def outcome_to_proto(outcome: EntryOutcome) -> pb.EntryOutcome:
    """What came of a keyed entry, for the wire."""
    return pb.EntryOutcome(
        request_id=str(outcome.request_id),
        refusal=refusal_number(outcome),
        entry=entry_to_proto(outcome.entry),
        is_repeated=outcome.is_repeated,
    )


def account_to_proto(view: AccountView) -> pb.GetBalanceResponse:
    """An account for the wire."""
    return pb.GetBalanceResponse(
        account_id=str(view.account_id),
        balances=[balance_to_proto(each) for each in view.balances],
        tier=view.tier,
        holds=[each for each in map(hold_to_proto, view.holds) if each is not None],
        next_expiries=[
            balance_pb2.NextExpiry(unit=unit, amount=amount, expire_time=timestamp(end))
            for unit, (end, amount) in view.next_expiries.items()
        ],
    )


def refusal_number(
    result: Posted | Held | HoldEnd | Payment | EntryOutcome | Joined,
) -> balance_pb2.EntryRefusal.ValueType:
    """Why nothing was done, as a number of the protocol; 0 when it was."""
    return balance_pb2.EntryRefusal.ValueType(result.refusal or 0)
