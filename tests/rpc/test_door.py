"""The door: what goes wrong behind it, how much it lets in, and how long."""

import asyncio
import secrets
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from passmill.domain.callers import Scope
from passmill.domain.ids import OPERATOR_TENANT, TenantId
from passmill.domain.keyring import Keyring
from passmill.errors import AppError, Reason
from passmill.rpc.access_service import RULES, SERVICE
from passmill.rpc.door import Door, MethodRule
from passmill.rpc.places import Places, RequestBytes
from passmill.rpc.status import RequestValidator
from passmill.telemetry.metrics import Metrics
from passmill.v1 import access_service_pb2 as pb
from tests.support.channels import CALL_SECONDS, send_bytes
from tests.support.refusals import Refusal, refusal_of
from tests.support.small_door import (
    Answers,
    Anybody,
    Gate,
    SmallDoor,
    open_small_door,
    raising,
)

CANARY = "canary-7f3a91"


async def refusal(door: SmallDoor) -> Refusal:
    """How a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await door.call()
    return refusal_of(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        KeyError(CANARY),
        AssertionError(CANARY),
        RecursionError(CANARY),
        OSError(5, CANARY),
        ExceptionGroup(CANARY, [ValueError(CANARY)]),
        AppError(reason=Reason.INTERNAL, message="The stored thing cannot be opened."),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_fault_is_told_by_a_number(error: Exception) -> None:
    """Whatever goes wrong inside, the caller gets INTERNAL with an incident number and nothing of
    the error's text; the log has the number with the error."""
    with capture_logs() as logs:
        async with open_small_door(raising(error)) as door:
            refused = await refusal(door)
            assert door.sample("passmill_rpc_handled_total", code="INTERNAL") == 1
    assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    incident = refused.metadata["incident"]
    assert len(bytes.fromhex(incident)) == 8
    assert incident in refused.message
    assert CANARY.encode() not in refused.content
    [failed] = [entry for entry in logs if entry["event"] == "rpc.failed"]
    assert (failed["incident"], failed["exc_info"]) == (incident, error)


async def test_two_faults_are_two_incidents() -> None:
    """Each fault has a number of its own."""
    async with open_small_door(raising(ValueError())) as door:
        numbers = {(await refusal(door)).metadata["incident"] for _ in range(5)}
    assert len(numbers) == 5


async def test_time_that_ran_out_inside_is_the_deadline() -> None:
    """A TimeoutError from inside is told as the deadline."""
    async with open_small_door(raising(TimeoutError(CANARY))) as door:
        refused = await refusal(door)
    assert refused.reason == "DEADLINE_EXCEEDED"
    assert CANARY not in refused.message


