"""One request and its answer, over ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import unquote, unquote_to_bytes

from starlette.types import Receive, Scope

Header: TypeAlias = tuple[bytes, bytes]

CLIENT_CLOSED: Final = 499
"""The status, in our counts alone, of what nobody is there to be told."""

_MAX_SEGMENT: Final = 255
_MAX_QUERY: Final = 4096


class ClientGone(Exception):
    """The client went away before its request was whole."""


class BodyTooLarge(Exception):
    """The body is longer than its route takes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers with names in lower case, body. Of an answer to HEAD the body is measured and
    left out."""

    status: int
    headers: Sequence[Header] = ()
    body: bytes = b""


class Request:
    """What a route sees of a request. `segments`: the path's parts after "/", as they came;
    `deadline`: by the event loop's clock; `is_reading`: it waits for more of the body."""

    __slots__ = (
        "_headers",
        "_is_read",
        "_query",
        "_receive",
        "deadline",
        "is_reading",
        "method",
        "segments",
    )

    def __init__(
        self, scope: Scope, receive: Receive, *, segments: Sequence[bytes], deadline: float
    ) -> None:
        self.method: str = scope["method"]
        self.segments = segments
        self.deadline = deadline
        self.is_reading = False
        self._is_read = False
        self._headers: Sequence[Header] = scope["headers"]
        self._query: bytes = scope["query_string"]
        self._receive = receive

    def header(self, name: bytes) -> str | None:
        """The first header of this name, in lower case."""
        for each, value in self._headers:
            if each == name:
                return value.decode("latin-1")
        return None

    def query(self, name: str) -> str | None:
        """The first value of this name in the query, decoded."""
        if not self._query or len(self._query) > _MAX_QUERY:
            return None
        for pair in self._query.decode("latin-1").split("&"):
            key, _, value = pair.partition("=")
            if key == name:
                return unquote(value.replace("+", " "))
        return None

    def segment(self, index: int) -> str | None:
        """A part of the path, percent-decoded once; None for what no identifier is: empty, longer
        than 255 bytes, or with anything but visible ASCII."""
        raw = self.segments[index]
        if b"%" in raw:
            raw = unquote_to_bytes(raw)
        if not 0 < len(raw) <= _MAX_SEGMENT or not raw.isascii():
            return None
        text = raw.decode("ascii")
        return text if text.isprintable() and " " not in text else None

    async def body(self, *, at_most: int) -> bytes:
        """The whole body. BodyTooLarge as soon as it is known to be over `at_most` bytes;
        ClientGone."""
        length = self.header(b"content-length")
        if length is not None and not (length.isdigit() and int(length[:19]) <= at_most):
            raise BodyTooLarge
        chunks = [chunk async for chunk in self._chunks(at_most)]
        return b"".join(chunks)

    async def skip(self, *, at_most: int) -> None:
        """Reads what has not been read of the body, and forgets it. Raises as `body`."""
        async for _ in self._chunks(at_most):
            pass

    async def _chunks(self, at_most: int) -> AsyncIterator[bytes]:
        size = 0
        while not self._is_read:
            self.is_reading = True
            message = await self._receive()
            self.is_reading = False
            if message["type"] != "http.request":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            self._is_read = not message.get("more_body", False)
            size += len(chunk)
            if size > at_most:
                raise BodyTooLarge
            yield chunk
