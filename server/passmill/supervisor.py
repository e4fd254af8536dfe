"""The parent of API processes, which share one port, of edge processes, which share another, and of
workers: restarted when they die, drained in the end. It never imports grpc: a process is started
anew, not forked."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import structlog

from passmill.settings import Door, EdgeDoor, Exposition
from passmill.telemetry.exposition import MetricsServer, MetricsView
from passmill.telemetry.metrics_directory import prepare_metrics_directory

_EX_CONFIG: Final = 78  # process.py: starting again is no use
_QUICK_SECONDS: Final = 0.1
_PATIENCE: Final = 10
_SECONDS_A_DEATH: Final = 6.0  # of life, after which one death counts no more
_LAST_RESTART_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.1
_START_SECONDS: Final = 60.0
# After the drain a process closes its pool and its threads.
_END_SECONDS: Final = 10.0
MALLOC_SETTINGS: Final[Mapping[str, str]] = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
"""For glibc (mallopt(3)): else it gives the memory of each bundle back to the system as soon as it
is free, and the fresh pages of the next one cost as much as its signature. A process keeps up to
256 MiB that way."""

_NOT_FOR_EDGES: Final = frozenset(
    f"PASSMILL_{name}{ending}"
    for name in ("MASTER_KEY", "OPERATOR_KEY", "DATABASE_OWNER_URL", "EDGE_KEY")
    for ending in ("", "_FILE")
)


class ProcessFailed(Exception):
    """A process ended at its start, or not all became ready in time; its log says why."""


class RestartDelay:
    """How long one place among the processes stays empty after a death: next to nothing at first,
    for whatever killed one process has no say in the next. Ten deaths in a minute of life look like
    a fault that stays: from then on a second, twice as long each time, up to half a minute."""

    def __init__(self) -> None:
        self._deaths = 0.0

    def after(self, lived: float) -> float:
        """Seconds to wait before the next start; `lived`: seconds from the last one to the end."""
        forgotten = lived / _SECONDS_A_DEATH
        self._deaths = min(max(self._deaths - forgotten, 0.0) + 1, _PATIENCE + 6)
        if self._deaths <= _PATIENCE:
            return _QUICK_SECONDS
        return min(math.pow(2, self._deaths - _PATIENCE - 1), _LAST_RESTART_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Edge processes. `key`: the one secret they are given, in Base64; no process that the internet
    reaches has the master key."""

    door: EdgeDoor
    processes: int
    key: str = field(repr=False)


