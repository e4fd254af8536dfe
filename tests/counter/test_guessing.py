"""Reference ids are short enough to be typed, so somebody will try them out."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import Counter as Tally
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
import pytest

from passmill.domain.reference_ids import ReferenceNumber, format_reference_id
from passmill.settings import Counter as Counters
from passmill.v1 import pass_service_pb2 as passes_pb2
from passmill.v1 import scan_pb2
from passmill.v1.scan_pb2 import RefusalReason, ScanRef
from passmill.v1.scan_service_pb2 import VerifyPassRequest
from passmill.v1.scan_service_pb2_grpc import ScanServiceStub
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.support.channels import CALL_SECONDS
from tests.support.counters import Counter, Till, open_counter
from tests.support.postgres import Database
from tests.support.refusals import refused
from tests.support.service import open_service, service_settings

pytestmark = pytest.mark.asyncio(loop_scope="session")

# PASSMILL_GUESSED_REFERENCES=100000 asks for all that were promised; it takes minutes.
GUESSES: Final = int(os.environ.get("PASSMILL_GUESSED_REFERENCES", "2000"))
AT_ONCE: Final = 20


async def test_random_reference_ids_find_nothing(counter: Counter) -> None:
    """Of thousands of random reference ids none finds a pass: nobody is heard without a key, a
    scanner without the right is told just that, and a key with it waits after its burst."""
    issued = await counter.club.issue()
    nobody = ScanServiceStub(counter.club.tenant.service.api)
    unentitled = await counter.scanner([])
    key = await counter.club.tenant.service.add_key(counter.club.tenant.tenant_id)
    staff = counter.till_of(key)

    async def without_key(reference_id: str) -> str:
        request = VerifyPassRequest(ref=ScanRef(reference_id=reference_id))
        try:
            await nobody.VerifyPass(request, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "answered"

    assert set(await _guesses(without_key)) == {"UNAUTHENTICATED"}
    assert set(await _guesses(lambda each: _told(unentitled, each))) == {
        "REFUSAL_REASON_RIGHT_MISSING"
    }
    told = await _guesses(lambda each: _told(staff, each))
    assert set(told) == {"REFUSAL_REASON_UNKNOWN_CODE", "RESOURCE_EXHAUSTED"}
    assert told["RESOURCE_EXHAUSTED"] > told["REFUSAL_REASON_UNKNOWN_CODE"]
    # What is shown is still verified, by each of them.
    for till in (unentitled, staff):
        assert (await till.look(issued)).pass_id == issued.pass_id


async def test_guessing_meets_its_limit(counter: Counter) -> None:
    """After sixty reference ids that are none the key waits, whatever it looks up by hand and by
    whichever method; scans and other keys go on."""
    issued = await counter.club.issue()
    key = await counter.club.tenant.service.add_key(counter.club.tenant.tenant_id)
    guesser = counter.till_of(key)
    told = await _guesses(lambda each: _told(guesser, each), 200)
    assert set(told) == {"REFUSAL_REASON_UNKNOWN_CODE", "RESOURCE_EXHAUSTED"}
    assert told["REFUSAL_REASON_UNKNOWN_CODE"] < 120
    by_hand = ScanRef(reference_id=issued.reference_id)
    refusal = await refused(guesser.verify(by_hand))
    assert refusal.reason == "RATE_LIMITED"
    assert refusal.retry_after is not None
    passes = counter.club.tenant.service.member(key).passes
    named = PassRef(reference_id=issued.reference_id)
    elsewhere = await refused(passes.GetPass(passes_pb2.GetPassRequest(ref=named)))
    assert elsewhere.reason == "RATE_LIMITED"
    assert (await guesser.look(issued)).pass_id == issued.pass_id
    [found] = (await counter.till.verify(by_hand)).passes
    assert found.pass_id == issued.pass_id


async def test_many_at_once_are_told_no_more(shared_database: Database) -> None:
    """Of reference ids that are none, all named at once, as many are answered as the burst holds;
    right ones, named at once, are all found."""
    limits = Counters(look_up_burst=5, look_ups_per_second=0.001)
    settings = service_settings(shared_database.url).model_copy(update={"counter": limits})
    async with open_service(shared_database.url, settings=settings) as service:
        counter = await open_counter(await service.add_club())
        issued = await counter.club.issue()
        right = [_told(counter.till, issued.reference_id) for _ in range(40)]
        assert set(await asyncio.gather(*right)) == {"found"}
        wrong = (format_reference_id(ReferenceNumber(secrets.randbits(35))) for _ in range(60))
        told = Tally(await asyncio.gather(*(_told(counter.till, each) for each in wrong)))
        assert told == {"REFUSAL_REASON_UNKNOWN_CODE": 5, "RESOURCE_EXHAUSTED": 55}


async def _guesses(ask: Callable[[str], Awaitable[str]], count: int = GUESSES) -> Tally[str]:
    """What was told of so many random reference ids, `AT_ONCE` at a time."""
    told: Tally[str] = Tally()
    for _ in range(0, count, AT_ONCE):
        random = (ReferenceNumber(secrets.randbits(35)) for _ in range(AT_ONCE))
        told.update(await asyncio.gather(*(ask(format_reference_id(each)) for each in random)))
    return told


async def _told(till: Till, reference_id: str) -> str:
    """The reason or code of a refusal; "found" when there was a pass."""
    try:
        answer = await till.verify(ScanRef(reference_id=reference_id))
    except grpc.aio.AioRpcError as error:
        return error.code().name
    if answer.passes or answer.reason == scan_pb2.REFUSAL_REASON_UNSPECIFIED:
        return "found"
    return RefusalReason.Name(answer.reason)
