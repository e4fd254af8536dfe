"""What pushes go to: nghttpd, which answers 200 for every token that has an (empty) file."""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from contenders.worker import keep_to
from passmill.dev.authority import ThrowawayAuthority
from passmill.dev.private_file import write_private

TOPIC: Final = "pass.example.coffee"
_TOKENS: Final = 1000
_STREAMS: Final = 1000  # what Apple's servers were seen to allow
_START_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """Where it is, and the files of both sides, PEM."""

    port: int
    folder: Path
    root: Path
    certificate: Path
    key: Path
    intermediate: Path
    server_certificate: Path
    server_key: Path

    @classmethod
    def at(cls, folder: Path, port: int) -> Self:
        """The names of its files."""
        return cls(
            port=port,
            folder=folder,
            root=folder / "root.pem",
            certificate=folder / "pass.pem",
            key=folder / "pass-key.pem",
            intermediate=folder / "intermediate.pem",
            server_certificate=folder / "server.pem",
            server_key=folder / "server-key.pem",
        )

    def tokens(self) -> list[str]:
        """The tokens that it knows."""
        return sorted(path.name for path in (self.folder / "3" / "device").iterdir())


@contextmanager
def serving(program: str, folder: Path, *, core: int | None) -> Iterator[Sink]:
    """The sink, on a core of its own, with TLS and the client's certificate asked for."""
    sink = Sink.at(folder, _free_port())
    _write_files(sink)
    command = [*keep_to(core), program, "--address=127.0.0.1", f"--htdocs={folder}"]
    command += [f"--max-concurrent-streams={_STREAMS}", "--verify-client", "--workers=1"]
    command += [str(sink.port), str(sink.server_key), str(sink.server_certificate)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(sink.port)
        yield sink
    finally:
        process.kill()
        process.wait()


def _write_files(sink: Sink) -> None:
    now = datetime.now(UTC)
    authority = ThrowawayAuthority(now=now)
    issued = authority.issue_pass_certificate(now=now, pass_type_identifier=TOPIC)
    server = authority.issue_server_certificate(now=now)
    sink.root.write_bytes(authority.root_pem)
    sink.certificate.write_bytes(issued.certificate_pem)
    sink.intermediate.write_bytes(issued.wwdr_pem)
    write_private(sink.key, issued.private_key_pem.decode("ascii"))
    sink.server_certificate.write_bytes(server.certificate_pem)
    write_private(sink.server_key, server.private_key_pem.decode("ascii"))
    devices = sink.folder / "3" / "device"
    devices.mkdir(parents=True)
    for _ in range(_TOKENS):
        (devices / secrets.token_hex(32)).touch()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait(port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit("nghttpd does not listen")
