"""Other people's programs that give an independent verdict. One that is missing fails the test,
with what to install."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = {"openssl": "openssl", "unzip": "unzip"}
"""The package of each program, of one name on Debian and in Homebrew."""


def run(
    program: str, *arguments: str | Path, stdin: bytes = b"", folder: Path | None = None
) -> bytes:
    """Runs a program in `folder`, expects exit status 0, and gives its standard output."""
    found = shutil.which(program)
    if found is None:
        package = PACKAGES.get(program, program)
        pytest.fail(
            f"{program} is missing (Debian: apt install {package}; macOS: brew install {package})"
        )
    done = subprocess.run(
        [found, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=30,
        cwd=folder,
    )
    assert done.returncode == 0, f"{program}: {done.stderr.decode(errors='replace')}"
    return done.stdout


def read_with_libarchive(archive: bytes, folder: Path) -> dict[str, bytes]:
    """Every file of a zip archive by its name, in the archive's order, as libarchive reads it.

    By bsdtar from a stream, which shows that sizes come before contents; where bsdtar is not
    installed, by the libarchive inside CMake (of the `cmake` package on the lock) from a file.
    `folder`: an empty one to work in.
    """
    if shutil.which("bsdtar"):
        names = run("bsdtar", "-tf", "-", stdin=archive).decode().splitlines()
        return {name: run("bsdtar", "-xOf", "-", name, stdin=archive) for name in names}
    unpacked = folder / "unpacked-by-libarchive"
    unpacked.mkdir()
    path = folder / "read-by-libarchive.zip"
    path.write_bytes(archive)
    names = run("cmake", "-E", "tar", "tf", path).decode().splitlines()
    run("cmake", "-E", "tar", "xf", path, folder=unpacked)
    return {name: (unpacked / name).read_bytes() for name in names}
