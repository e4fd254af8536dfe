"""The HTTPS server of one process: granian in our own event loop (https://github.com/emmett-framework/granian).

Several processes listen on one port (SO_REUSEPORT).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server

from passmill.edge.connections import ConnectionWatch
from passmill.edge.door import EdgeDoor
from passmill.settings import EdgeDoor as EdgeDoorSettings

_BACKLOG: Final = 4096
# Of a request's head. Phones send less than 2 KiB.
_MAX_HEAD_BYTES: Final = 16 << 10
# What a client may send ahead of our reading: twice what any route takes.
_STREAM_WINDOW_BYTES: Final = 128 << 10
_CONNECTION_WINDOW_BYTES: Final = 512 << 10
_START_SECONDS: Final = 10.0
_PROBE_SECONDS: Final = 0.02
# At the end, what has not moved for so long has been told that it is the end, or never will be.
_LAST_IDLE_SECONDS: Final = 1.0


class ServerEnded(Exception):
    """The server ended without being told to: nobody is served any more."""


@asynccontextmanager
async def open_edge_server(
    door: EdgeDoor,
    *,
    place: EdgeDoorSettings,
    port: int,
    watch: ConnectionWatch,
    drain_seconds: float,
) -> AsyncIterator[None]:
    """Serves what is behind `door` on `port`; at the end takes no more requests and answers those
    it has.

    TLS 1.2 and up, HTTP/2 and 1.1 by ALPN. Raises OSError or granian's errors when it cannot
    listen, and ServerEnded, in a group, when it ceases to.
    """
    server = Server(
        door,
        address=place.host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.auto,
        websockets=False,
        backlog=_BACKLOG,
        backpressure=place.max_connections,
        http1_settings=HTTP1Settings(
            header_read_timeout=place.header_seconds * 1000, max_buffer_size=_MAX_HEAD_BYTES
        ),
        http2_settings=HTTP2Settings(
            initial_connection_window_size=_CONNECTION_WINDOW_BYTES,
            initial_stream_window_size=_STREAM_WINDOW_BYTES,
            max_concurrent_streams=place.max_streams_per_connection,
            max_headers_size=_MAX_HEAD_BYTES,
        ),
        log_enabled=False,
        ssl_cert=place.tls_certificate_file,
        ssl_key=place.tls_key_file,
        ssl_protocol_min=SSLProtocols.tls12,
        ssl_ca=place.client_ca_file,
        ssl_client_verify=place.client_ca_file is not None,
    )
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(_serve(server, stopping))
        await _wait_until_open(place.host, port, serving)
        watching = tasks.create_task(watch.run_forever())
        try:
            yield
        finally:
            stopping.set()
            watching.cancel()
            await _stop(server, serving, watch, door, drain_seconds)


async def _serve(server: Server, stopping: asyncio.Event) -> None:
    """Until `stopping`; whatever ends the server before that is an error."""
    task = asyncio.current_task()
    try:
        await server.serve()
    except asyncio.CancelledError:
        if task is None or task.cancelling():
            raise
        # Not of us: a task of the server's own was, and it waited for that.
    if not stopping.is_set():
        raise ServerEnded("The HTTPS server ended by itself.")


async def _wait_until_open(host: str, port: int, serving: asyncio.Task[None]) -> None:
    """Until connections are taken, so that nobody is told of a door that is not there yet."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - any of ours
    async with asyncio.timeout(_START_SECONDS):
        while not serving.done():
            try:
                _, writer = await asyncio.open_connection(address, port)
            except OSError:
                await asyncio.sleep(_PROBE_SECONDS)
            else:
                writer.close()
                return


async def _stop(
    server: Server,
    serving: asyncio.Task[None],
    watch: ConnectionWatch,
    door: EdgeDoor,
    drain_seconds: float,
) -> None:
    """Tells clients to go, and waits. A phone that sleeps does not hear it: once every request is
    answered, connections that do not move are cut."""
    server.stop()  # type: ignore[no-untyped-call]
    loop = asyncio.get_running_loop()
    end = loop.time() + drain_seconds
    while not serving.done() and loop.time() < end:
        if door.under_way == 0:
            await watch.try_to_look(idle_seconds=_LAST_IDLE_SECONDS)
        await asyncio.wait([serving], timeout=_LAST_IDLE_SECONDS / 4)
    if not serving.done():
        structlog.get_logger("passmill.edge").warning("edge.drain_cut", seconds=drain_seconds)
        serving.cancel()
