"""A small web service of the test's own over HTTP/2 and TLS: right unless it is told to be wrong.

So the device's rules are proved against something that shares no code with the real edge.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection

from passmill.dev.authority import ThrowawayAuthority
from tests.wallet_device.made_passes import TOKEN

BEGIN = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
PKPASS = ("content-type", "application/vnd.apple.pkpass")
JSON = ("content-type", "application/json")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    method: str
    steps: tuple[str, ...]
    since: str | None
    headers: dict[str, str]
    document: Any


def http_date(moment: datetime) -> str:
    """As in Last-Modified."""
    return format_datetime(moment, usegmt=True)


def pass_reply(bundle: bytes, version: int = 1) -> Reply:
    """A pass as it is handed out."""
    modified = http_date(BEGIN + timedelta(seconds=version))
    return Reply(200, (PKPASS, ("last-modified", modified)), bundle)


@dataclass(slots=True)
class ScriptedService:
    """Passes by serial number, with the version of each: its tag, and its second. `scripted`: what
    is answered first, by route (register, unregister, list, fetch, log)."""

    bundles: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    version: int = 0
    registrations: dict[tuple[str, str], str] = field(default_factory=dict)
    scripted: dict[str, list[Reply]] = field(default_factory=lambda: defaultdict(list))
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def origin(self) -> str:
        """Where it is."""
        return f"https://localhost:{self.port}"

    @property
    def logs(self) -> list[str]:
        """What devices complained of."""
        return [
            line for each in self.asked if each.steps[-1] == "log" for line in each.document["logs"]
        ]

    def put(self, serial: str, bundle: bytes) -> None:
        """A new version of a pass."""
        self.version += 1
        self.bundles[serial] = bundle
        self.versions[serial] = self.version

    def reply(self, asked: Asked) -> Reply:
        """Answers as it should, unless something is scripted."""
        self.asked.append(asked)
        [*_, last] = asked.steps
        first = asked.steps[asked.steps.index("v1") + 1 :]
        match asked.method, *first:
            case ["POST", "log"]:
                return self._scripted("log") or Reply(200)
            case ["GET", "devices", device, "registrations", _]:
                return self._scripted("list") or self._list(device, asked.since)
            case ["POST", "devices", device, "registrations", _, serial]:
                return self._scripted("register") or self._register(device, serial, asked)
            case ["DELETE", "devices", device, "registrations", _, serial]:
                self.registrations.pop((device, serial), None)
                return self._scripted("unregister") or Reply(200)
            case ["GET" | "HEAD", "passes", _, _]:
                return self._scripted("fetch") or self._fetch(last, asked)
            case _:
                return Reply(404)

    def _scripted(self, route: str) -> Reply | None:
        waiting = self.scripted[route]
        return waiting.pop(0) if waiting else None

    def _register(self, device: str, serial: str, asked: Asked) -> Reply:
        if asked.headers.get("authorization") != f"ApplePass {TOKEN}":
            return Reply(401)
        is_new = (device, serial) not in self.registrations
        self.registrations[device, serial] = asked.document["pushToken"]
        return Reply(201 if is_new else 200)

    def _list(self, device: str, since: str | None) -> Reply:
        tag = int(since or 0)
        serials = [
            serial
            for owner, serial in self.registrations
            if owner == device and self.versions[serial] > tag
        ]
        if not serials:
            return Reply(204)
        newest = max(self.versions[serial] for serial in serials)
        body = {"serialNumbers": serials, "lastUpdated": str(newest)}
        return Reply(200, (JSON,), json.dumps(body).encode())

    def _fetch(self, serial: str, asked: Asked) -> Reply:
        if asked.headers.get("authorization") != f"ApplePass {TOKEN}":
            return Reply(401)
        reply = pass_reply(self.bundles[serial], self.versions[serial])
        if asked.headers.get("if-modified-since") == dict(reply.headers)["last-modified"]:
            return Reply(304)
        return Reply(200, reply.headers) if asked.method == "HEAD" else reply


class _Connection(asyncio.Protocol):
    def __init__(self, service: ScriptedService) -> None:
        self._service = service
        self._h2 = H2Connection(
            H2Configuration(
                client_side=False, header_encoding="utf-8", validate_outbound_headers=False
            )
        )
        self._requests: dict[int, tuple[dict[str, str], bytearray]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        transport.write(self._h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            if isinstance(event, events.RequestReceived):
                headers = {_text(name): _text(each) for name, each in event.headers}
                self._requests[event.stream_id] = (headers, bytearray())
            elif isinstance(event, events.DataReceived):
                self._requests[event.stream_id][1].extend(event.data)
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, events.StreamEnded):
                headers, body = self._requests.pop(event.stream_id)
                self._answer(event.stream_id, self._service.reply(_read(headers, bytes(body))))
        self._transport.write(self._h2.data_to_send())

    def _answer(self, stream: int, reply: Reply) -> None:
        headers = [(":status", str(reply.status)), *reply.headers]
        self._h2.send_headers(stream, headers, end_stream=not reply.body)
        size = self._h2.max_outbound_frame_size
        for start in range(0, len(reply.body), size):
            piece = reply.body[start : start + size]
            self._h2.send_data(stream, piece, end_stream=start + size >= len(reply.body))


def _read(headers: dict[str, str], body: bytes) -> Asked:
    target = urlsplit(headers[":path"])
    since = parse_qs(target.query).get("passesUpdatedSince")
    return Asked(
        method=headers[":method"],
        steps=tuple(unquote(step) for step in target.path.strip("/").split("/")),
        since=since[0] if since else None,
        headers=headers,
        document=json.loads(body) if body else None,
    )


def _text(raw: bytes | str) -> str:
    return raw if isinstance(raw, str) else raw.decode()


@asynccontextmanager
async def serve_scripted(authority: ThrowawayAuthority) -> AsyncIterator[ScriptedService]:
    """Serves on a free port of this machine."""
    issued = authority.issue_server_certificate(now=datetime.now(UTC))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.set_alpn_protocols(["h2"])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "server.pem"
        path.write_bytes(issued.private_key_pem + issued.certificate_pem)
        tls.load_cert_chain(path)
    service = ScriptedService()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(service), "127.0.0.1", 0, ssl=tls
    )
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
