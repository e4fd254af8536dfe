"""A door before two streaming methods of CampaignService, served as a test says."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from passmill.domain.callers import Caller, operator_caller
from passmill.domain.keyring import Keyring
from passmill.errors import AppError, Reason
from passmill.rpc.campaign_service import RULES, SERVICE
from passmill.rpc.door import Door
from passmill.rpc.places import Places, RequestBytes
from passmill.rpc.status import RequestValidator
from passmill.rpc.streams import Stream
from passmill.telemetry.metrics import Metrics
from passmill.v1 import campaign_service_pb2 as pb
from tests.support.channels import CALL_SECONDS

Serving = Callable[[Stream], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Doorkeeper:
    """Lets everybody in until the key is revoked."""

    is_revoked: bool = False

    async def authenticate(self, credential: str | None, *, deadline: float) -> Caller:
        """The operator, whatever the credential."""
        if self.is_revoked:
            raise AppError(reason=Reason.UNAUTHENTICATED, message="Revoked.")
        return operator_caller(deadline=deadline)


class _Servicer:
    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def __getattr__(self, name: str) -> object:
        async def handle(_: object, stream: Stream) -> None:
            await self._serving(stream)

        return handle


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDoor:
    """A running server."""

    door: Door
    channel: grpc.aio.Channel
    doorkeeper: Doorkeeper
    registry: CollectorRegistry = field(repr=False)

    def watch(self, *, seconds: float | None = CALL_SECONDS, content: bytes | None = None) -> Any:
        """Begins a call that answers with a stream."""
        request = pb.WatchCampaignRequest(campaign_id="x").SerializeToString()
        method: Any = self.channel.unary_stream(f"/{SERVICE.full_name}/WatchCampaign")
        return method(request if content is None else content, timeout=seconds)

    def append(self, *, seconds: float | None = CALL_SECONDS) -> Any:
        """Begins a call with streams both ways."""
        method: Any = self.channel.stream_stream(f"/{SERVICE.full_name}/AppendRecipients")
        return method(timeout=seconds)

    def sample(self, name: str, method: str, **labels: str) -> float:
        """The value of a series of a method."""
        labels = {"method": f"CampaignService/{method}", **labels}
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def open_stream_door(
    serving: Serving,
    *,
    max_streams: int = 100,
    max_streams_of_key: int = 0,
    max_request_bytes: int = 1 << 20,
    max_request_bytes_of_key: int = 0,
    idle_seconds: float = 60.0,
) -> AsyncIterator[StreamDoor]:
    """Serves on a free port of the loopback."""
    registry = CollectorRegistry()
    doorkeeper = Doorkeeper()
    door = Door(
        authenticator=doorkeeper,
        keyring=Keyring(secrets.token_bytes(32)),
        metrics=Metrics(registry),
        validator=RequestValidator(),
        calls=Places(most=1, most_of_key=1),
        streams=Places(most=max_streams, most_of_key=max_streams_of_key or max_streams),
        request_bytes=RequestBytes(
            most=max_request_bytes, most_of_key=max_request_bytes_of_key or max_request_bytes
        ),
        idle_seconds=idle_seconds,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([door.handlers(SERVICE, _Servicer(serving), RULES)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.use_local_subchannel_pool", 1)]
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield StreamDoor(door=door, channel=channel, doorkeeper=doorkeeper, registry=registry)
    finally:
        await server.stop(grace=1)
