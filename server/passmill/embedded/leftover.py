"""Servers that outlived an earlier parent: recognised by their pid file and home, and stopped.

On Linux the kernel stops them by itself, which may still be under way; elsewhere nobody does.
"""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

from passmill.embedded.errors import EmbeddedServerError
from passmill.embedded.process import POLL_SECONDS, STOP_SECONDS

PROC = Path("/proc")  # Linux only


async def stop_leftover(pid_file: Path, home: Path, stop_signal: signal.Signals) -> None:
    """Stops the server that `pid_file` names, if there is one and it works in `home`.

    A pid file survives kill -9 and its number may belong to a stranger by now: hence `home`.
    Raises EmbeddedServerError when the server does not go away.
    """
    pid = read_pid(pid_file)
    if pid is None or not _works_in(pid, home):
        return
    os.kill(pid, stop_signal)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            while _works_in(pid, home):  # noqa: ASYNC110 - a process, nothing to await
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        message = f"process {pid} still runs on {home} and does not stop"
        raise EmbeddedServerError(message) from None


def read_pid(pid_file: Path) -> int | None:
    """The number on the file's first line, if there is one."""
    try:
        first = pid_file.read_text().split("\n", 1)[0].strip()
    except FileNotFoundError:
        return None
    return int(first) if first.isdigit() else None


def _works_in(pid: int, home: Path) -> bool:
    if PROC.is_dir():
        try:
            return (PROC / str(pid) / "cwd").readlink() == home
        except OSError:
            return False
    listing = subprocess.run(
        ["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return str(home) in listing.stdout
