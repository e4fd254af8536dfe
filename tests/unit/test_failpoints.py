"""Failpoints: where they are said to be, a process dies; nowhere else."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from passmill.failpoints import FAILPOINTS, Failpoints, parse_failpoints

PROGRAM = """
import sys
from passmill.failpoints import Failpoints
points = Failpoints(sys.argv[1])
points.reach("shard.read")
points.reach("shard.signed")
print("alive")
"""


@pytest.mark.parametrize(
    ("setting", "dies"),
    [
        ("", False),
        ("shard.signed:1", True),
        ("shard.signed", True),
        ("shard.signed:0", False),
        ("shard.written:1,shard.committed:1", False),
        ("shard.written:1,shard.read:1", True),
    ],
)
def test_a_process_dies_where_it_is_told(setting: str, dies: bool) -> None:
    """By SIGKILL, at a point that has a chance of 1, and only there."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, setting], capture_output=True, text=True, check=False
    )
    assert done.returncode == (-signal.SIGKILL if dies else 0), done.stderr
    assert done.stdout == ("" if dies else "alive\n")


@pytest.mark.parametrize(
    "setting", ["shard.sined:1", "shard.read:2", "shard.read:x", "shard.read:-1"]
)
def test_a_misspelt_setting_is_refused(setting: str) -> None:
    """An unknown point or a chance that is none is told, not ignored."""
    with pytest.raises(ValueError, match=r"failpoint|chance|float"):
        Failpoints(setting)


def test_every_point_can_be_set() -> None:
    """All points at once, with their chances."""
    setting = ",".join(f"{name}:0.5" for name in FAILPOINTS)
    assert parse_failpoints(setting) == dict.fromkeys(FAILPOINTS, 0.5)
