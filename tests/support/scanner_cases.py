"""What each method that a scanner may call asks of its rights: requests, and what each needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from passmill.domain.scanners import ScannerRight
from passmill.v1 import balance_service_pb2 as balances
from passmill.v1 import holder_service_pb2 as holders
from passmill.v1 import scan_service_pb2 as scans
from passmill.v1.balance_pb2 import ENTRY_KIND_ADJUST, ENTRY_KIND_EXPIRE
from passmill.v1.scan_pb2 import ScanRef
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.support.balances import keyed
from tests.support.every_method import Ids
from tests.support.holders import card, phone
from tests.support.service import meta

REDEEM, CHECK_IN, REVERSE = ScannerRight.REDEEM, ScannerRight.CHECK_IN, ScannerRight.REVERSE
LOOK_UP, IDENTIFY, LINK, MOVE = (
    ScannerRight.LOOK_UP,
    ScannerRight.IDENTIFY,
    ScannerRight.LINK,
    ScannerRight.MOVE,
)
POST, MANAGE = ScannerRight.POST_BALANCES, ScannerRight.MANAGE_BALANCES

NEEDED: Final[Mapping[str, frozenset[ScannerRight] | None]] = {
    # ScanService: whoever is a scanner may verify, and read what scanners need.
    "VerifyPass": frozenset(),
    "RedeemPass": frozenset({REDEEM}),
    "CheckIn": frozenset({CHECK_IN}),
    "CheckOut": frozenset({CHECK_IN}),
    "ReverseRedemption": frozenset({REVERSE}),
    "SyncOfflineScans": frozenset({REDEEM}),
    "GetScannerConfig": frozenset(),
    "GetOfflineBundle": frozenset(),
    "ListRedemptions": frozenset(),
    "ListOfflineScans": frozenset(),
    "EnrolScanner": frozenset(),
    # BalanceService.
    "SetBalanceUnit": None,
    "ListBalanceUnits": None,
    "SetTiers": None,
    "ListTiers": None,
    "PostEntry": frozenset({POST}),
    "BatchPostEntries": frozenset({POST}),
    "StreamEntries": frozenset({POST}),
    "ReverseEntry": frozenset({MANAGE}),
    "HoldBalance": frozenset({POST}),
    "CaptureHold": frozenset({POST}),
    "ReleaseHold": frozenset({POST}),
    "PaySale": frozenset({POST}),
    "GetBalance": None,
    "ListEntries": None,
    "JoinAccount": frozenset({MANAGE}),
    # HolderService.
    "FindHolder": None,
    "IdentifyHolder": frozenset({IDENTIFY}),
    "LinkIdentity": frozenset({LINK}),
    "UnlinkIdentity": frozenset({LINK}),
    "LinkPass": frozenset({LINK}),
    "EraseHolder": None,
}
"""What the sample request of each method needs; None: no scanner may call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RightCase:
    """A request of a method, and the rights without any of which a scanner is refused."""

    method: str
    request: Message
    needed: frozenset[ScannerRight]


def special_cases(ids: Ids) -> Sequence[RightCase]:
    """Requests that need something else than the samples of their methods."""
    named, typed = PassRef(pass_id=ids["pass_id"]), PassRef(reference_id=ids["reference_id"])
    holder, typed_holder = (
        holders.HolderRef(wallet_pass=named),
        holders.HolderRef(wallet_pass=typed),
    )
    one, dry = card("one"), meta(validate_only=True)
    adjusted, expired = keyed(named, 1), keyed(named, 1)
    adjusted.entry.kind, expired.entry.kind = ENTRY_KIND_ADJUST, ENTRY_KIND_EXPIRE
    requests: list[tuple[Message, set[ScannerRight]]] = [
        (scans.VerifyPassRequest(ref=ScanRef(reference_id=ids["reference_id"])), {LOOK_UP}),
        (scans.VerifyPassRequest(ref=ScanRef(phone="+12065550100")), {LOOK_UP}),
        (
            scans.RedeemPassRequest(
                ref=ScanRef(reference_id=ids["reference_id"]), offer_id=ids["offer_id"], meta=dry
            ),
            {REDEEM, LOOK_UP},
        ),
        (
            balances.PostEntryRequest(ref=typed, entry=keyed(typed, 1).entry, meta=dry),
            {POST, LOOK_UP},
        ),
        (balances.PostEntryRequest(ref=named, entry=adjusted.entry, meta=dry), {MANAGE}),
        (balances.PostEntryRequest(ref=named, entry=expired.entry, meta=dry), {MANAGE}),
        (balances.BatchPostEntriesRequest(entries=[keyed(typed, 1)]), {POST, LOOK_UP}),
        (balances.BatchPostEntriesRequest(entries=[keyed(named, 1), adjusted]), {POST, MANAGE}),
        (
            balances.StreamEntriesRequest(sequence=1, entries=[keyed(named, 1), expired]),
            {POST, MANAGE},
        ),
        (balances.JoinAccountRequest(ref=named, account_of=typed, meta=dry), {MANAGE, LOOK_UP}),
        (holders.IdentifyHolderRequest(identity=phone("+12065550100")), {IDENTIFY, LOOK_UP}),
        (holders.LinkIdentityRequest(ref=holder, identity=one, move=True, meta=dry), {LINK, MOVE}),
        (holders.LinkIdentityRequest(ref=typed_holder, identity=one, meta=dry), {LINK, LOOK_UP}),
        (holders.UnlinkIdentityRequest(ref=typed_holder, identity=one, meta=dry), {LINK, LOOK_UP}),
        (
            holders.LinkPassRequest(ref=holder, wallet_pass=named, move=True, meta=dry),
            {LINK, MOVE},
        ),
        (holders.LinkPassRequest(ref=holder, wallet_pass=typed, meta=dry), {LINK, LOOK_UP}),
    ]
    return [
        RightCase(
            method=str(request.DESCRIPTOR.name).removesuffix("Request"),
            request=request,
            needed=frozenset(needed),
        )
        for request, needed in requests
    ]
