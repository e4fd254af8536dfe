"""Servers that break off or are silent below HTTP/2, where no library would let them."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

from passmill.dev.fake_apns import FakeApnsCertificates

_RST_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_SETTINGS: Final = bytes.fromhex("000000040000000000")
"""An empty SETTINGS frame (RFC 9113, section 6.5)."""
_WAIT_SECONDS: Final = 20.0

Act: TypeAlias = Callable[[ssl.SSLSocket], None]


@dataclass(slots=True)
class Hostile:
    """Where it listens, and how many connections it was asked for."""

    port: int
    connections: int = field(default=0)


def silent(tls: ssl.SSLSocket) -> None:
    """Reads, and never says a word."""
    _read_on(tls)


def silent_after_settings(tls: ssl.SSLSocket) -> None:
    """Begins as a service does, then never answers: no settings' acknowledgement, no pong."""
    tls.sendall(_SETTINGS)
    _read_on(tls)


def half_closed(tls: ssl.SSLSocket) -> None:
    """Says that it will send nothing more, and reads on."""
    tls.sendall(_SETTINGS)
    tls.recv(1)
    with suppress(OSError):
        socket.socket.shutdown(tls, socket.SHUT_WR)
    _read_on(tls)


def reset(tls: ssl.SSLSocket) -> None:
    """Breaks off by a TCP RST after the first request."""
    tls.sendall(_SETTINGS)
    tls.recv(1)
    tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)


def garbled(tls: ssl.SSLSocket) -> None:
    """Speaks something else than HTTP/2."""
    tls.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n" * 100)
    _read_on(tls)


def endless_frame(tls: ssl.SSLSocket) -> None:
    """Announces a frame larger than any may be, and sends without end."""
    tls.sendall(_SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")
    with suppress(OSError):
        for _ in range(1000):
            tls.sendall(bytes(16_384))


def _read_on(tls: ssl.SSLSocket) -> None:
    with suppress(OSError):
        while tls.recv(65_536):
            pass


@contextmanager
def tls_server(
    certificates: FakeApnsCertificates,
    act: Act,
    *,
    protocols: tuple[str, ...] = ("h2",),
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    is_strict: bool = False,
) -> Iterator[Hostile]:
    """A server that lets everybody in by TLS and then does `act`, a thread a connection.
    `version`: the latest it speaks; `is_strict`: it demands certificates of its authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    if is_strict:
        context.verify_mode = ssl.CERT_REQUIRED
        for authority in certificates.client_authorities:
            context.load_verify_locations(cadata=authority.decode("ascii"))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "server.pem"
        path.touch(mode=0o600)
        path.write_bytes(certificates.server_key + certificates.server_certificate)
        context.load_cert_chain(path)

    def serve(raw: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(raw, server_side=True) as tls:
            act(tls)

    with _listening(serve) as hostile:
        yield hostile


@contextmanager
def raw_server(first: bytes, *, abort: bool = False) -> Iterator[Hostile]:
    """A server that answers the first bytes of a TLS handshake with `first` and goes."""

    def serve(raw: socket.socket) -> None:
        with raw, suppress(OSError):
            raw.recv(1)
            raw.sendall(first)
            if abort:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)

    with _listening(serve) as hostile:
        yield hostile


@contextmanager
def _listening(serve: Callable[[socket.socket], None]) -> Iterator[Hostile]:
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hostile = Hostile(listener.getsockname()[1])

        def accept() -> None:
            with suppress(OSError):  # it is closed
                while True:
                    raw, _ = listener.accept()
                    hostile.connections += 1
                    raw.settimeout(_WAIT_SECONDS)
                    threads.append(threading.Thread(target=serve, args=(raw,), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield hostile
        listener.shutdown(socket.SHUT_RDWR)
    accepting.join()
    for thread in threads:
        thread.join()
