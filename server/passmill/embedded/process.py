"""One server as a child process: started as a user it accepts, awaited, stopped."""

import asyncio
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from passmill.embedded.errors import EmbeddedServerError

User = Literal["self", "namespace", "nobody"]

CHILD = Path(__file__).with_name("child.py")
POLL_SECONDS = 0.01
START_SECONDS = 60.0
STOP_SECONDS = 30.0
LOG_TAIL_BYTES = 2000


def choose_user() -> User:
    """As whom servers can run here.

    PostgreSQL refuses root. Root in a user namespace is somebody else to it, while files stay
    root's; where namespaces are forbidden (Docker's default seccomp profile) `nobody` remains.
    """
    if os.geteuid() != 0:
        return "self"
    probe = subprocess.run(
        child_command("namespace", signal.SIGTERM, [sys.executable, "-I", "-S", "-c", ""]),
        env=child_environment(),
        capture_output=True,
        check=False,
    )
    return "namespace" if probe.returncode == 0 else "nobody"


def child_command(user: User, death_signal: signal.Signals, command: Sequence[str]) -> list[str]:
    """`command` behind the script that gives up root and follows this process into death."""
    python = [sys.executable, "-I", "-S", str(CHILD)]
    return [*python, user, str(os.getpid()), str(int(death_signal)), *command]


def child_environment() -> dict[str, str]:
    """No PG* or other settings of the caller's reach the servers."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
    return {"LC_ALL": "C", "TZ": "UTC"} | {
        name: os.environ[name] for name in kept if name in os.environ
    }


def make_directory(path: Path, user: User) -> None:
    """Makes `path` (mode 0700) for the servers' user; parents belong to the caller."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user == "nobody":
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)


def run_tool(user: User, command: Sequence[str]) -> None:
    """Runs a tool of the server's to its end. Raises EmbeddedServerError with its output."""
    done = subprocess.run(
        child_command(user, signal.SIGTERM, command),
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if done.returncode != 0:
        output = (done.stdout + done.stderr)[-LOG_TAIL_BYTES:].strip()
        raise EmbeddedServerError(f"{Path(command[0]).name} failed: {output}")


class ServerProcess:
    """A running server. The thread that makes it must outlive it: the kernel's death signal
    follows the thread that forked, not the process."""

    def __init__(
        self, *, user: User, command: Sequence[str], stop_signal: signal.Signals, log: Path
    ) -> None:
        self.name = Path(command[0]).name
        self._stop_signal = stop_signal
        self._log = log
        with log.open("wb") as output:
            # Its own session: Ctrl-C at a terminal must reach us alone, and we stop it in turn.
            self._process = subprocess.Popen(
                child_command(user, stop_signal, command),
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the server's main process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the main process still exists."""
        return self._process.poll() is None

    async def wait_ready(self, is_ready: Callable[[], bool]) -> None:
        """Returns once `is_ready`. Raises EmbeddedServerError at an exit or after a minute."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not is_ready():
                    if not self.is_running:
                        raise EmbeddedServerError(
                            f"{self.name} stopped at start: {self._log_tail()}"
                        )
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            message = f"{self.name} not ready after {START_SECONDS:.0f} s: {self._log_tail()}"
            raise EmbeddedServerError(message) from None

    async def stop(self, with_signal: signal.Signals | None = None) -> None:
        """Stops the server in order, or by another signal; kills it when it takes longer than half
        a minute."""
        for signal_number in (with_signal or self._stop_signal, signal.SIGKILL):
            self._process.send_signal(signal_number)  # does nothing once it has ended
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    while self.is_running:  # noqa: ASYNC110 - a process, nothing to await
                        await asyncio.sleep(POLL_SECONDS)

    def _log_tail(self) -> str:
        return self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
