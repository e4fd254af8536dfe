"""Processes that start while PostgreSQL is away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)
WAITING = "process.waiting_for_database"


@pytest.mark.parametrize("module", ["passmill.worker_process", "passmill.api_process"])
def test_a_process_waits_for_its_database(tmp_path: Path, module: str) -> None:
    """Started while nobody listens there, a worker and an API process say so in a line, without a
    trace, stay, and end when they are told to."""
    environment = os.environ | {
        "PASSMILL_DATABASE_URL": f"postgresql://nobody@/nothing?host={tmp_path}",
        "PASSMILL_REDIS_URL": "redis://127.0.0.1:1",
        "PASSMILL_MASTER_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    }
    arguments = ["--api-port", "0"] if module.endswith("api_process") else []
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(timeout=30) == 0
    assert all(WAITING in line and "FileNotFoundError" in line for line in lines), lines
    assert "Traceback" not in "".join(lines) + rest
