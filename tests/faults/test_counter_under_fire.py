"""A rush at the counter while everything goes wrong: see `counter.py`, which `make counter` runs
larger."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def _play(*arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "tests.faults.counter", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=290, cwd=ROOT
    )
    assert done.stdout, done.stderr
    # Lines of the log come before the result.
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return done.returncode, found


@pytest.mark.timeout(300)
def test_copies_of_a_coupon_are_redeemed_once() -> None:
    """50 scanners, 100 single-use passes shown six times each, a tenth of the calls hung up on, the
    server killed twice: each pass is redeemed once, and everybody hears of that one use."""
    status, found = _play("--scanners", "50", "--passes", "100", "--kills", "2")
    assert (status, found["is_right"]) == (0, True), found
    assert found["redemptions"] == found["passes"] == 100
    assert found["kills"] == 2
    assert found["cancelled"] >= 50
    assert found["failed"] > 0, "the kills were not felt"
    assert found["wrong_deadlocks"] == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", ["unique", "where"])
def test_checker_notices_a_faulty_service(mutant: str) -> None:
    """Without the unique index, or without the conditions of the statement that takes a use, passes
    are redeemed twice and the checker cries."""
    few = ("--scanners", "20", "--passes", "25", "--kills", "0", "--cancel", "0")
    status, found = _play(*few, "--mutant", mutant)
    assert (status, found["is_right"]) == (1, False), found
    assert found["wrong_redeemed_twice"] > 0, found
    assert found["wrong_accepted_twice"] > 0, found
