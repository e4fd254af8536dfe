"""Places where a process can be made to die, for tests of what a crash leaves behind.

PASSMILL_FAIL_AT names them with the chance of dying each time one is reached:
`shard.signed:0.1,shard.written:1`. Dying is SIGKILL, so nothing is tidied up. Without the setting
nothing happens anywhere.

- `shard.read`: the recipients are read, nothing is signed
- `shard.signed`: all is signed, nothing is written
- `shard.written`: all is written, nothing is committed
- `shard.committed`: all is committed, the queue does not know yet
"""

from __future__ import annotations

import os
import random
import signal
from typing import Final

FAILPOINTS: Final = frozenset({"shard.read", "shard.signed", "shard.written", "shard.committed"})


class Failpoints:
    """Dies at the places it was told."""

    __slots__ = ("_chances", "_random")

    def __init__(self, setting: str = "") -> None:
        """`setting`: as PASSMILL_FAIL_AT; empty for nowhere. ValueError when it is no such."""
        self._chances = parse_failpoints(setting)
        self._random = random.SystemRandom()

    def reach(self, name: str) -> None:
        """Here a process may die."""
        chance = self._chances.get(name)
        if chance is not None and self._random.random() < chance:
            os.kill(os.getpid(), signal.SIGKILL)


def parse_failpoints(setting: str) -> dict[str, float]:
    """Chances by name. ValueError for an unknown name or a chance that is not within 0 and 1."""
    chances: dict[str, float] = {}
    for part in filter(None, setting.split(",")):
        name, _, chance = part.partition(":")
        if name not in FAILPOINTS:
            raise ValueError(f"no failpoint is named {name!r}")
        chances[name] = float(chance or 1)
        if not 0 <= chances[name] <= 1:
            raise ValueError(f"the chance of {name} must be within 0 and 1")
    return chances


def check_failpoints(setting: str) -> str:
    """The setting as it was given. ValueError as `parse_failpoints`."""
    parse_failpoints(setting)
    return setting
