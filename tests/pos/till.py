"""A till of a test: `passmill-pos` with a configuration and a queue of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from passmill_pos import command
from passmill_pos.arguments import parser
from passmill_pos.outcomes import ExitStatus
from passmill_pos.queue_file import Queue

ROOT = Path(__file__).parents[2]
KEY = "pmk_canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a command told."""

    status: ExitStatus
    out: str
    err: str = ""

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines of --json."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def object(self) -> dict[str, Any]:
        """The one line of --json."""
        [told] = self.objects
        return told


@dataclass(slots=True, kw_only=True)
class Till:
    """A till. `environ`: its variables, all of them."""

    environ: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str) -> Told:
        """Runs a command in this process."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = command.run(parser().parse_args(words), self.environ)
        return Told(status=status, out=out.getvalue(), err=err.getvalue())

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts a command in a process of its own, its input and output at hand."""
        return self._start("passmill_pos", *words)

    def start_dying(
        self, moment: int, *words: str, module: str = "tests.pos.dying_till"
    ) -> subprocess.Popen[str]:
        """The same, killed at a moment that the module says."""
        return self._start(module, str(moment), *words)

    def _start(self, module: str, *words: str) -> subprocess.Popen[str]:
        paths = {"PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])}
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            env=_inherited() | paths | self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def queue(self) -> Queue:
        """Its queue, to look into."""
        return Queue(Path(self.environ["PASSMILL_POS_QUEUE_FILE"]), now=lambda: datetime.now(UTC))

    def rest(self) -> None:
        """Lets the time pass after which a till tries the service again, and sends what one that
        died was busy with."""
        with self.queue() as queue:
            queue.note_reached(True)
            queue.give_back(queue.entries(with_done=False))

    def with_queue(self, name: str) -> Till:
        """The same till with another queue."""
        path = Path(self.environ["PASSMILL_POS_QUEUE_FILE"]).with_name(name)
        return Till(environ=self.environ | {"PASSMILL_POS_QUEUE_FILE": str(path)})

    def drain(self) -> Told:
        """Sends what is kept."""
        return self.run("queue", "drain", "--json")


def make_till(folder: Path, address: str, *, key: str = KEY, **more: str) -> Till:
    """A till with its files in a folder."""
    return Till(
        environ={
            "PASSMILL_ADDRESS": address,
            "PASSMILL_API_KEY": key,
            "PASSMILL_POS_CONFIG": str(folder / "config.toml"),
            "PASSMILL_POS_QUEUE_FILE": str(folder / "queue.sqlite3"),
            "PASSMILL_POS_TIMEOUT_SECONDS": "1.5",
        }
        | more
    )


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PASSMILL_")}
