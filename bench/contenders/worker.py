"""Worker processes as the bench sees them: started, told to take turns, ended."""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from passmill.supervisor import MALLOC_SETTINGS

_READY_SECONDS: Final = 120.0
_SLACK_SECONDS: Final = 60.0
"""A turn ends with the piece of work under way, and a busy machine is late."""


class WorkerFailed(Exception):
    """A worker died, or said nothing for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What processes that worked at the same time got done. `rate`: passes a second by the wall
    clock, all together; `cpu_rate`: passes a second of CPU time; `peak_bytes`: resident memory of
    one at its highest until now, None where the system does not tell (`/proc`)."""

    rate: float
    cpu_rate: float
    busy_cores: float
    peak_bytes: int | None


class Workers(AbstractContextManager["Workers"]):
    """Processes that do the same work together."""

    def __init__(self, commands: Sequence[Sequence[str]], *, cores: Sequence[int]) -> None:
        """`commands`: each process's; `cores`: the one that each keeps to, as far as there are as
        many."""
        path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
        self._processes = [
            subprocess.Popen(
                [*keep_to(cores[place] if place < len(cores) else None), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | MALLOC_SETTINGS | {"PYTHONPATH": path},
            )
            for place, command in enumerate(commands)
        ]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def wait(self) -> None:
        """Until they are ready. WorkerFailed when they do not come so far."""
        for process in self._processes:
            _read(process, _READY_SECONDS)

    def turn(self, seconds: float) -> Turn:
        """Lets them work so long. WorkerFailed when they do not."""
        for process in self._processes:
            _pipe(process.stdin).write(f"{seconds}\n".encode())
            _pipe(process.stdin).flush()
        answers = [_read(process, seconds + _SLACK_SECONDS) for process in self._processes]
        peaks = [peak for process in self._processes if (peak := _peak_bytes(process.pid))]
        passes = sum(each["passes"] for each in answers)
        cpu_seconds = sum(each["cpu_seconds"] for each in answers)
        return Turn(
            rate=sum(each["passes"] / each["seconds"] for each in answers),
            cpu_rate=passes / cpu_seconds,
            busy_cores=sum(each["cpu_seconds"] / each["seconds"] for each in answers),
            peak_bytes=max(peaks, default=None),
        )


def keep_to(core: int | None) -> list[str]:
    """What a command begins with to keep to a core; nothing where there is no `taskset`."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(core)] if taskset and core is not None else []


def _read(process: subprocess.Popen[bytes], seconds: float) -> dict[str, float]:
    output = _pipe(process.stdout)
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        line = output.readline() if selector.select(seconds) else b""
    if not line:
        raise WorkerFailed(f"no answer within {seconds:.0f} s from: {process.args!r}")
    answer: dict[str, float] = json.loads(line)
    return answer


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise WorkerFailed("a worker without pipes")
    return stream


def _peak_bytes(pid: int) -> int | None:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    # Not ru_maxrss: it begins with what the parent had when it started the process.
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else None
