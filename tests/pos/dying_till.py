"""`python -m tests.pos.dying_till N WORD…`: `passmill-pos WORD…`, killed when it is about to begin
or to commit its N-th transaction in the queue: odd N at BEGIN, even N at COMMIT. When there are not
so many, it ends as it would."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
from typing import Any


def main() -> None:
    """Runs the command."""
    from passmill_pos.command import main as run  # noqa: PLC0415 - after the patch

    last = int(sys.argv[1])
    moments = itertools.count(1)
    connect = sqlite3.connect

    def watch(statement: str) -> None:
        if statement.startswith(("BEGIN", "COMMIT")) and next(moments) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect_watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        database: sqlite3.Connection = connect(*arguments, **options)
        database.set_trace_callback(watch)
        return database

    sqlite3.connect = connect_watched  # type: ignore[assignment]
    run(sys.argv[2:])


if __name__ == "__main__":
    main()
