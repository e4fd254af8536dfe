"""Carries calls out for asyncio: channels in turn, retries, pages."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc
import grpc.aio

from passmill_client.blocking import FEED_SECONDS, RENEW_SECONDS
from passmill_client.call import Call, Feed, Listing, describe
from passmill_client.channel_settings import ChannelSettings
from passmill_client.errors import PassmillError, ended_early, error_of_call
from passmill_client.waiting import Patience, seconds_before_retry

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")


class AsyncExchange:
    """A call with messages in both directions. `async with` ends it, whether it is done or not."""

    def __init__(self, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        self._call = call

    async def send(self, message: bytes) -> None:
        """Sends a message; PassmillError when the call failed."""
        try:
            await self._call.write(message)
        except asyncio.InvalidStateError:  # it has ended, and its status says why
            raise await self._error() from None
        except grpc.aio.AioRpcError:
            # It is ending; grpc puts a status of its own in place of the one that is on its way.
            # Who sends again on another call hears the reason there.
            raise ended_early() from None

    async def end(self) -> None:
        """Says that nothing more is sent."""
        await self._call.done_writing()

    async def receive(self) -> bytes | None:
        """The next answer, None after the last; PassmillError when the call failed."""
        try:
            answer = await self._call.read()
        except grpc.aio.AioRpcError:
            raise await self._error() from None
        return answer if isinstance(answer, bytes) else None

    async def _error(self) -> PassmillError:
        return error_of_call(
            await self._call.code(),
            await self._call.details(),
            await self._call.trailing_metadata(),
            request_id=None,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()


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

    def exchange(self, method: str, *, timeout: float) -> AsyncExchange:
        """Begins a call with messages in both directions, of at most `timeout` seconds."""
        stub: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = next(self._turns).stream_stream(
            method
        )
        return AsyncExchange(stub(timeout=timeout, metadata=self._settings.metadata))

    async def follow(self, feed: Feed[Item]) -> AsyncIterator[Item]:
        """The items of a feed; a connection that breaks is made again. PassmillError when nothing
        is heard for long, or the call is refused."""
        last: Item | None = None
        call = feed.after(last)
        patience = Patience(FEED_SECONDS if call.timeout is None else call.timeout)
        while True:
            method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = next(
                self._turns
            ).unary_stream(call.method)
            answers = method(call.content, timeout=RENEW_SECONDS, metadata=self._settings.metadata)
            try:
                async for content in answers:
                    patience.progressed()
                    for item in call.decode(content):
                        last = item
                        yield item
            except grpc.aio.AioRpcError as failed:
                error = error_of_call(
                    failed.code(), failed.details(), failed.trailing_metadata(), request_id=None
                )
            else:
                return
            finally:
                answers.cancel()
            seconds = patience.seconds_before_reopening(error)
            if seconds is None:
                raise error
            await asyncio.sleep(seconds)
            call = feed.after(last)


def awaiting(
    operation: Callable[P, Call[R]],
) -> Callable[Concatenate[AsyncConnection, P], Coroutine[Any, Any, R]]:
    """The operation as a method to await."""

    async def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self.send(operation(*args, **kwargs))

    describe(method, operation)
    return method


def async_following(
    operation: Callable[P, Feed[Item]],
) -> Callable[Concatenate[AsyncConnection, P], AsyncIterator[Item]]:
    """The operation as a method that gives item after item as the service sends them."""

    def method(self: AsyncConnection, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Item]:
        return self.follow(operation(*args, **kwargs))

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
