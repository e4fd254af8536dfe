"""Carries calls out for asyncio: channels in turn, retries, pages."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc
import grpc.aio

from passmill_client.call import Call, Listing, describe
from passmill_client.channel_settings import ChannelSettings
from passmill_client.errors import error_of_call
from passmill_client.waiting import seconds_before_retry

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")


class AsyncConnection:
    """Several channels to one service, used in turn, on the running event loop. gRPC bears one
    event loop in a process."""

    def __init__(self, settings: ChannelSettings, *, channels: int, timeout: float) -> None:
        """Connects with the first call. `timeout`: seconds a call may take with its retries."""
        self._settings = settings
        self._timeout = timeout
        self._channels = [_channel(settings) for _ in range(channels)]
        self._turns = itertools.cycle(self._channels)

    async def close(self) -> None:
        """Ends every call and connection."""
        for channel in self._channels:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.address!r})"

    async def send(self, call: Call[R]) -> R:
        """The result of a call; PassmillError when it is refused or fails. Cancelled, it tells the
        service."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + (self._timeout if call.timeout is None else call.timeout)
        while True:
            method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = next(self._turns).unary_unary(
                call.method
            )
            sent = method(
                call.content, timeout=deadline - clock(), metadata=self._settings.metadata
            )
            try:
                content = await sent
                return call.finish(content, await sent.trailing_metadata())
            except grpc.aio.AioRpcError as failed:
                error = error_of_call(
                    failed.code(),
                    failed.details(),
                    failed.trailing_metadata(),
                    request_id=call.request_id,
                )
            finally:
                sent.cancel()  # grpc keeps a call that was abandoned (grpc issue 43462)
            seconds = seconds_before_retry(error, deadline - clock())
            if seconds is None:
                raise error
            await asyncio.sleep(seconds)


def awaiting(
    operation: Callable[P, Call[R]],
) -> Callable[Concatenate[AsyncConnection, P], Coroutine[Any, Any, R]]:
    """The operation as a method to await."""

    async def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self.send(operation(*args, **kwargs))

    describe(method, operation)
    return method


def async_paging(
    operation: Callable[P, Listing[Item]],
) -> Callable[Concatenate[AsyncConnection, P], AsyncIterator[Item]]:
    """The operation as a method that gives item after item and asks for the next page when it is
    needed."""

    async def method(
        self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[Item]:
        listing = operation(*args, **kwargs)
        token: str | None = ""
        while token is not None:
            items, following = await self.send(listing.page(token))
            for item in items:
                yield item
            token = following or None

    describe(method, operation)
    return method


def _channel(settings: ChannelSettings) -> grpc.aio.Channel:
    if settings.credentials is None:
        return grpc.aio.insecure_channel(settings.address, settings.options)
    return grpc.aio.secure_channel(settings.address, settings.credentials, settings.options)