async def test_the_deadline_ends_the_work() -> None:
    """When the caller's deadline passes, the work for it is cancelled, and counts as ended."""
    gate = Gate()
    async with open_small_door(gate.answer) as door:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await door.call(seconds=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await gate.until_waiting(0)
        assert gate.cancelled == 1
        assert (await still_in_flight(door)) == 0


async def test_a_caller_that_hangs_up_ends_the_work() -> None:
    """When the caller cancels, the work is cancelled and counted as that; others go on."""
    gate = Gate()
    async with open_small_door(gate.answer) as door:
        other = asyncio.ensure_future(door.call())
        hung_up = door.start()
        await gate.until_waiting(2)
        hung_up.cancel()
        await gate.until_waiting(1)
        assert gate.cancelled == 1
        gate.opened.set()
        assert pb.GetCallerResponse.FromString(await other).key_id == "through"
        assert (await still_in_flight(door)) == 0
        assert door.sample("passmill_rpc_handled_total", code="CANCELLED") == 1
        assert door.sample("passmill_rpc_handled_total", code="OK") == 1


async def still_in_flight(door: SmallDoor) -> float:
    """Calls in flight, once the loop has ended what was ending."""
    for _ in range(100):
        if not door.sample("passmill_rpc_in_flight"):
            break
        await asyncio.sleep(0)
    return door.sample("passmill_rpc_in_flight")


async def test_too_many_at_once_are_sent_away() -> None:
    """Over its measure of calls the door sends the next one away with a delay after which to come
    again, and lets in again when one has ended."""
    gate = Gate()
    async with open_small_door(gate.answer, max_calls=3) as door:
        let_in = [asyncio.ensure_future(door.call()) for _ in range(3)]
        await gate.until_waiting(3)
        sent_away = await refusal(door)
        assert (sent_away.code, sent_away.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "RATE_LIMITED",
        )
        assert sent_away.retry_after is not None
        gate.opened.set()
        await asyncio.gather(*let_in)
        assert pb.GetCallerResponse.FromString(await door.call()).key_id == "through"


@pytest.mark.parametrize("is_public", [False, True], ids=["a key", "no key"])
async def test_one_key_does_not_take_all_places(is_public: bool) -> None:
    """A key has a share of the places, and so have all callers without one together; over it the
    next call is sent away with a delay. Others come in all the while, and so does the key again
    when one of its calls has ended."""
    gate = Gate()
    public = {"GetCaller": MethodRule(scope=None, is_public=True)}
    rules = public if is_public else RULES
    async with open_small_door(gate.answer, max_calls=6, max_calls_of_key=3, rules=rules) as door:
        let_in = [asyncio.ensure_future(door.start(key="greedy")) for _ in range(3)]
        await gate.until_waiting(3)
        for _ in range(5):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await door.start(key="greedy")
            sent_away = refusal_of(caught.value)
            assert (sent_away.code, sent_away.reason) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "RATE_LIMITED",
            )
            assert sent_away.retry_after is not None
        if not is_public:
            let_in += [asyncio.ensure_future(door.start(key="modest")) for _ in range(3)]
            await gate.until_waiting(6)
        gate.opened.set()
        await asyncio.gather(*let_in)
        await door.start(key="greedy")


async def test_an_unknown_method_is_unimplemented() -> None:
    """A method or service that is not there is refused by gRPC itself."""
    async with open_small_door(Gate().answer) as door:
        for path in (f"/{SERVICE.full_name}/Nothing", "/passmill.v1.Nothing/GetCaller"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await send_bytes(door.channel, path, b"", timeout=CALL_SECONDS)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def answer_nothing() -> Message:
    """An empty answer."""
    return pb.GetCallerResponse()


@pytest.mark.parametrize(
    ("servicer", "rules"),
    [
        (Answers(answer_nothing), {}),
        (object(), RULES),
        (Answers(answer_nothing), {**RULES, "Nothing": MethodRule(scope=Scope.READ)}),
    ],
    ids=["no rule", "no implementation", "a rule for nothing"],
)
def test_a_method_nobody_thought_about_is_not_served(
    servicer: object, rules: dict[str, MethodRule]
) -> None:
    """A method without a rule or an implementation, and a rule without a method, stop the start."""
    door = Door(
        authenticator=Anybody(),
        keyring=Keyring(secrets.token_bytes(32)),
        metrics=Metrics(CollectorRegistry()),
        validator=RequestValidator(),
        calls=Places(most=1, most_of_key=1),
        streams=Places(most=1, most_of_key=1),
        request_bytes=RequestBytes(most=1 << 28, most_of_key=1 << 28),
    )
    with pytest.raises(ValueError, match=r"Caller|Nothing"):
        door.handlers(SERVICE, servicer, rules)


async def test_a_public_method_asks_for_no_credential() -> None:
    """A public method is let in without looking for a credential, as a caller without rights in no
    tenant; inside the tenant its secret is of, it still has none."""
    servicer = Answers(answer_nothing)
    rules = {"GetCaller": MethodRule(scope=None, is_public=True)}
    async with open_small_door(answer_nothing, servicer=servicer, rules=rules, nobody=True) as door:
        await door.call()
    [call] = servicer.calls
    for caller in (call.caller, call.within(TenantId(7)).caller):
        assert (caller.scopes, caller.is_operator) == (frozenset(), False)
    assert call.caller.tenant_id == OPERATOR_TENANT
    assert call.within(TenantId(7)).caller.tenant_id == 7


@pytest.mark.parametrize("demand", [{"scope": Scope.READ}, {"scope": None, "operator_only": True}])
def test_a_public_method_demands_no_right(demand: dict[str, Any]) -> None:
    """A rule that is public and demands a right is a contradiction."""
    with pytest.raises(ValueError, match="public"):
        MethodRule(is_public=True, **demand)
