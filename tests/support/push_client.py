"""A plain HTTP/2 client for pushes, on h2 alone: shows what a server really sends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from passmill.dev.authority import IssuedCertificate, ThrowawayAuthority

ANSWER_SECONDS = 10.0
_FRAME_HEADER = 9
_GOAWAY = 7


@dataclass(slots=True)
class PushAnswer:
    """What came on one stream."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    reset_code: int | None = None

    @property
    def status(self) -> int:
        """The HTTP status, 0 without one."""
        return int(dict(self.headers).get(":status", "0"))

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come."""
        return self.ended or self.reset_code is not None


def client_tls(
    authority: ThrowawayAuthority, certificate: IssuedCertificate | None
) -> ssl.SSLContext:
    """TLS that trusts the authority's root, with a client certificate or without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.root_pem.decode())
    context.set_alpn_protocols(["h2"])
    if certificate is not None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "client.pem"
            path.write_bytes(certificate.private_key_pem + certificate.certificate_pem)
            context.load_cert_chain(path)
    return context


def push_headers(token: str, topic: str, **changed: str | None) -> list[tuple[str, str]]:
    """What a sound push says; `changed` by names with underscores, None to leave one out."""
    headers: dict[str, str | None] = {
        ":method": "POST",
        ":scheme": "https",
        ":path": f"/3/device/{token}",
        ":authority": "localhost",
        "apns-topic": topic,
        "apns-push-type": "background",
        "apns-priority": "5",
        "apns-expiration": "0",
    }
    pseudo = {"method", "path"}
    for name, text in changed.items():
        headers[f":{name}" if name in pseudo else name.replace("_", "-")] = text
    return [(name, text) for name, text in headers.items() if text is not None]


class PushClient(asyncio.Protocol):
    """One connection. What came is kept in `answers`, by stream."""

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.answers: dict[int, PushAnswer] = {}
        self.go_aways: list[tuple[int, bytes]] = []
        self.settings_seen = 0
        self.is_lost = False
        self.violations: list[str] = []
        self._buffer = b""
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Sort what came to its stream."""
        self._buffer += data
        try:
            for frame in self._frames():
                for event in self.h2.receive_data(frame):
                    self._take(event)
        except ProtocolError as error:
            self.violations.append(str(error))
        self.flush()
        self._changed.set()

    def _frames(self) -> Iterator[bytes]:
        """Whole frames but GOAWAY, after which h2 would hear of no stream any more."""
        while len(self._buffer) >= _FRAME_HEADER:
            length = _FRAME_HEADER + int.from_bytes(self._buffer[:3])
            if len(self._buffer) < length:
                return
            frame, self._buffer = self._buffer[:length], self._buffer[length:]
            if frame[3] == _GOAWAY:
                content = frame[_FRAME_HEADER:]
                self.go_aways.append((int.from_bytes(content[:4]), content[8:]))
            else:
                yield frame

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake who waits."""
        self.is_lost = True
        self._changed.set()

    def _take(self, event: events.Event) -> None:
        match event:
            case events.ResponseReceived():
                self.answers[event.stream_id].headers = [
                    (_text(name), _text(value)) for name, value in event.headers
                ]
            case events.DataReceived():
                self.answers[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case events.StreamEnded():
                self.answers[event.stream_id].ended = True
            case events.StreamReset():
                self.answers[event.stream_id].reset_code = event.error_code
            case events.RemoteSettingsChanged():
                self.settings_seen += 1
            case _:
                pass

    def flush(self) -> None:
        """Send what h2 made."""
        data = self.h2.data_to_send()
        if data and not self.is_lost:
            self.transport.write(data)

    def send(
        self, headers: Sequence[tuple[str, str]], payload: bytes = b"{}", *, ends: bool = True
    ) -> int:
        """Send a request as far as the windows let it; gives its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = PushAnswer()
        self.h2.send_headers(stream, headers, end_stream=ends and not payload)
        if payload:
            self.h2.send_data(stream, payload, end_stream=ends)
        self.flush()
        return stream

    async def until_true(self, condition: Callable[[], bool]) -> None:
        """Waits until something that comes in makes it true."""
        async with asyncio.timeout(ANSWER_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until(self, stream: int) -> PushAnswer:
        """Waits until a stream is over or the connection is lost."""
        answer = self.answers[stream]
        await self.until_true(lambda: answer.is_over or self.is_lost)
        return answer

    async def until_lost(self) -> None:
        """Waits for the end of the connection."""
        await self.until_true(lambda: self.is_lost)

    async def until_settings(self, count: int) -> None:
        """Waits until settings came so many times."""
        await self.until_true(lambda: self.settings_seen >= count)

    async def ask(self, headers: Sequence[tuple[str, str]], payload: bytes = b"{}") -> PushAnswer:
        """Sends a request and waits for its end."""
        return await self.until(self.send(headers, payload))


@asynccontextmanager
async def open_push_client(host: str, port: int, tls: ssl.SSLContext) -> AsyncIterator[PushClient]:
    """A connection for the length of the block."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        PushClient, host, port, ssl=tls, server_hostname="localhost"
    )
    try:
        yield client
    finally:
        client.transport.abort()


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode()
