"""A campaign while its workers are killed: see `scenario.py`, which `make faults` runs larger."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIO = Path(__file__).with_name("scenario.py")


@pytest.mark.timeout(300)
def test_campaign_survives_killed_workers_and_a_crashed_database() -> None:
    """5,000 recipients, 5 workers killed at any moment and more at named points, PostgreSQL crashed
    once: 5,000 passes, none twice, none lost, each verified by openssl."""
    command = [sys.executable, str(SCENARIO), "--recipients", "5000", "--kills", "5"]
    done = subprocess.run(
        [*command, "--kill-every", "0.05", "0.4", "--crashes", "1", "--crash-every", "1", "3"],
        capture_output=True,
        text=True,
        check=False,
        timeout=290,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Lines of the log come before the result.
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["is_right"] is True
    assert found["passes"] == 5000
    assert found["verified_by_openssl"] == 5000
    assert found["worker_deaths"] >= 5, found
    assert found["postgres_crashes"] == 1, found
