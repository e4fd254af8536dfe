"""Appending any number of recipients to a stream: which go together in a message, which messages
are not acknowledged yet, and so are sent again when the connection breaks."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypedDict

import google_crc32c

from passmill.v1.campaign_pb2 import Recipient, RecipientStream
from passmill.v1.campaign_service_pb2 import (
    AppendAck,
    AppendRecipientsResponse,
    RecipientChunk,
)
from passmill_client.errors import ended_early, error_of_status

METHOD: Final = "/passmill.v1.CampaignService/AppendRecipients"
RENEW_SECONDS: Final = 60.0
"""After so long a call is ended and the next one begun: its deadline notices one that hangs, and
the next may reach another process of the service."""

_MAX_CHUNK = 1_000
_MAX_CHUNK_BYTES = 1 << 20
# Tags of AppendRecipientsRequest.chunk and RecipientChunk.recipients: the number << 3, and 2
# for length-delimited (https://protobuf.dev/programming-guides/encoding).
_CHUNK_TAG = bytes([1 << 3 | 2])
_RECIPIENT_TAG = bytes([4 << 3 | 2])


class AppendOptions(TypedDict, total=False):
    """How recipients are appended.

    `chunk_size`: recipients a message (500). `window`: messages sent ahead of their
    acknowledgements (8): no more than their product is held in memory. `timeout`: seconds without
    an acknowledgement, after which it is given up (60).
    """

    chunk_size: int
    window: int
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A message, and the offset behind its last recipient."""

    message: bytes
    end_offset: int


class Appending:
    """Makes chunks of recipients in their order, and keeps those that are not acknowledged."""

    def __init__(self, stream: RecipientStream, options: AppendOptions) -> None:
        """`stream`: as it was created or claimed; its next_offset is the first recipient's place.
        ValueError when a chunk or the window would be empty, or a chunk too large."""
        self._chunk_size = options.get("chunk_size", 500)
        self._window = options.get("window", 8)
        if self._window < 1 or not 1 <= self._chunk_size <= _MAX_CHUNK:
            raise ValueError(f"window is at least 1, chunk_size 1 to {_MAX_CHUNK}")
        self.timeout = options.get("timeout", 60.0)
        self._stream = stream
        self._next_offset = stream.next_offset
        self._waiting: deque[Chunk] = deque()
        self._together: list[bytes] = []
        self._bytes = 0

    @property
    def unacknowledged(self) -> tuple[Chunk, ...]:
        """What was made and is not acknowledged, in its order."""
        return tuple(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether another chunk may be sent before the next acknowledgement."""
        return len(self._waiting) < self._window

    def of(self, recipients: Iterable[Recipient]) -> Iterator[Chunk]:
        """The chunks of `recipients`, each read when it is asked for; from then on it is
        unacknowledged."""
        for recipient in recipients:
            if self._add(recipient):
                yield self._close()
        if self._together:
            yield self._close()

    async def of_async(self, recipients: AsyncIterable[Recipient]) -> AsyncIterator[Chunk]:
        """The same for recipients that have to be awaited."""
        async for recipient in recipients:
            if self._add(recipient):
                yield self._close()
        if self._together:
            yield self._close()

    def acknowledge(self, content: bytes | None) -> AppendAck:
        """The acknowledgement in an answer; PassmillError when the answer is a refusal, or None:
        the call ended before its time."""
        if content is None:
            raise ended_early()
        answer = AppendRecipientsResponse.FromString(content)
        if answer.WhichOneof("outcome") == "error":
            raise error_of_status(answer.error.status)
        while self._waiting and self._waiting[0].end_offset <= answer.ack.next_offset:
            self._waiting.popleft()
        return answer.ack

    def _add(self, recipient: Recipient) -> bool:
        # Serialized once, for the checksum and for the message.
        content = recipient.SerializeToString(deterministic=True)
        self._together.append(content)
        self._bytes += len(content)
        return len(self._together) == self._chunk_size or self._bytes >= _MAX_CHUNK_BYTES

    def _close(self) -> Chunk:
        header = RecipientChunk(
            stream_id=self._stream.stream_id,
            writer_epoch=self._stream.writer_epoch,
            offset=self._next_offset,
            crc32c=google_crc32c.value(b"".join(self._together)),
        )
        parts = [header.SerializeToString()]
        for content in self._together:
            parts += (_RECIPIENT_TAG, _varint(len(content)), content)
        message = b"".join(parts)
        self._next_offset += len(self._together)
        chunk = Chunk(
            message=b"".join((_CHUNK_TAG, _varint(len(message)), message)),
            end_offset=self._next_offset,
        )
        self._together = []
        self._bytes = 0
        self._waiting.append(chunk)
        return chunk


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
