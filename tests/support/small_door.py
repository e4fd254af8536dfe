"""A door before one method, GetCaller of AccessService, answered as a test says."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import grpc
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from passmill.domain.callers import Caller, operator_caller
from passmill.domain.keyring import Keyring
from passmill.errors import AppError, Reason
from passmill.rpc.access_service import RULES, SERVICE
from passmill.rpc.door import Call, Door, MethodRule
from passmill.rpc.places import Places, RequestBytes
from passmill.rpc.status import RequestValidator
from passmill.telemetry.metrics import Metrics
from passmill.v1 import access_service_pb2 as pb
from tests.support.channels import CALL_SECONDS, send_bytes

PATH = f"/{SERVICE.full_name}/GetCaller"

Answering = Callable[[], Awaitable[Message]]


class Anybody:
    """Lets everybody in."""

    async def authenticate(self, credential: str | None, *, deadline: float) -> Caller:
        """The operator, by the key that the credential names."""
        return replace(operator_caller(deadline=deadline), key_id=credential or "operator")


class Nobody:
    """Lets nobody in."""

    async def authenticate(self, credential: str | None, *, deadline: float) -> Caller:
        """AppError UNAUTHENTICATED, whatever the credential."""
        raise AppError(reason=Reason.UNAUTHENTICATED, message="No.")


class Answers:
    """A servicer that does what a test says."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.calls: list[Call] = []

    async def get_caller(self, _: pb.GetCallerRequest, call: Call) -> Message:
        """What the test says."""
        self.calls.append(call)
        return await self.answering()


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDoor:
    """A running server with one method."""

    channel: grpc.aio.Channel
    registry: CollectorRegistry = field(repr=False)

    async def call(self, *, seconds: float = CALL_SECONDS) -> bytes:
        """Calls the method; gives the answer's bytes."""
        return await self.start(seconds=seconds)

    def start(
        self, *, seconds: float = CALL_SECONDS, key: str = "operator"
    ) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
        """Begins a call."""
        metadata = (("authorization", key),)
        return send_bytes(self.channel, PATH, b"", timeout=seconds, metadata=metadata)

    def sample(self, name: str, **labels: str) -> float:
        """The value of a series of the method."""
        labels = {"method": "AccessService/GetCaller", **labels}
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def open_small_door(
    answering: Answering,
    *,
    max_calls: int = 100,
    max_calls_of_key: int = 0,
    servicer: Answers | None = None,
    rules: Mapping[str, MethodRule] = RULES,
    nobody: bool = False,
) -> AsyncIterator[SmallDoor]:
    """Serves the method on a free port of the loopback. `nobody`: no credential is any good."""
    registry = CollectorRegistry()
    door = Door(
        authenticator=Nobody() if nobody else Anybody(),
        keyring=Keyring(secrets.token_bytes(32)),
        metrics=Metrics(registry),
        validator=RequestValidator(),
        calls=Places(most=max_calls, most_of_key=max_calls_of_key or max_calls),
        streams=Places(most=1, most_of_key=1),
        request_bytes=RequestBytes(most=1 << 28, most_of_key=1 << 28),
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([door.handlers(SERVICE, servicer or Answers(answering), rules)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.use_local_subchannel_pool", 1)]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield SmallDoor(channel=channel, registry=registry)
    finally:
        await server.stop(grace=1)


def raising(error: BaseException) -> Answering:
    """Answers with an error."""

    async def answer() -> Message:
        raise error

    return answer


class Gate:
    """Holds calls until it is opened, and counts them."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0
        self._changed = asyncio.Condition()

    async def answer(self) -> Message:
        """Waits for the gate."""
        await self._count(waiting=1)
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            await self._count(waiting=-1)
        return pb.GetCallerResponse(key_id="through")

    async def until_waiting(self, count: int) -> None:
        """Returns when so many calls wait."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.waiting == count)

    async def _count(self, *, waiting: int) -> None:
        async with self._changed:
            self.waiting += waiting
            self._changed.notify_all()
