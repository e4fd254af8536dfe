"""What a scanner may do, right by right, of every method that takes its key."""

import asyncio
from collections.abc import Collection
from typing import Final

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.message import Message

from passmill.domain.scanners import ScannerRight
from passmill.rpc import balance_service, holder_service, scan_service
from passmill.v1 import balance_service_pb2 as balances
from passmill.v1 import counter_pb2, scan_pb2
from passmill.v1.balance_service_pb2_grpc import BalanceServiceStub
from passmill.v1.counter_pb2 import Venue
from passmill.v1.scan_service_pb2 import SyncOfflineScansResponse
from tests.support.balances import EARN, entry, open_till, post_request
from tests.support.channels import keyed
from tests.support.counters import Counter, open_counter
from tests.support.every_method import Method, every_method, ids_of, sample_requests
from tests.support.refusals import refusal_of, refusal_of_status
from tests.support.scanner_cases import NEEDED, RightCase, special_cases
from tests.support.service import Club, Service, meta

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVICES: Final = (scan_service, balance_service, holder_service)
EVERY: Final = frozenset(ScannerRight)


def numbers(rights: Collection[ScannerRight]) -> list[counter_pb2.ScannerRight.ValueType]:
    """Rights in the protocol's words."""
    return [counter_pb2.ScannerRight.Value(f"SCANNER_RIGHT_{right.name}") for right in rights]


async def missing_right(
    method: Method, service: Service, api_key: str, request: Message
) -> str | None:
    """The right for want of which a call is refused, None when it is not; "?" when the answer does
    not say which, "scope" when no scanner may call."""
    try:
        content = await method.send(service, api_key, request.SerializeToString())
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        if refusal.reason == "SCOPE_MISSING":
            return "scope"
        if refusal.reason != "SCANNER_RIGHT_MISSING":
            return None
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        return refusal.metadata["right"]
    answer = message_factory.GetMessageClass(method.descriptor.output_type).FromString(content)
    if isinstance(answer, balances.StreamEntriesResponse):
        if not answer.HasField("error"):
            return None
        refusal = refusal_of_status(answer.error)
        return refusal.metadata.get("right")
    told: Message = answer.results[0] if isinstance(answer, SyncOfflineScansResponse) else answer
    is_missing = getattr(told, "reason", 0) == scan_pb2.REFUSAL_REASON_RIGHT_MISSING
    return "?" if is_missing else None


async def test_every_method_has_its_rights() -> None:
    """No method of the services that scanners call is forgotten here: those whose scope a scanner
    has say what right they need, the others that no scanner may call."""
    methods = {name: rule for module in SERVICES for name, rule in module.RULES.items()}
    assert set(methods) == set(NEEDED)
    for name, rule in methods.items():
        assert (NEEDED[name] is None) == (rule.scope not in (None, "redeem")), name


async def test_rights_open_what_they_name(service: Service) -> None:
    """A scanner with all rights but one, with one alone, and with just what a request needs: each
    method refuses it exactly when a right that the request needs is missing, and names that."""
    club = await service.add_club()
    ids = await ids_of(club)
    counter = Counter(club=club, venue=Venue(venue_id=ids["venue_id"]))
    samples = await sample_requests(club, ids, validate_only=True)
    methods = {method.name: method for method in every_method(service)}
    cases = [
        RightCase(method=name, request=samples[name], needed=needed or frozenset())
        for name, needed in NEEDED.items()
    ]
    cases += special_cases(ids)
    held = {frozenset({right}) for right in EVERY} | {EVERY - {right} for right in EVERY}
    held |= {case.needed for case in cases}
    for rights in held:
        scanner = await counter.scanner(numbers(rights))

        async def judge(case: RightCase, api_key: str = scanner.api_key) -> str | None:
            return await missing_right(methods[case.method], service, api_key, case.request)

        told = await asyncio.gather(*(judge(case) for case in cases))
        for case, right in zip(cases, told, strict=True):
            note = (case.method, sorted(case.needed), sorted(rights), right)
            if NEEDED[case.method] is None:
                assert right == "scope", note
            elif case.needed <= rights:
                assert right is None, note
            else:
                assert right in ("?", *(case.needed - rights)), note


async def test_a_key_that_is_no_scanners_needs_none(rowing_club: Club) -> None:
    """A till's own key with the scope may do all of it, and says itself where it is."""
    service = rowing_club.tenant.service
    ids = await ids_of(rowing_club)
    api_key = rowing_club.tenant.member.api_key
    methods = {method.name: method for method in every_method(service)}
    for case in special_cases(ids):
        refused = await missing_right(methods[case.method], service, api_key, case.request)
        assert refused is None, case.method
    till = await open_till(rowing_club)
    posted = await till.post(await till.issue(), 5, venue="till 7")
    assert (posted.entry.venue, posted.entry.scanner_id) == ("till 7", "")


async def test_a_scanners_entry_is_its_venues(service: Service) -> None:
    """What a scanner posts, one by one, in a batch, by a sale or from a hold, has its own venue and
    its id, whatever it says of itself."""
    counter = await open_counter(await service.add_club())
    till = await open_till(counter.club)
    issued = await till.issue()
    await till.post(issued, 1000)
    scanner = await counter.scanner(numbers([ScannerRight.POST_BALANCES]))
    stub = BalanceServiceStub(keyed(service.api, scanner.api_key))
    other = (await counter.add_venue("Elsewhere")).venue_id
    await stub.PostEntry(post_request(issued, 5, EARN, venue=other))
    ref = post_request(issued, 5, EARN).ref
    keyed_entry = balances.KeyedEntry(
        request_id=meta().request_id, ref=ref, entry=entry(7, EARN, venue=other)
    )
    await stub.BatchPostEntries(balances.BatchPostEntriesRequest(entries=[keyed_entry]))
    held = await stub.HoldBalance(
        balances.HoldBalanceRequest(ref=ref, unit="points", amount=3, meta=meta())
    )
    await stub.CaptureHold(
        balances.CaptureHoldRequest(hold_id=held.hold.hold_id, venue=other, meta=meta())
    )
    listed = (await till.entries(issued))[:3]
    assert [each.amount for each in listed] == [-3, 7, 5]
    assert {each.venue for each in listed} == {counter.venue.venue_id}
    assert len({each.scanner_id for each in listed}) == 1
    assert listed[0].scanner_id


async def test_a_scanner_takes_back_its_own(service: Service) -> None:
    """With POST_BALANCES alone a scanner takes back what it posted itself a moment ago, and nothing
    of another scanner or of a till; the reversal is its own, too."""
    counter = await open_counter(await service.add_club())
    till = await open_till(counter.club)
    issued = await till.issue()
    theirs = await till.post(issued, 100)
    one, other = [
        BalanceServiceStub(
            keyed(
                service.api, (await counter.scanner(numbers([ScannerRight.POST_BALANCES]))).api_key
            )
        )
        for _ in range(2)
    ]
    own = await one.PostEntry(post_request(issued, 5, EARN))
    for stub, posted in ((one, theirs), (other, own)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReverseEntry(_reversal(posted.entry.entry_id))
        assert refusal_of(caught.value).metadata == {"right": "manage_balances"}
    taken_back = await one.ReverseEntry(_reversal(own.entry.entry_id))
    assert taken_back.entry.amount == -5
    assert taken_back.entry.scanner_id == own.entry.scanner_id


def _reversal(entry_id: str) -> balances.ReverseEntryRequest:
    return balances.ReverseEntryRequest(entry_id=entry_id, meta=meta())
