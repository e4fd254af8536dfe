"""Files with secrets are whole, and nobody else's."""

import os
import stat
from pathlib import Path

import pytest

from passmill.dev.private_file import write_private


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    """Whatever the umask and whatever stood there, the file holds the text and has mode 0600."""
    path = tmp_path / "secrets.env"
    path.write_text("earlier, and longer", encoding="utf-8")
    path.chmod(0o644)
    earlier = os.umask(0)
    try:
        write_private(path, "Zoë\n")
    finally:
        os.umask(earlier)
    assert path.read_text(encoding="utf-8") == "Zoë\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_there_was(tmp_path: Path) -> None:
    """When it cannot be written, the earlier file stays as it was and nothing else is left."""
    path = tmp_path / "secrets.env"
    path.write_text("earlier", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "half of it, then \ud800")
    assert path.read_text(encoding="utf-8") == "earlier"
    assert list(tmp_path.iterdir()) == [path]
