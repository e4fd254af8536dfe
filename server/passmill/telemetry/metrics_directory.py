"""Prepares the files through which processes share their metrics.

Apart from `metrics`, because prometheus_client decides at its first import whether it works for
several processes: the parent calls this before it, or a module of ours that needs it, is imported.
"""

import os
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def prepare_metrics_directory(directory: Path) -> None:
    """Empties `directory` and names it to this process and to those it will start.

    Counters of an earlier run would be added to ours, hence the emptying.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in directory.glob("*.db"):
        left.unlink()
    os.environ[VARIABLE] = str(directory)


def metrics_directory() -> Path | None:
    """The directory that was prepared; None where one process keeps its metrics in memory."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None
