"""Carries calls out for threads: channels in turn, retries, pages."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

import grpc

from passmill_client.call import Call, Listing
from passmill_client.channel_settings import ChannelSettings
from passmill_client.errors import PassmillError, error_of_call
from passmill_client.waiting import seconds_before_retry

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")


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
        """The result of a call. PassmillError when it is refused or fails."""
        return self.finish(call, self.start(call))

    def start(self, call: Call[object]) -> Started:
        """Sends a call and does not wait. What was started must be finished or cancelled."""
        deadline = time.monotonic() + (call.timeout or self._timeout)
        return Started(deadline=deadline, sent=self._dispatch(call, deadline))

    def finish(self, call: Call[R], started: Started) -> R:
        """Waits for the result of a started call, and sends it again where that helps."""
        sent = started.sent
        while True:
            try:
                content = sent.result()
            except grpc.RpcError as failed:
                error = error_of_call(
                    failed.code(),
                    failed.details(),
                    failed.trailing_metadata(),
                    request_id=call.request_id,
                )
            except BaseException:  # interrupted: nobody waits any more
                sent.cancel()
                raise
            else:
                if call.reply is not None:
                    call.reply.fill(call.request_id, sent.trailing_metadata())
                return call.decode(content)
            wait = seconds_before_retry(error, started.deadline - time.monotonic())
            if wait is None:
                raise error
            time.sleep(wait)
            sent = self._dispatch(call, started.deadline)
