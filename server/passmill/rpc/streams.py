"""One streaming call past the door: its messages in, its messages out, and who calls."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, cast

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from passmill.domain.callers import Caller
from passmill.errors import AppError, Reason
from passmill.rpc.places import RequestBytes

# For the work of one message of a stream, which itself may last for hours.
_MESSAGE_SECONDS: Final = 30.0


class Stream:
    """A streaming call, as its servicer sees it."""

    __slots__ = (
        "_authenticate",
        "_bytes",
        "_context",
        "_deadline",
        "_decode",
        "_idle_seconds",
        "_key_id",
        "_sizes",
        "_tell",
        "received",
        "sent",
    )

    def __init__(
        self,
        *,
        context: grpc.aio.ServicerContext[bytes, bytes],
        authenticate: Callable[[float], Awaitable[Caller]],
        decode: Callable[[bytes], Message],
        tell: Callable[[AppError], Status],
        request_bytes: RequestBytes,
        deadline: float | None,
        idle_seconds: float,
    ) -> None:
        """`authenticate`: the caller, for work until the time given; AppError when the credential
        is good no more. `decode`: a message that keeps the protocol's rules, or AppError.
        `tell`: an error as the caller may see it, counted and logged as one that ends a call.
        `idle_seconds`: so long a next message is waited for.
        """
        self._context = context
        self._authenticate = authenticate
        self._decode = decode
        self._tell = tell
        self._bytes = request_bytes
        self._deadline = deadline
        self._idle_seconds = idle_seconds
        self._key_id = ""  # until it is known: the door asks first
        self._sizes: deque[int] = deque()
        self.received = 0
        self.sent = 0

    async def caller(self) -> Caller:
        """Who calls, asked anew: a key that is revoked ends its streams. Good for the work of one
        message. AppError UNAUTHENTICATED, SCOPE_MISSING, TENANT_SUSPENDED."""
        deadline = asyncio.get_running_loop().time() + _MESSAGE_SECONDS
        if self._deadline is not None:
            deadline = min(deadline, self._deadline)
        caller = await self._authenticate(deadline)
        self._key_id = caller.key_id
        return caller

    async def receive(self) -> Message | None:
        """The caller's next message, None when there is none to come. It counts as under way until
        an answer is sent. AppError INVALID_FIELD, RATE_LIMITED; UNAVAILABLE when none came for too
        long: what is not used is ended, and others have the place."""
        waiting = asyncio.timeout(self._idle_seconds)
        try:
            async with waiting:
                # The end of messages is a token of its own, which the types do not tell.
                content = cast("object", await self._context.read())
        except TimeoutError:
            if not waiting.expired():
                raise
            raise _idle() from None
        if not isinstance(content, bytes):
            return None
        self.received += 1
        self._bytes.enter(len(content))
        self._bytes.take(self._key_id, len(content))
        self._sizes.append(len(content))
        self._bytes.require()
        self._bytes.require_share(self._key_id)
        return self._decode(content)

    async def send(self, message: Message) -> None:
        """Sends a message; waits while the caller reads none."""
        await self._context.write(message.SerializeToString())
        self.sent += 1
        if self._sizes:
            self._bytes.leave(self._key_id, self._sizes.popleft())

    def told(self, error: AppError) -> Status:
        """An error to be sent as an answer."""
        return self._tell(error)

    def close(self) -> None:
        """Gives back what was under way."""
        while self._sizes:
            self._bytes.leave(self._key_id, self._sizes.popleft())


def _idle() -> AppError:
    message = "No message came for a while. Call again when there is one."
    return AppError(reason=Reason.UNAVAILABLE, message=message, retry_after=timedelta(0))
