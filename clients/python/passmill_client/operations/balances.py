"""BalanceService.

A refusal at the counter is no error: look at the answer's `refusal`, `messages.ENTRY_REFUSAL_…`,
which is 0 when it was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Unpack
from uuid import UUID, uuid4

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.v1 import balance_service_pb2 as pb
from passmill.v1.balance_pb2 import BalanceUnit, EntryDraft, EntryKind, LedgerEntry, Tier
from passmill.v1.template_pb2 import Money
from passmill.v1.wallet_pass_pb2 import PassRef
from passmill_client.call import Call, ChangeOptions, Listing, ReadOptions, call_of, meta_of
from passmill_client.operations.passes import PassName, ref_of

_SERVICE = pb.DESCRIPTOR.services_by_name["BalanceService"]


class AccountChange(ChangeOptions, PassName, total=False):
    """A change of a named pass's account."""


class EntryOptions(AccountChange, total=False):
    """What may be said of an entry. `expected_version`: post only if the balance has it.
    `reference`, `venue`: whatever the caller will know it by. `occur_time`: when it happened, if
    that was before. `expire_time`: until when what is earned is good."""

    expected_version: int
    reference: str
    venue: str
    occur_time: datetime
    expire_time: datetime


def set_balance_unit(
    balance_unit: BalanceUnit, **options: Unpack[ChangeOptions]
) -> Call[BalanceUnit]:
    """Makes or changes a unit of a program. Scope: admin."""
    request = pb.SetBalanceUnitRequest(balance_unit=balance_unit, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.SetBalanceUnitResponse, lambda answer: answer.balance_unit, options
    )


def list_balance_units(
    program_id: str, **options: Unpack[ReadOptions]
) -> Call[Sequence[BalanceUnit]]:
    """Lists the units of a program. Scope: read."""
    request = pb.ListBalanceUnitsRequest(program_id=program_id)
    return call_of(
        _SERVICE, request, pb.ListBalanceUnitsResponse, lambda answer: answer.balance_units, options
    )


def set_tiers(
    program_id: str, tiers: Iterable[Tier], **options: Unpack[ChangeOptions]
) -> Call[Sequence[Tier]]:
    """Replaces the tiers of a program, the lowest first. Scope: admin."""
    request = pb.SetTiersRequest(program_id=program_id, tiers=tiers, meta=meta_of(options))
    return call_of(_SERVICE, request, pb.SetTiersResponse, lambda answer: answer.tiers, options)


def list_tiers(program_id: str, **options: Unpack[ReadOptions]) -> Call[Sequence[Tier]]:
    """Lists the tiers of a program, the lowest first. Scope: read."""
    request = pb.ListTiersRequest(program_id=program_id)
    return call_of(_SERVICE, request, pb.ListTiersResponse, lambda answer: answer.tiers, options)


def post_entry(
    kind: EntryKind.ValueType, amount: int, *, unit: str, **named: Unpack[EntryOptions]
) -> Call[pb.PostEntryResponse]:
    """Posts one entry, of `messages.ENTRY_KIND_…`, to the account of a pass. Amounts are positive,
    but adjustments may be either way. Scope: redeem."""
    request = pb.PostEntryRequest(
        ref=ref_of(named), entry=_draft(kind, amount, unit, named), meta=meta_of(named)
    )
    return call_of(_SERVICE, request, pb.PostEntryResponse, lambda answer: answer, named)


def keyed_entry(
    kind: EntryKind.ValueType, amount: int, *, unit: str, **named: Unpack[EntryOptions]
) -> pb.KeyedEntry:
    """An entry for `batch_post_entries`, to be kept until that was answered: under its
    `request_id`, a fresh one when left out, it is posted once."""
    return pb.KeyedEntry(
        request_id=str(named.get("request_id") or uuid4()),
        ref=ref_of(named),
        entry=_draft(kind, amount, unit, named),
    )


def batch_post_entries(
    entries: Iterable[pb.KeyedEntry], **options: Unpack[ReadOptions]
) -> Call[Sequence[pb.EntryOutcome]]:
    """Posts up to 500 entries, each by itself, and says what came of each. Sent again they are not
    posted again. Scope: redeem."""
    request = pb.BatchPostEntriesRequest(entries=entries)
    return call_of(
        _SERVICE, request, pb.BatchPostEntriesResponse, lambda answer: answer.outcomes, options
    )


def reverse_entry(
    *,
    entry_id: str = "",
    posted_request_id: UUID | str = "",
    reference: str = "",
    **options: Unpack[ChangeOptions],
) -> Call[pb.ReverseEntryResponse]:
    """Takes an entry back, named by its id or by the key it was posted under. Scope: redeem."""
    request = pb.ReverseEntryRequest(reference=reference, meta=meta_of(options))
    if entry_id:
        request.entry_id = entry_id
    else:
        request.posted_request_id = str(posted_request_id)
    return call_of(_SERVICE, request, pb.ReverseEntryResponse, lambda answer: answer, options)


