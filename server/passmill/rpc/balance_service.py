"""BalanceService: points, stamps and stored money, over gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from google.protobuf.message import Message

from passmill.domain.balance_units import BalanceUnit, Tier
from passmill.domain.callers import Caller, Scope
from passmill.domain.ledger import Posted
from passmill.domain.scanners import ScannerRight
from passmill.errors import AppError, invalid_field
from passmill.rpc.convert_balance import (
    account_to_proto,
    balance_to_proto,
    duration_from,
    entry_draft_from_proto,
    entry_to_proto,
    hold_to_proto,
    keyed_from_proto,
    money_to_proto,
    outcome_to_proto,
    refusal_number,
    sale_from_proto,
    tier_from_proto,
    tier_to_proto,
    unit_from_proto,
    unit_to_proto,
)
from passmill.rpc.convert_pass import ref_from_proto
from passmill.rpc.convert_program import program_id_from
from passmill.rpc.desks import Desks
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.paging import Pages
from passmill.rpc.streams import Stream
from passmill.store.balance_units import list_tiers, list_units
from passmill.store.database import Database
from passmill.store.programs import get_program
from passmill.usecases.capture_hold import CaptureHold, HoldEnd, ReleaseHold
from passmill.usecases.hold_balance import Held, HoldBalance, HoldDraft
from passmill.usecases.join_account import JoinAccount, Joined
from passmill.usecases.mutation import Answer
from passmill.usecases.pay_sale import Payment, PaySale
from passmill.usecases.post_entries import EntryOutcome, KeyedDraft, PostEntries
from passmill.usecases.post_entry import PostEntry
from passmill.usecases.read_balance import ReadBalance
from passmill.usecases.reverse_entry import ReverseEntry
from passmill.usecases.set_balance_unit import SetBalanceUnit
from passmill.usecases.set_tiers import SetTiers
from passmill.v1 import balance_service_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["BalanceService"]
_POST: Final = MethodRule(scope=Scope.REDEEM, mutates=True)
_READ: Final = MethodRule(scope=Scope.READ)
_SET: Final = MethodRule(scope=Scope.ADMIN, mutates=True)
RULES: Mapping[str, MethodRule] = {
    "SetBalanceUnit": _SET,
    "ListBalanceUnits": _READ,
    "SetTiers": _SET,
    "ListTiers": _READ,
    "PostEntry": _POST,
    # The entries' own keys make it safe to repeat: it needs no request id.
    "BatchPostEntries": MethodRule(scope=Scope.REDEEM),
    "StreamEntries": MethodRule(scope=Scope.REDEEM),
    "ReverseEntry": _POST,
    "HoldBalance": _POST,
    "CaptureHold": _POST,
    "ReleaseHold": _POST,
    "PaySale": _POST,
    "GetBalance": _READ,
    "ListEntries": _READ,
    "JoinAccount": _POST,
}

_POSTS: Final = (ScannerRight.POST_BALANCES,)
_MANAGES: Final = (ScannerRight.MANAGE_BALANCES,)
_BEHIND_ALL: Final = (1 << 31) - 1  # the largest sequence there is


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceUseCases:
    """What BalanceService calls."""

    set_balance_unit: SetBalanceUnit
    set_tiers: SetTiers
    post_entry: PostEntry
    post_entries: PostEntries
    reverse_entry: ReverseEntry
    hold_balance: HoldBalance
    capture_hold: CaptureHold
    release_hold: ReleaseHold
    pay_sale: PaySale
    read_balance: ReadBalance
    join_account: JoinAccount


class BalanceServicer:
    """Decodes, calls one use case, encodes."""

    def __init__(
        self, *, use_cases: BalanceUseCases, desks: Desks, database: Database, pages: Pages
    ) -> None:
        self._use_cases = use_cases
        self._desks = desks
        self._database = database
        self._pages = pages

    async def set_balance_unit(self, request: pb.SetBalanceUnitRequest, call: Call) -> Answer:
        """Makes or changes a unit."""

        def encode(unit: BalanceUnit) -> Message:
            return pb.SetBalanceUnitResponse(balance_unit=unit_to_proto(unit))

        return await self._use_cases.set_balance_unit(
            call.mutation(request, encode), unit_from_proto(request.balance_unit)
        )

    async def list_balance_units(self, request: pb.ListBalanceUnitsRequest, call: Call) -> Message:
        """Lists a program's units."""
        program_id = program_id_from(request.program_id)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            await get_program(tx, program_id)
            units = await list_units(tx, program_id)
        return pb.ListBalanceUnitsResponse(balance_units=[unit_to_proto(each) for each in units])

    async def set_tiers(self, request: pb.SetTiersRequest, call: Call) -> Answer:
        """Replaces a program's tiers."""

        def encode(tiers: list[Tier]) -> Message:
            return pb.SetTiersResponse(tiers=[tier_to_proto(each) for each in tiers])

        return await self._use_cases.set_tiers(
            call.mutation(request, encode),
            program_id=program_id_from(request.program_id),
            tiers=[tier_from_proto(each) for each in request.tiers],
        )

    async def list_tiers(self, request: pb.ListTiersRequest, call: Call) -> Message:
        """Lists a program's tiers."""
        program_id = program_id_from(request.program_id)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            await get_program(tx, program_id)
            tiers = await list_tiers(tx, program_id)
        return pb.ListTiersResponse(tiers=[tier_to_proto(each) for each in tiers])

    async def post_entry(self, request: pb.PostEntryRequest, call: Call) -> Answer:
        """Posts one entry."""

        def encode(posted: Posted) -> Message:
            return pb.PostEntryResponse(
                refusal=refusal_number(posted),
                entry=entry_to_proto(posted.entry),
                balance=balance_to_proto(posted.balance),
            )

        ref = ref_from_proto(request.ref)
        draft = entry_draft_from_proto(request.entry, path="entry")
        desk = await self._desks(call.caller, [draft.right], [ref])
        return await self._use_cases.post_entry(
            call.mutation(request, encode), ref=ref, draft=draft.at(desk)
        )

    async def batch_post_entries(self, request: pb.BatchPostEntriesRequest, call: Call) -> Message:
        """Posts entries, each by itself."""
        drafts = [
            keyed_from_proto(each, path=f"entries[{at}]") for at, each in enumerate(request.entries)
        ]
        outcomes = await self._post(call.caller, drafts)
        return pb.BatchPostEntriesResponse(outcomes=[outcome_to_proto(each) for each in outcomes])

    async def stream_entries(self, _: None, stream: Stream) -> None:
        """Posts entries, message after message; each is acknowledged when it is committed."""
        expected = 1
        while True:
            try:
                message = await stream.receive()
                if message is None:
                    return
                request = cast("pb.StreamEntriesRequest", message)
                if request.sequence != expected:
                    raise invalid_field("sequence", f"must be {expected}, one more with each")
                drafts = [
                    keyed_from_proto(each, path=f"entries[{at}]")
                    for at, each in enumerate(request.entries)
                ]
                outcomes = await self._post(await stream.caller(), drafts)
            except AppError as error:
                answer = pb.StreamEntriesResponse(acknowledged_sequence=expected - 1)
                answer.error.CopyFrom(stream.told(error))
                await stream.send(answer)
                return
            await stream.send(
                pb.StreamEntriesResponse(
                    acknowledged_sequence=expected,
                    outcomes=[outcome_to_proto(each) for each in outcomes],
                )
            )
            expected += 1

    async def _post(self, caller: Caller, drafts: Sequence[KeyedDraft]) -> list[EntryOutcome]:
        desk = await self._desks(
            caller, {each.draft.right for each in drafts}, [each.ref for each in drafts]
        )
        return await self._use_cases.post_entries(
            caller, [replace(each, draft=each.draft.at(desk)) for each in drafts]
        )

    async def reverse_entry(self, request: pb.ReverseEntryRequest, call: Call) -> Answer:
        """Takes an entry back."""

        def encode(posted: Posted) -> Message:
            return pb.ReverseEntryResponse(
                refusal=refusal_number(posted),
                entry=entry_to_proto(posted.entry),
                balance=balance_to_proto(posted.balance),
            )

        is_by_key = request.WhichOneof("target") == "posted_request_id"
        return await self._use_cases.reverse_entry(
            call.mutation(request, encode),
            entry_id=request.entry_id,
            posted_request_id=request.posted_request_id if is_by_key else None,
            reference=request.reference,
            desk=await self._desks(call.caller, ()),
        )

    async def hold_balance(self, request: pb.HoldBalanceRequest, call: Call) -> Answer:
        """Sets part of a balance aside."""

        def encode(held: Held) -> Message:
            return pb.HoldBalanceResponse(
                refusal=refusal_number(held),
                hold=hold_to_proto(held.hold),
                balance=balance_to_proto(held.balance),
            )

        ref = ref_from_proto(request.ref)
        await self._desks(call.caller, _POSTS, [ref])
        return await self._use_cases.hold_balance(
            call.mutation(request, encode),
            ref=ref,
            draft=HoldDraft(
                unit=request.unit,
                amount=request.amount,
                duration=duration_from(request),
                reference=request.reference,
            ),
        )

    async def capture_hold(self, request: pb.CaptureHoldRequest, call: Call) -> Answer:
        """Spends what is held."""

        def encode(end: HoldEnd) -> Message:
            return pb.CaptureHoldResponse(
                refusal=refusal_number(end),
                entry=entry_to_proto(end.entry),
                hold=hold_to_proto(end.hold),
                balance=balance_to_proto(end.balance),
            )

        desk = await self._desks(call.caller, _POSTS)
        return await self._use_cases.capture_hold(
            call.mutation(request, encode),
            hold_id=request.hold_id,
            amount=request.amount,
            reference=request.reference,
            venue=desk.venue_of_entry(request.venue),
            scanner_id=desk.scanner_id,
        )

    async def release_hold(self, request: pb.ReleaseHoldRequest, call: Call) -> Answer:
        """Frees what is held."""

        def encode(end: HoldEnd) -> Message:
            return pb.ReleaseHoldResponse(
                refusal=refusal_number(end),
                hold=hold_to_proto(end.hold),
                balance=balance_to_proto(end.balance),
            )

        await self._desks(call.caller, _POSTS)
        return await self._use_cases.release_hold(
            call.mutation(request, encode), hold_id=request.hold_id
        )

    async def pay_sale(self, request: pb.PaySaleRequest, call: Call) -> Answer:
        """Pays part of a sale."""

        def encode(payment: Payment) -> Message:
            return pb.PaySaleResponse(
                refusal=refusal_number(payment),
                amount=payment.amount,
                paid=money_to_proto(payment.paid),
                due=money_to_proto(payment.due),
                entry=entry_to_proto(payment.entry),
                hold=hold_to_proto(payment.hold),
                balance=balance_to_proto(payment.balance),
            )

        ref = ref_from_proto(request.ref)
        desk = await self._desks(call.caller, _POSTS, [ref])
        return await self._use_cases.pay_sale(
            call.mutation(request, encode), ref=ref, sale=sale_from_proto(request).at(desk)
        )

    async def get_balance(self, request: pb.GetBalanceRequest, call: Call) -> Message:
        """Gives what an account has."""
        view = await self._use_cases.read_balance(call.caller, ref_from_proto(request.ref))
        return account_to_proto(view)

    async def list_entries(self, request: pb.ListEntriesRequest, call: Call) -> Message:
        """Gives a page of an account's entries."""
        key = self._pages.key(request, request.page_token)
        size = self._pages.size(request.page_size)
        listed = await self._use_cases.read_balance.entries(
            call.caller,
            ref_from_proto(request.ref),
            unit=request.unit,
            before=_BEHIND_ALL if key is None else int(key[0]),
            at_most=size + 1,
        )
        page, more = listed[:size], len(listed) > size
        return pb.ListEntriesResponse(
            entries=[each for each in map(entry_to_proto, page) if each is not None],
            next_page_token=self._pages.token(request, [page[-1].sequence]) if more else "",
        )

    async def join_account(self, request: pb.JoinAccountRequest, call: Call) -> Answer:
        """Lets a pass share an account."""

        def encode(joined: Joined) -> Message:
            return pb.JoinAccountResponse(
                refusal=refusal_number(joined), account_id=str(joined.account_id)
            )

        ref, account_of = ref_from_proto(request.ref), ref_from_proto(request.account_of)
        await self._desks(call.caller, _MANAGES, [ref, account_of])
        return await self._use_cases.join_account(
            call.mutation(request, encode), ref=ref, account_of=account_of
        )
