"""A request that each method of BalanceService takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from passmill.v1 import balance_service_pb2 as balances_pb2
from passmill.v1.balance_pb2 import BalanceUnit, Tier
from passmill.v1.request_meta_pb2 import RequestMeta
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.support.balances import entry, euros
from tests.support.balances import keyed as keyed_entry
from tests.support.service import Club


def balance_requests(club: Club, ids: Mapping[str, str], new: Callable[[], Any]) -> list[Message]:
    """The requests. `new`: gives each change a request id of its own."""
    ref = PassRef(pass_id=ids["pass_id"])
    program: dict[str, Any] = {"program_id": club.program_id}
    points: dict[str, Any] = {"ref": ref, "unit": "points"}
    unit = BalanceUnit(
        **program,
        unit="points",
        kind=BalanceUnit.KIND_POINTS,
        sale_payment=BalanceUnit.SalePayment(max_share_percent=30, amount=1, value=euros(1)),
    )
    return [
        balances_pb2.SetBalanceUnitRequest(balance_unit=unit, meta=new()),
        balances_pb2.ListBalanceUnitsRequest(**program),
        balances_pb2.SetTiersRequest(
            **program, tiers=[Tier(tier="gold", unit="points", at_least=1)], meta=new()
        ),
        balances_pb2.ListTiersRequest(**program),
        balances_pb2.PostEntryRequest(ref=ref, entry=entry(1), meta=new()),
        balances_pb2.BatchPostEntriesRequest(entries=[keyed_entry(ref, 1)]),
        balances_pb2.StreamEntriesRequest(sequence=1, entries=[keyed_entry(ref, 1)]),
        balances_pb2.ReverseEntryRequest(entry_id=ids["entry_id"], meta=new()),
        hold_request(ref, new()),
        balances_pb2.CaptureHoldRequest(hold_id=ids["hold_id"], meta=new()),
        balances_pb2.ReleaseHoldRequest(hold_id=ids["hold_id"], meta=new()),
        balances_pb2.PaySaleRequest(**points, sale_total=euros(100), meta=new()),
        balances_pb2.GetBalanceRequest(ref=ref),
        balances_pb2.ListEntriesRequest(**points),
        balances_pb2.JoinAccountRequest(ref=ref, account_of=ref, meta=new()),
    ]


def hold_request(ref: PassRef, request_meta: RequestMeta) -> balances_pb2.HoldBalanceRequest:
    """Holds a point."""
    return balances_pb2.HoldBalanceRequest(ref=ref, unit="points", amount=1, meta=request_meta)
