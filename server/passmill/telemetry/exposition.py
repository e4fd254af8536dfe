"""`/metrics`, `/healthz` and `/readyz` on a port of their own, for all processes of this machine.

Served by a thread of the parent process: it answers while the event loops are busy, and sees the
metrics of children through their files.
"""

import struct
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from types import TracebackType
from typing import Self, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

READY_SERIES = "passmill_process_ready"
REQUEST_SECONDS = 10.0
_READ_TRIES = 20
_READ_PAUSE_SECONDS = 0.02

T = TypeVar("T")


class MetricsView:
    """Reads what the processes have counted: from their shared `directory`, or, where one process
    works alone, from its `registry`."""

    def __init__(
        self, *, directory: Path | None = None, registry: CollectorRegistry | None = None
    ) -> None:
        if (directory is None) == (registry is None):
            raise ValueError("metrics come from a directory or from a registry")
        self._directory = directory
        self._registry = registry

    def text(self) -> bytes:
        """All series in Prometheus' text format, summed over processes."""
        return self._read(generate_latest)

    def ready_processes(self) -> int:
        """How many processes have all their checks passing."""
        return int(self._read(lambda series: series.get_sample_value(READY_SERIES)) or 0)

    def forget_process(self, pid: int) -> None:
        """A process has ended: what it held (calls in flight, readiness) counts no more."""
        if self._directory is not None:
            mark_process_dead(pid, str(self._directory))  # type: ignore[no-untyped-call]

    def _read(self, read: Callable[[CollectorRegistry], T]) -> T:
        # A process that starts has made its files before it fills them.
        for _ in range(_READ_TRIES):
            try:
                return read(self._collected())
            except struct.error:
                sleep(_READ_PAUSE_SECONDS)
        return read(self._collected())

    def _collected(self) -> CollectorRegistry:
        if self._registry is not None:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._directory))  # type: ignore[no-untyped-call]
        return registry


class MetricsServer:
    """Context manager that serves `view` on `host` and `port` (0: any free one, see `port`).

    `/readyz` answers 200 when `processes` of them are ready, else 503; `/healthz` answers 200 as
    long as this process does. Raises OSError when the port is taken.
    """

    def __init__(self, *, view: MetricsView, host: str, port: int, processes: int) -> None:
        def handler(*arguments: object) -> _Handler:
            return _Handler(*arguments, view=view, processes=processes)

        self._server = ThreadingHTTPServer((host, port), handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        try:
            self._server.server_bind()
            self._server.server_activate()
        except OSError:
            self._server.server_close()
            raise
        self._thread.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_SECONDS
    server_version = "passmill"
    sys_version = ""

    def __init__(self, *arguments: object, view: MetricsView, processes: int) -> None:
        self._view = view
        self._processes = processes
        super().__init__(*arguments)  # type: ignore[arg-type] # socketserver's three

    def do_GET(self) -> None:
        """Answers one of the three paths."""
        if self.path == "/metrics":
            self._answer(HTTPStatus.OK, self._view.text(), CONTENT_TYPE_LATEST)
        elif self.path == "/healthz":
            self._answer(HTTPStatus.OK, b"ok\n")
        elif self.path == "/readyz":
            ready = self._view.ready_processes()
            status = HTTPStatus.OK if ready >= self._processes else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, f"{ready} of {self._processes} processes ready\n".encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, b"not found\n")

    def _answer(
        self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Probes are not worth a line."""
