"""A change of every pass while everything goes wrong: see `fanout.py`, which `make fanout` runs
larger."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SMALL = [
    *("--passes", "1500", "--registrations", "2250", "--devices", "100", "--gone", "10"),
    *("--window", "1", "--per-second", "2000"),
]


def _play(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.faults.fanout", *SMALL, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=290, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Lines of the log come before the result.
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["is_right"] is True
    return found


@pytest.mark.timeout(300)
def test_pushes_alone_reach_every_phone() -> None:
    """Redis emptied twice, killed once, and a worker killed while 1,500 passes change: all of 2,250
    registrations are pushed after their pass's change, and phones need not look by themselves. A
    lost push, registration or version would be noticed."""
    found = _play("--flushall", "2", "--kill-valkey", "1", "--kill-workers", "1", "--control")
    assert found["passes_behind_before_the_last_poll"] == 0
    assert found["passes_on_phones"] >= 100
    assert found["flushes"] == 2
    assert found["redis_kills"] == found["worker_kills"] == 1
    assert found["noticed"]["is_right"] is False
    assert found["noticed"]["wrong_stale_on_phones"] == 1
    assert found["noticed"]["wrong_lost_registrations"] == 1
    assert found["noticed"]["wrong_never_pushed"] >= 1


@pytest.mark.timeout(300)
def test_half_of_the_pushes_lost_and_transactions_held_open() -> None:
    """Half of the pushes lost on their way, and 50 writers whose transactions commit up to three
    seconds late while phones look: each phone has the newest version in the end."""
    found = _play("--drop", "0.5", "--writers", "50")
    assert found["pushes_lost_on_the_way"] > found["pushes"] / 3
    assert found["late_commits"] > 0
    assert found["changes_by_writers"] >= 50