def hold_balance(
    amount: int,
    *,
    unit: str,
    duration: timedelta | None = None,
    reference: str = "",
    **named: Unpack[AccountChange],
) -> Call[pb.HoldBalanceResponse]:
    """Sets part of a balance aside, for 15 minutes unless `duration` says otherwise.

    Scope: redeem."""
    request = pb.HoldBalanceRequest(
        ref=ref_of(named),
        unit=unit,
        amount=amount,
        duration=_duration(duration),
        reference=reference,
        meta=meta_of(named),
    )
    return call_of(_SERVICE, request, pb.HoldBalanceResponse, lambda answer: answer, named)


def capture_hold(
    hold_id: str,
    *,
    amount: int = 0,
    reference: str = "",
    venue: str = "",
    **options: Unpack[ChangeOptions],
) -> Call[pb.CaptureHoldResponse]:
    """Spends what is held, or `amount` of it, and frees the rest. Scope: redeem."""
    request = pb.CaptureHoldRequest(
        hold_id=hold_id, amount=amount, reference=reference, venue=venue, meta=meta_of(options)
    )
    return call_of(_SERVICE, request, pb.CaptureHoldResponse, lambda answer: answer, options)


def release_hold(hold_id: str, **options: Unpack[ChangeOptions]) -> Call[pb.ReleaseHoldResponse]:
    """Frees what is held. Scope: redeem."""
    request = pb.ReleaseHoldRequest(hold_id=hold_id, meta=meta_of(options))
    return call_of(_SERVICE, request, pb.ReleaseHoldResponse, lambda answer: answer, options)


def pay_sale(
    sale_total: Money,
    *,
    unit: str,
    max_amount: int = 0,
    only_hold: bool = False,
    duration: timedelta | None = None,
    reference: str = "",
    venue: str = "",
    **named: Unpack[AccountChange],
) -> Call[pb.PaySaleResponse]:
    """Pays part of a sale: as much as there is, as the program allows, and at most `max_amount` of
    the unit; or only holds it until the sale is done. Scope: redeem."""
    request = pb.PaySaleRequest(
        ref=ref_of(named),
        unit=unit,
        sale_total=sale_total,
        max_amount=max_amount,
        only_hold=only_hold,
        duration=_duration(duration),
        reference=reference,
        venue=venue,
        meta=meta_of(named),
    )
    return call_of(_SERVICE, request, pb.PaySaleResponse, lambda answer: answer, named)


def get_balance(**named: Unpack[PassName]) -> Call[pb.GetBalanceResponse]:
    """Gives what the account of a pass has, its tier, and what is held. Scope: read."""
    request = pb.GetBalanceRequest(ref=ref_of(named))
    return call_of(_SERVICE, request, pb.GetBalanceResponse, lambda answer: answer, named)


def list_entries(
    *, unit: str, page_size: int = 500, **named: Unpack[PassName]
) -> Listing[LedgerEntry]:
    """Lists the entries of a pass's account, the newest first. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[LedgerEntry], str]]:
        return call_of(
            _SERVICE,
            pb.ListEntriesRequest(
                ref=ref_of(named), unit=unit, page_size=page_size, page_token=token
            ),
            pb.ListEntriesResponse,
            lambda answer: (answer.entries, answer.next_page_token),
            named,
        )

    return Listing(page=page)


def join_account(
    account_of: PassRef, **named: Unpack[AccountChange]
) -> Call[pb.JoinAccountResponse]:
    """Lets a pass share the account of another: one that it was issued instead of, or another of
    the same holder. Scope: redeem."""
    request = pb.JoinAccountRequest(ref=ref_of(named), account_of=account_of, meta=meta_of(named))
    return call_of(_SERVICE, request, pb.JoinAccountResponse, lambda answer: answer, named)


def _draft(kind: EntryKind.ValueType, amount: int, unit: str, named: EntryOptions) -> EntryDraft:
    return EntryDraft(
        unit=unit,
        kind=kind,
        amount=amount,
        expected_version=named.get("expected_version"),
        reference=named.get("reference", ""),
        venue=named.get("venue", ""),
        occur_time=_stamp(named.get("occur_time")),
        expire_time=_stamp(named.get("expire_time")),
    )


def _stamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _duration(span: timedelta | None) -> Duration | None:
    if span is None:
        return None
    duration = Duration()
    duration.FromTimedelta(span)
    return duration
