"""An API process that is run by itself."""

from __future__ import annotations

import base64
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from passmill.process import EX_CONFIG

MASTER_KEY = base64.b64encode(secrets.token_bytes(32)).decode()
GOOD = {
    "PASSMILL_DATABASE_URL": "postgresql:///nobody",
    "PASSMILL_REDIS_URL": "unix:///nowhere",
    "PASSMILL_MASTER_KEY": MASTER_KEY,
}


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"PASSMILL_MASTERKEY": "canary"}, "PASSMILL_MASTERKEY"),
        ({"PASSMILL_MASTER_KEY": "canary"}, "master_key"),
        ({"PASSMILL_LOG__AUDIT_FILE": "/nowhere/audit.log"}, "/nowhere/audit.log"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, str], named: str, tmp_path: Path) -> None:
    """Settings that are not right are named in one line, without a traceback or a secret, and the
    exit status says that another start is no use."""
    done = subprocess.run(
        [sys.executable, "-m", "passmill.api_process", "--api-port", "0"],
        env={**GOOD, **wrong},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    assert done.returncode == EX_CONFIG
    [line] = done.stderr.splitlines()
    assert "process.refused" in line
    assert named in line
    assert "canary" not in line
    assert MASTER_KEY not in line
