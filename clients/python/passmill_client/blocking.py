"""Carries calls out for threads: channels in turn, retries, pages."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, cast

import grpc

from passmill_client.call import Call, Feed, Listing, describe
from passmill_client.channel_settings import ChannelSettings
from passmill_client.errors import PassmillError, Trailers, error_of_call
from passmill_client.waiting import Patience, seconds_before_retry

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")


FEED_SECONDS = 60.0
"""How long nothing may be heard on a feed."""
RENEW_SECONDS = 600.0
"""After so long a feed's call is ended and made anew: a deadline notices one that hangs."""


class _Sent(Protocol):
    """What grpc gives for a call that was sent and not waited for."""

    def result(self) -> bytes: ...
    def cancel(self) -> bool: ...
    def trailing_metadata(self) -> Trailers: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Generic[R]):
    """A call under way, to be finished or cancelled. `deadline`: on the monotonic clock."""

    call: Call[R]
    sent: _Sent
    deadline: float

    def cancel(self) -> None:
        """Tells the service that nobody waits any more."""
        self.sent.cancel()


class Exchange:
    """A call with messages in both directions. `with` ends it, whether it is done or not."""

    def __init__(self, method: grpc.StreamStreamMultiCallable[bytes, bytes], **sent: Any) -> None:
        """`sent`: deadline and metadata."""
        self._messages: SimpleQueue[bytes | None] = SimpleQueue()
        self._answers = method(iter(self._messages.get, None), **sent)

    def send(self, message: bytes) -> None:
        """Sends a message, as soon as those before it are sent."""
        self._messages.put(message)

    def end(self) -> None:
        """Says that nothing more is sent."""
        self._messages.put(None)

    def receive(self) -> bytes | None:
        """The next answer, None after the last; PassmillError when the call failed."""
        try:
            return next(self._answers, None)
        except grpc.RpcError as failed:
            raise _error(failed) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._answers.cancel()


class Connection:
    """Several channels to one service, used in turn. Threads may share it."""

    def __init__(self, settings: ChannelSettings, *, channels: int, timeout: float) -> None:
        """Connects with the first call. `timeout`: seconds a call may take with its retries."""
        self._settings = settings
        self._timeout = timeout
        self._channels = [_channel(settings) for _ in range(channels)]
        self._turns = itertools.cycle(self._channels)

    def close(self) -> None:
        """Ends every call and connection."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.address!r})"

    def send(self, call: Call[R]) -> R:
        """The result of a call; PassmillError when it is refused or fails."""
        return self._send_until(call, self._deadline(call))

    def start(self, call: Call[R]) -> Started[R]:
        """Sends a call and does not wait for it."""
        deadline = self._deadline(call)
        sent = self._method(call).future(
            call.content, timeout=deadline - time.monotonic(), metadata=self._settings.metadata
        )
        return Started(call=call, sent=sent, deadline=deadline)

    def finish(self, started: Started[R]) -> R:
        """The result of a started call; PassmillError when it was refused or failed."""
        try:
            content = started.sent.result()
        except grpc.RpcError as failed:
            _wait(_error(failed, started.call.request_id), started.deadline)
            return self._send_until(started.call, started.deadline)
        return started.call.finish(content, started.sent.trailing_metadata())

    def exchange(self, method: str, *, timeout: float) -> Exchange:
        """Begins a call with messages in both directions, of at most `timeout` seconds."""
        return Exchange(
            next(self._turns).stream_stream(method),
            timeout=timeout,
            metadata=self._settings.metadata,
        )

    def follow(self, feed: Feed[Item]) -> Iterator[Item]:
        """The items of a feed; a connection that breaks is made again. PassmillError when nothing
        is heard for long, or the call is refused."""
        last: Item | None = None
        call = feed.after(last)
        patience = Patience(FEED_SECONDS if call.timeout is None else call.timeout)
        while True:
            method: grpc.UnaryStreamMultiCallable[bytes, bytes] = next(self._turns).unary_stream(
                call.method
            )
            answers = method(call.content, timeout=RENEW_SECONDS, metadata=self._settings.metadata)
            try:
                for content in answers:
                    patience.progressed()
                    for item in call.decode(content):
                        last = item
                        yield item
            except grpc.RpcError as failed:
                error = _error(failed)
            else:
                return
            finally:
                answers.cancel()
            seconds = patience.seconds_before_reopening(error)
            if seconds is None:
                raise error
            time.sleep(seconds)
            call = feed.after(last)

    def _send_until(self, call: Call[R], deadline: float) -> R:
        while True:
            try:
                content, done = self._method(call).with_call(
                    call.content,
                    timeout=deadline - time.monotonic(),
                    metadata=self._settings.metadata,
                )
            except grpc.RpcError as failed:
                _wait(_error(failed, call.request_id), deadline)
            else:
                return call.finish(content, done.trailing_metadata())

    def _method(self, call: Call[R]) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        return next(self._turns).unary_unary(call.method)

    def _deadline(self, call: Call[R]) -> float:
        return time.monotonic() + (self._timeout if call.timeout is None else call.timeout)


def blocking(
    operation: Callable[P, Call[R]],
) -> Callable[Concatenate[Connection, P], R]:
    """The operation as a method that waits for its result."""

    def method(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.send(operation(*args, **kwargs))

    describe(method, operation)
    return method


def following(
    operation: Callable[P, Feed[Item]],
) -> Callable[Concatenate[Connection, P], Iterator[Item]]:
    """The operation as a method that gives item after item as the service sends them."""

    def method(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Item]:
        return self.follow(operation(*args, **kwargs))

    describe(method, operation)
    return method


def paging(
    operation: Callable[P, Listing[Item]],
) -> Callable[Concatenate[Connection, P], Iterator[Item]]:
    """The operation as a method that gives item after item and asks for the next page when it is
    needed."""

    def method(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Item]:
        listing = operation(*args, **kwargs)
        token: str | None = ""
        while token is not None:
            items, following = self.send(listing.page(token))
            yield from items
            token = following or None

    describe(method, operation)
    return method


def _channel(settings: ChannelSettings) -> grpc.Channel:
    if settings.credentials is None:
        return grpc.insecure_channel(settings.address, settings.options)
    return grpc.secure_channel(settings.address, settings.credentials, settings.options)


def _error(failed: grpc.RpcError, request_id: str | None = None) -> PassmillError:
    trailers = cast(Trailers, failed.trailing_metadata())  # the stubs know it in another shape
    return error_of_call(failed.code(), failed.details(), trailers, request_id=request_id)


def _wait(error: PassmillError, deadline: float) -> None:
    seconds = seconds_before_retry(error, deadline - time.monotonic())
    if seconds is None:
        raise error from None
    time.sleep(seconds)
