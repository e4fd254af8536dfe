"""What deploy/Containerfile does, as far as it goes without building an image: the wheel is whole,
and serves from a place of its own."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import Database

ROOT = Path(__file__).parents[2]
CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
SECONDS = 170


def run_module(*command: str) -> None:
    """Runs one of this environment's tools at the project's root."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        check=False,
        timeout=SECONDS,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the server's wheel unpacked, as `make wheels` builds it. What it stands on is
    in this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    run_module("maturin", "build", "--quiet", "--release", "--out", str(folder / "dist"))
    [wheel] = (folder / "dist").iterdir()
    target = folder / "installed"
    run_module("pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel))
    return target


def environment(installed: Path, **settings: str) -> dict[str, str]:
    """The variables of a process that finds the installed wheel first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PASSMILL_")}
    return {**kept, "PYTHONPATH": str(installed), **settings}


def test_the_image_is_built_by_make() -> None:
    """The image's wheel comes of the Makefile's target, and what runs is what was built."""
    assert "RUN make wheels\n" in CONTAINERFILE
    shown = subprocess.run(
        ["make", "-n", "wheels"], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    ).stdout
    assert "maturin build" in shown
    assert "/build/dist/passmill-*.whl" in CONTAINERFILE
    assert re.search(r"^USER (?!0|root)\S+$", CONTAINERFILE, flags=re.MULTILINE)


@pytest.mark.timeout(SECONDS)
def test_the_wheel_serves(installed: Path, database: Database, tmp_path: Path) -> None:
    """From the wheel alone the service starts, answers the image's health check, and ends well on
    SIGTERM."""
    [check] = re.findall(r"^HEALTHCHECK .*\n +CMD (\[.*\])$", CONTAINERFILE, flags=re.MULTILINE)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = str(holder.getsockname()[1])
    variables = environment(
        installed,
        PASSMILL_DATABASE_URL=database.url,
        PASSMILL_DATABASE__REQUIRE_DURABLE="false",
        PASSMILL_REDIS_URL="redis://127.0.0.1:6379/0",
        PASSMILL_MASTER_KEY=base64.b64encode(secrets.token_bytes(32)).decode(),
        PASSMILL_PROCESSES="1",
        PASSMILL_API__PORT="0",
        PASSMILL_ADMIN__PORT="0",
        PASSMILL_METRICS__PORT=port,
        PASSMILL_LOG__AUDIT_FILE=str(tmp_path / "audit.log"),
    )
    found = subprocess.run(
        [sys.executable, "-c", "import passmill.api_process as p; print(p.__file__)"],
        cwd=tmp_path,
        env=variables,
        check=True,
        timeout=60,
        capture_output=True,
        encoding="utf-8",
    )
    assert found.stdout.startswith(str(installed))
    with subprocess.Popen(
        [sys.executable, "-m", "passmill", "serve"],
        cwd=tmp_path,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as serving:
        try:
            assert serving.stdout is not None
            said = []
            for line in serving.stdout:
                said.append(line)
                if "supervisor.ready" in line:
                    break
            else:
                pytest.fail("".join(said))
            _, *arguments = (part.replace(":9464/", f":{port}/") for part in json.loads(check))
            subprocess.run([sys.executable, *arguments], check=True, timeout=60)
            assert (tmp_path / "audit.log").is_file()
            serving.send_signal(signal.SIGTERM)
            rest, _ = serving.communicate(timeout=60)
            assert serving.returncode == 0, "".join(said) + rest
        finally:
            serving.kill()
