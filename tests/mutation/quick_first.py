"""A plugin of pytest for a run under mutmut, which has thousands of them.

Tests that were quick without a change come first, as the first that fails ends the run, and what
Hypothesis tries is the same each time. The process that collects the tests once, from which each
run is forked, makes what all need."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import hypothesis
import pytest

from tests.support.service import certificate

# Every change is tried by a run of its own: few examples, always the same.
hypothesis.settings.register_profile(
    "mutation", max_examples=15, deadline=None, derandomize=True, database=None
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts them, those without a server before the others; the order decides nothing else."""
    measured = Path("mutmut-stats.json")
    seconds: dict[str, float] = {}
    if measured.exists():
        seconds = json.loads(measured.read_text("utf-8"))["duration_by_test"]
    items.sort(key=lambda item: ("tests/unit/" not in item.nodeid, seconds.get(item.nodeid, 0.0)))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Makes the certificate of the fork's runs, and has their collectors of garbage pass over all
    that was loaded."""
    if session.config.option.collectonly:
        certificate()
        gc.collect()
        gc.freeze()
