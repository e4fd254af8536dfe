"""The edge at the limit of open files, each time in a process with a limit of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from passmill.dev.local_service import LocalService
from tests.edge.test_edge_process import edge_variables

ALLOW = """
import resource
from passmill.edge.open_files import allow_open_files
allow_open_files(max_connections=500, database_connections=8)
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
WATCH = """
import asyncio, os, socket, sys
from prometheus_client import CollectorRegistry
from passmill.edge.connections import ConnectionWatch
from passmill.telemetry.edge_metrics import EdgeMetrics
from passmill.telemetry.logging import configure_logging

def look_in_vain(watch):
    try:
        watch.look()
    except OSError as error:
        print(error.strerror)

async def main():
    configure_logging()
    registry = CollectorRegistry()
    listening = socket.create_server(("127.0.0.1", 0))
    watch = ConnectionWatch(
        port=listening.getsockname()[1],
        idle_seconds=0.3,
        max_connections=100,
        metrics=EdgeMetrics(registry),
    )
    client = socket.create_connection(listening.getsockname())
    server, _ = listening.accept()
    await asyncio.to_thread(watch.look)
    spare = []
    try:
        while True:
            spare.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    look_in_vain(watch)  # the list of open files is one more
    os.close(spare.pop())

    def take_the_last(frame, event, called):
        if event == "c_call" and called is os.dup:
            sys.setprofile(None)
            spare.append(os.open("/dev/null", os.O_RDONLY))

    sys.setprofile(take_the_last)  # as another thread may just before a copy
    look_in_vain(watch)
    watching = asyncio.create_task(watch.run_forever())
    await asyncio.sleep(0.5)
    print("watching", not watching.done())
    for number in spare:
        os.close(number)
    client.setblocking(False)
    print("cut", await asyncio.get_running_loop().sock_recv(client, 1) == b"")
    print(registry.get_sample_value("passmill_edge_connections_cut_total", {"cause": "idle"}))
    watching.cancel()

asyncio.run(main())
"""


def run_limited(
    *arguments: str, soft: int, hard: int, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs Python in a process that may open so many files."""
    if environment is None:
        # The registry of a test needs no files.
        environment = {k: v for k, v in os.environ.items() if k != "PROMETHEUS_MULTIPROC_DIR"}
    limited = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"'
    return subprocess.run(
        ["/bin/sh", "-c", limited, "sh", sys.executable, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_limit_is_raised() -> None:
    """A low soft limit becomes the hard one, where that is enough."""
    done = run_limited("-c", ALLOW, soft=100, hard=1000)
    assert done.stdout.split() == ["1000", "1000"], done.stderr


def test_too_low_a_limit_is_refused() -> None:
    """Where the hard limit is not enough, the refusal says what there is, what it takes and for
    which setting."""
    done = run_limited("-c", ALLOW, soft=100, hard=600)
    assert "may open 600 files" in done.stderr
    assert "needs 700" in done.stderr
    assert "PASSMILL_EDGE__MAX_CONNECTIONS=500" in done.stderr


def test_an_edge_does_not_start_with_too_few_files(local: LocalService, master_key: bytes) -> None:
    """An edge process that may not have its connections ends with the status that says another
    start is no use, in one line without a traceback."""
    done = run_limited(
        *("-m", "passmill.edge_process", "--port", "1"),
        soft=256,
        hard=256,
        environment=edge_variables(local, master_key, EDGE__MAX_CONNECTIONS="500"),
    )
    assert done.returncode == 78, done.stderr
    assert "process.refused" in done.stderr
    assert "may open 256 files" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="connections are watched on Linux alone")
def test_the_watch_outlives_a_lack_of_files() -> None:
    """Out of files, looking says so, whether the list of them or a copy cannot be had, and forgets
    nothing; the loop goes on, and cuts what is idle once it can."""
    done = run_limited("-c", WATCH, soft=64, hard=64)
    in_vain = ["Too many open files"] * 2
    assert done.stdout.splitlines() == [*in_vain, "watching True", "cut True", "1.0"], done.stderr
    assert "edge.not_watched" in done.stderr
