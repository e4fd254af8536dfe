"""A worker's side of the talk with the bench: it works when told, and says how much it did.

The worker writes the first member's bundle to `sample`, then reads a line for each turn, the
seconds it shall work, and answers each with a line of JSON: `passes`, `seconds` by the wall clock,
`cpu_seconds` of the whole process. `turns.mjs` says the same for Node.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


def take_turns(*, sample: Path, bundle: bytes, work: Callable[[], int]) -> None:
    """Until the bench closes the pipe. `work`: some passes, and how many they were."""
    sample.write_bytes(bundle)
    answer_turns(work)


def answer_turns(work: Callable[[], int]) -> None:
    """The turns of one who has nothing to show before."""
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_turn(float(line), work)), flush=True)


def _turn(length: float, work: Callable[[], int]) -> dict[str, float]:
    passes = 0
    started, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - started < length:
        passes += work()
    return {
        "passes": passes,
        "seconds": time.monotonic() - started,
        "cpu_seconds": time.process_time() - cpu,
    }
