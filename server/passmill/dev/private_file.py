"""Files with secrets in them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Writes a file that nobody else may read (0600), whole or not at all, whatever happens."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # made with 0600
    written = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
