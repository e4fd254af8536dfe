"""The till's wheel: small, with its command, and nothing of the server."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.pos.till import ROOT


def test_the_wheel(tmp_path: Path) -> None:
    """The wheel has the package and its command, and needs the client, and what checks
    signatures."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), "./clients/pos"),
        ],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("passmill_pos-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [folder] = {name.partition("/")[0] for name in names} - {"passmill_pos"}
        scripts = archive.read(f"{folder}/entry_points.txt").decode()
        about = archive.read(f"{folder}/METADATA").decode()
    assert "passmill_pos/py.typed" in names
    assert "passmill-pos = passmill_pos.command:main" in scripts
    needs = [line for line in about.splitlines() if line.startswith("Requires-Dist")]
    assert needs == [
        "Requires-Dist: cryptography>=46",
        "Requires-Dist: passmill-client==0.1.0",
    ]


def test_nothing_of_the_server_is_loaded() -> None:
    """The command loads the client and the protocol, and no other module of the server."""
    program = (
        "import sys, passmill_pos.command\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] == 'passmill'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "passmill.v1.scan_service_pb2" in loaded
    assert {name for name in loaded if not name.startswith("passmill.v1")} == {"passmill"}
