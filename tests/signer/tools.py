"""Other people's programs that give an independent verdict. One that is missing fails the test,
with what to install.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = {"openssl": "openssl", "unzip": "unzip", "bsdtar": "libarchive-tools"}
"""Debian's package of each program."""


def run(program: str, *arguments: str | Path, stdin: bytes = b"") -> bytes:
    """Runs a program, expects exit status 0, and gives its standard output."""
    found = shutil.which(program)
    if found is None:
        pytest.fail(f"{program} is missing: apt install {PACKAGES[program]}")
    done = subprocess.run(
        [found, *map(str, arguments)], input=stdin, capture_output=True, check=False, timeout=30
    )
    assert done.returncode == 0, f"{program}: {done.stderr.decode(errors='replace')}"
    return done.stdout
