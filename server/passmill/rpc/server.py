"""One listening grpc.aio server: options, TLS, health, and an end that loses no call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_channelz.v1.channelz import add_channelz_servicer
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from passmill.rpc.door import Door, MethodRule
from passmill.settings import Door as DoorSettings
from passmill.settings import Limits

# Services by descriptor, each with its servicer and the rule of each method.
PublishedServices: TypeAlias = Mapping[ServiceDescriptor, tuple[object, Mapping[str, MethodRule]]]

# Health checks notice the end this much before calls are refused.
_NOTICE_SECONDS: Final = 0.25
# Calls beyond the door's own limit: health checks, and those it is about to refuse.
_SPARE_CALLS: Final = 200


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """What every server of ours is set to (https://grpc.github.io/grpc/core/group__grpc__arg__keys.html).

    Connections live five minutes, so that calls spread over new processes; pings more often than
    every ten seconds are punished; several processes listen on one port.
    """
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_concurrent_streams", limits.max_streams_per_connection),
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_connection_age_ms", 300_000),
        ("grpc.max_connection_age_grace_ms", 30_000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ]


def credentials(place: DoorSettings) -> grpc.ServerCredentials | None:
    """TLS as the place's settings say, None for plain text."""
    if place.tls_certificate_file is None or place.tls_key_file is None:
        return None
    pair = (place.tls_key_file.read_bytes(), place.tls_certificate_file.read_bytes())
    client_ca = None if place.client_ca_file is None else place.client_ca_file.read_bytes()
    return grpc.ssl_server_credentials(
        [pair], root_certificates=client_ca, require_client_auth=client_ca is not None
    )


class ServingState:
    """What health checks are told, of every service of one server."""

    __slots__ = ("_health", "_is_ending", "_services")

    def __init__(self, *, health: health.aio.HealthServicer, services: Sequence[str]) -> None:
        self._health = health
        self._services = ("", *services)
        self._is_ending = False

    async def set(self, is_ready: bool) -> None:
        """Tells whether calls are welcome; once the end was announced it stays at no."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if is_ready and not self._is_ending
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in self._services:
            await self._health.set(service, status)

    async def end(self) -> None:
        """Announces the end."""
        self._is_ending = True
        await self.set(False)


@asynccontextmanager
async def open_server(
    *,
    address: str,
    tls: grpc.ServerCredentials | None,
    limits: Limits,
    door: Door,
    services: PublishedServices,
    is_for_operators: bool,
) -> AsyncIterator[ServingState]:
    """Serves what comes through `door` on `address` (host:port) until the block ends, then drains.

    `is_for_operators`: with reflection and channelz. OSError when the port cannot be had.
    """
    names = [service.full_name for service in services]
    # The door refuses politely, with a time to come again; this is the wall behind it.
    server = grpc.aio.server(
        options=server_options(limits),
        maximum_concurrent_rpcs=limits.max_calls + limits.max_streams + _SPARE_CALLS,
    )
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_generic_rpc_handlers(
        [door.handlers(service, servicer, rules) for service, (servicer, rules) in services.items()]
    )
    if is_for_operators:
        reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        add_channelz_servicer(server)
    try:
        port = (
            server.add_insecure_port(address)
            if tls is None
            else server.add_secure_port(address, tls)
        )
    except RuntimeError as error:
        raise OSError(f"{address} cannot be listened on: {error}") from error
    if not port:
        raise OSError(f"{address} cannot be listened on.")
    state = ServingState(health=servicer, services=names)
    await server.start()
    try:
        yield state
    finally:
        await state.end()
        await asyncio.sleep(_NOTICE_SECONDS)
        door.end_streams()
        await server.stop(limits.drain_seconds)
