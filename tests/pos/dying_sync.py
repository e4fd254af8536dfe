"""`python -m tests.pos.dying_sync N WORD…`: `passmill-pos WORD…`, killed when it is about to do the
N-th thing to the files of its folder: open one, sync it, put it in place."""

from __future__ import annotations

import itertools
import os
import signal
import sys

_WATCHED = frozenset({"open", "os.rename"})


def main() -> None:
    """Runs the command."""
    from passmill_pos.command import main as run  # noqa: PLC0415 - before the watch begins

    last, folder = int(sys.argv[1]), os.environ["PASSMILL_POS_FOLDER"]
    moments = itertools.count(1)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in _WATCHED and str(arguments[0]).startswith(folder) and next(moments) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sync = os.fsync

    def watched_sync(descriptor: int) -> None:
        if next(moments) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)

    sys.addaudithook(watch)
    os.fsync = watched_sync  # type: ignore[assignment]
    run(sys.argv[2:])


if __name__ == "__main__":
    main()