class Supervisor:
    """Context manager: starts the processes, waits until all are ready, stops them in the end.

    `processes`: API processes, None for one a core, 0 for none. `workers`: worker processes.
    `edges`: started after the others, which leave the mark that an edge's key is checked with.
    `environment`: the PASSMILL_* variables each of them reads, edges all but the secrets;
    what is given here beside them must say the same.
    """

    def __init__(
        self,
        *,
        api: Door,
        admin: Door,
        exposition: Exposition,
        processes: int | None,
        workers: int = 0,
        edges: Edges | None = None,
        drain_seconds: float,
        environment: Mapping[str, str],
    ) -> None:
        self._api = api
        self._admin = admin
        self._exposition = exposition
        self._drain_seconds = drain_seconds
        self._environment = dict(environment)
        self._api_count = (os.cpu_count() or 1) if processes is None else processes
        self._edges = edges
        self._inner_count = self._api_count + workers
        self._count = self._inner_count + (edges.processes if edges is not None else 0)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stack = ExitStack()
        self._log = structlog.get_logger("passmill.supervisor")
        self.api_port = 0
        self.admin_port = 0
        self.edge_port = 0
        self.metrics_port = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._view = MetricsView(directory=self._prepare_metrics(stack))
            if self._api_count:
                self.api_port = reserve_port(stack, self._api)
                self.admin_port = reserve_port(stack, self._admin)
            if self._edges is not None:
                self.edge_port = reserve_port(stack, self._edges.door)
            self.metrics_port = stack.enter_context(
                MetricsServer(
                    view=self._view,
                    host=self._exposition.host,
                    port=self._exposition.port,
                    processes=self._count,
                )
            ).port
            stack.callback(self._stop)
            for stop in (self._inner_count, self._count):
                while len(self._processes) < stop:
                    self._processes.append(self._start(len(self._processes)))
                self._wait_until_ready()
            self._stack = stack.pop_all()
        self._log.info("supervisor.ready", processes=self._count, port=self.api_port)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def process_ids(self) -> list[int]:
        """Of the API processes alive now; one that died is replaced by `run`."""
        return _alive(self._processes[: self._api_count])

    @property
    def worker_ids(self) -> list[int]:
        """Of the workers alive now; one that died is replaced by `run`."""
        return _alive(self._processes[self._api_count : self._inner_count])

    @property
    def edge_ids(self) -> list[int]:
        """Of the edge processes alive now; one that died is replaced by `run`."""
        return _alive(self._processes[self._inner_count :])

    def run(self, stop: threading.Event) -> None:
        """Watches over the processes until `stop` is set; one that dies is started again, after a
        `RestartDelay`.

        Raises ProcessFailed when one ends because it must not run here.
        """
        delays = [RestartDelay() for _ in self._processes]
        started = [time.monotonic()] * len(self._processes)
        restarts: dict[int, float] = {}  # when the places that are empty are filled again
        while not stop.wait(_POLL_SECONDS):
            now = time.monotonic()
            for index, process in enumerate(self._processes):
                if index not in restarts:
                    if process.poll() is not None:
                        delay = delays[index].after(now - started[index])
                        self._note_death(process, delay)
                        restarts[index] = now + delay
                elif now >= restarts[index]:
                    del restarts[index]
                    self._processes[index] = self._start(index)
                    started[index] = now

    def _note_death(self, process: subprocess.Popen[bytes], delay: float) -> None:
        self._view.forget_process(process.pid)
        if process.stdin is not None:
            process.stdin.close()
        code = process.returncode
        if code == _EX_CONFIG:
            raise ProcessFailed("A process refuses to run here; its log says why.")
        self._log.error(
            "supervisor.process_died", pid=process.pid, exit_code=code, restart_seconds=delay
        )

    def _prepare_metrics(self, stack: ExitStack) -> Path:
        directory = self._exposition.directory
        if directory is None:
            directory = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="passmill-metrics-"))
            )
        prepare_metrics_directory(directory)
        return directory

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        environment = {**MALLOC_SETTINGS, **os.environ, **self._environment}
        if self._edges is not None and index >= self._inner_count:
            environment = edge_environment(environment, key=self._edges.key)
        return subprocess.Popen(self._command(index), stdin=subprocess.PIPE, env=environment)

    def _command(self, index: int) -> list[str]:
        """The API processes come first, the first of them with the admin port, then the workers,
        then the edges."""
        if index >= self._inner_count:
            return [sys.executable, "-m", "passmill.edge_process", "--port", str(self.edge_port)]
        if index >= self._api_count:
            return [sys.executable, "-m", "passmill.worker_process"]
        command = [
            sys.executable,
            "-m",
            "passmill.api_process",
            "--api-port",
            str(self.api_port),
        ]
        if index == 0:
            command += ["--admin-port", str(self.admin_port)]
        return command

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while self._view.ready_processes() < len(self._processes):
            if any(process.poll() is not None for process in self._processes):
                raise ProcessFailed("A process ended at its start; its log says why.")
            if time.monotonic() > end:
                raise ProcessFailed(f"Not ready after {_START_SECONDS:.0f} s; the log says why.")
            time.sleep(_POLL_SECONDS)

    def _stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        end = time.monotonic() + self._drain_seconds + _END_SECONDS
        for process in self._processes:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log.error("supervisor.process_killed", pid=process.pid)
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()


def edge_environment(environment: Mapping[str, str], *, key: str) -> dict[str, str]:
    """What an edge process is to know of `environment`: nothing that opens more than `key` does."""
    kept = {name: text for name, text in environment.items() if name.upper() not in _NOT_FOR_EDGES}
    return {**kept, "PASSMILL_EDGE_KEY": key}


def _alive(processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    return [process.pid for process in processes if process.poll() is None]


def reserve_port(stack: ExitStack, door: Door) -> int:
    """Holds the door's port (a free one for 0) for our processes. OSError when it is taken.

    A socket that is bound and does not listen gets no connections; those of the processes, bound
    beside it by SO_REUSEPORT, do.
    """
    family = socket.AF_INET6 if ":" in door.host else socket.AF_INET
    holder = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind((door.host, door.port))
    port: int = holder.getsockname()[1]
    return port
