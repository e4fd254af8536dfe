"""How many files this process may have open: each connection is one (getrlimit(2))."""

from __future__ import annotations

import resource
from typing import Final

# An edge without connections has some forty open: logs, metrics, the loop, the server's threads.
_RESERVE: Final = 192


class TooFewFiles(Exception):
    """The machine does not let the process have as many connections as its settings promise."""


def allow_open_files(*, max_connections: int, database_connections: int) -> None:
    """Raises this process's limit as far as it may without rights.

    Raises TooFewFiles when that is not enough for so many connections of clients and to the
    database: out of files, the edge could neither take connections nor cut idle ones.
    """
    needed = max_connections + database_connections + _RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says there is no limit, and refuses to have none.
    allowed = max(soft, needed) if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        raise TooFewFiles(
            f"This process may open {allowed} files (ulimit -Hn) and needs {needed} for"
            f" PASSMILL_EDGE__MAX_CONNECTIONS={max_connections}: raise the limit, or set fewer"
            " connections."
        )
