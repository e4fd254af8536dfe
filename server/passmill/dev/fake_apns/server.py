"""The strictest stand-in for Apple's push service that the protocol allows."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Self

from cryptography import x509
from cryptography.x509.oid import NameOID

from passmill.dev.authority import PUSH_EXTENSION, ThrowawayAuthority
from passmill.dev.fake_apns.connection import Connection
from passmill.dev.fake_apns.director import Director
from passmill.dev.fake_apns.post import Post
from passmill.dev.fake_apns.records import PushLog, PushRecord
from passmill.dev.fake_apns.script import GoAway, Script
from passmill.dev.fake_apns.service import Link
from passmill.dev.fake_apns.tokens import Tokens
from passmill.dev.ports import ANY_PORT, HOST
from passmill.dev.private_file import write_private

_CLOSE_SECONDS: Final = 5.0
_HANDSHAKE_SECONDS: Final = 3.0
_FAREWELL_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeApnsCertificates:
    """What the server shows, and whose client certificates it takes. All PEM."""

    server_certificate: bytes
    server_key: bytes = field(repr=False)
    client_authorities: tuple[bytes, ...]
    """Roots, and the intermediates that clients may leave out."""

    @classmethod
    def issued_by(cls, authority: ThrowawayAuthority, *, now: datetime) -> Self:
        """Make a server certificate (localhost, 127.0.0.1), and take the authority's clients."""
        issued = authority.issue_server_certificate(now=now)
        return cls(
            server_certificate=issued.certificate_pem,
            server_key=issued.private_key_pem,
            client_authorities=(authority.root_pem, authority.wwdr_pem),
        )


class FakeApns:
    """Async context manager: an HTTP/2 server over TLS on this machine, that demands the client
    certificate of a pass type and takes pushes for that topic alone.

    `log` has every push, `tokens` says which device tokens are good, `post` brings accepted pushes
    to devices. `port` may be given to come back on the same one. `on_record`: told each push
    besides; `keeps_log` false leaves the pushes to that alone.
    """

    def __init__(
        self,
        certificates: FakeApnsCertificates,
        script: Script | None = None,
        *,
        tokens: Tokens | None = None,
        post: Post | None = None,
        host: str = HOST,
        port: int = ANY_PORT,
        on_record: Callable[[PushRecord], None] | None = None,
        keeps_log: bool = True,
    ) -> None:
        self._context = _tls(certificates)
        self._connections: set[Link] = set()
        self._all_gone = asyncio.Event()
        self._topics: dict[bytes, str | None] = {}
        self._on_record = on_record
        self._keeps_log = keeps_log
        self._server: asyncio.Server | None = None
        self.director = Director(script or Script())
        self.tokens = tokens or Tokens()
        self.post = post or Post()
        self.log = PushLog()
        self.pushes = 0
        self.host = host
        self.port = port

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_listening()

    def play(self, script: Script) -> None:
        """From now on another script; its limits hold for new connections."""
        self.director.play(script)

    async def listen(self) -> None:
        """Take connections, on the port of before if there was one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connect,
            self.host,
            self.port,
            ssl=self._context,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=_FAREWELL_SECONDS,
            backlog=512,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """End all connections at once; nobody is let in any more."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        self.disconnect_all(abort=True)
        async with asyncio.timeout(_CLOSE_SECONDS):
            await self.until_idle()
            await server.wait_closed()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Refuse connections for the length of the block."""
        await self.stop_listening()
        try:
            yield
        finally:
            await self.listen()

    def disconnect_all(self, *, abort: bool) -> None:
        """End every connection, by RST or as TLS has it."""
        for connection in tuple(self._connections):
            connection.disconnect(abort=abort)

    def go_away_all(self, answer: GoAway) -> None:
        """Say GOAWAY on every connection; its last stream counts from the last request seen."""
        for connection in tuple(self._connections):
            connection.go_away(answer)

    def freeze_all(self) -> None:
        """Let every connection be open and silent."""
        for connection in tuple(self._connections):
            connection.freeze()

    async def until_idle(self) -> None:
        """Wait until there is no connection."""
        if self._connections:
            await self._all_gone.wait()

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._connections)

    # ---- what connections call ----

    def record(self, record: PushRecord) -> None:
        """Keep what became of a push, and bring it to its device."""
        if self._keeps_log:
            self.log.records.append(record)
        self.post.bring(record)
        if self._on_record is not None:
            self._on_record(record)

    def report_protocol_error(self, text: str) -> None:
        """Keep what a client did that HTTP/2 forbids."""
        self.log.protocol_errors.append(text)

    def admit(self, link: Link) -> int:
        """Hear that a connection stands; give the how many-th it is."""
        self._connections.add(link)
        self._all_gone.clear()
        self.log.connections += 1
        return self.log.connections

    def forget(self, link: Link) -> None:
        """Hear that it ended."""
        self._connections.discard(link)
        if not self._connections:
            self._all_gone.set()

    def _connect(self) -> Connection:
        return Connection(service=self, certificate_topic=self._topic_of)

    def _topic_of(self, der: bytes) -> str | None:
        if der not in self._topics:
            self._topics[der] = _read_topic(der)
        return self._topics[der]


def _tls(certificates: FakeApnsCertificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    for authority in certificates.client_authorities:
        context.load_verify_locations(cadata=authority.decode("ascii"))
    with TemporaryDirectory(prefix="passmill-") as folder:
        path = Path(folder) / "server.pem"
        chain = certificates.server_key + certificates.server_certificate
        write_private(path, chain.decode("ascii"))
        context.load_cert_chain(path)
    return context


def _read_topic(der: bytes) -> str | None:
    """Give the pass type identifier of a certificate that may push."""
    certificate = x509.load_der_x509_certificate(der)
    try:
        certificate.extensions.get_extension_for_oid(PUSH_EXTENSION)
    except x509.ExtensionNotFound:
        return None
    named = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    return str(named[0].value) if named else None
