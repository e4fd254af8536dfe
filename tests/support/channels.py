"""Channels to a service: with a key for every call, for bytes, on ports that are held."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Any, Final, cast

import grpc

CALL_SECONDS: Final = 20.0


def keyed(channel: grpc.aio.Channel, api_key: str) -> grpc.aio.Channel:
    """The channel for stubs whose calls carry a key, and a deadline unless they name one (None for
    none)."""
    return cast("grpc.aio.Channel", _KeyedChannel(channel, api_key))


def send_bytes(
    channel: grpc.aio.Channel, path: str, content: bytes, **options: Any
) -> grpc.aio.UnaryUnaryCall[bytes, bytes]:
    """Begins a call with a request's bytes, for its answer's. `options`: as of a stub's method."""
    send: Callable[..., grpc.aio.UnaryUnaryCall[bytes, bytes]] = channel.unary_unary(path)
    return send(content, **options)


async def stream_bytes(
    channel: grpc.aio.Channel, path: str, content: bytes, *, is_sending: bool, **options: Any
) -> bytes:
    """Makes a streaming call with a request's bytes, and gives up after its first answer, whose
    bytes it gives. `is_sending`: requests are a stream too."""
    call: Any
    if is_sending:

        async def requests() -> AsyncIterator[bytes]:
            yield content

        call = cast("Any", channel.stream_stream(path))(requests(), **options)
    else:
        call = cast("Any", channel.unary_stream(path))(content, **options)
    async for answer in call:
        call.cancel()
        return bytes(answer)
    return b""


class _KeyedChannel:
    def __init__(self, channel: grpc.aio.Channel, api_key: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {api_key}"),)

    def unary_unary(self, method: str, **options: Any) -> Callable[..., object]:
        """As the channel's own."""
        send = self._channel.unary_unary(method, **options)

        return self._with_key(send)

    def unary_stream(self, method: str, **options: Any) -> Callable[..., object]:
        """As the channel's own."""
        return self._with_key(self._channel.unary_stream(method, **options))

    def stream_stream(self, method: str, **options: Any) -> Callable[..., object]:
        """As the channel's own."""
        return self._with_key(self._channel.stream_stream(method, **options))

    def _with_key(self, send: Callable[..., object]) -> Callable[..., object]:
        def call(request: object = None, *, timeout: float | None = CALL_SECONDS) -> object:
            return send(request, timeout=timeout, metadata=self._metadata)

        return call


def open_channel(address: str) -> grpc.aio.Channel:
    """A channel that shares no connection with another, and takes the largest bundle."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    return grpc.aio.insecure_channel(address, options=options)


def reserve_port(held: ExitStack) -> int:
    """A free port of the loopback, held as long as the stack for servers that share ports."""
    # Bound and not listening: servers bind beside it by SO_REUSEPORT, others cannot.
    holder = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    return port
