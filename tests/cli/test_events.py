"""`passmill events`: told as lines of JSON, and gone on with where the last run ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cli.conftest import HEARING_CTRL_C, SECONDS, CommandLine


def run(command_line: CommandLine, *arguments: object) -> list[dict[str, Any]]:
    """The events that a command tells."""
    finished = subprocess.run(
        [sys.executable, "-m", "passmill", "events", *map(str, arguments)],
        env=command_line.environment,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=True,
    )
    return [json.loads(line) for line in finished.stdout.splitlines()]


def issue(command_line: CommandLine) -> str:
    """Issues a pass; gives its id."""
    with command_line.client() as client:
        return client.issue_pass(command_line.club.template_id, values={"points": 1}).pass_id


def test_a_list_goes_on_where_the_last_ended(command_line: CommandLine, tmp_path: Path) -> None:
    """Each run tells what came after the one before, by its cursor file; a kind alone where one is
    asked for."""
    place = tmp_path / "cursor"
    run(command_line, "list", "--cursor-file", place)
    first, second = issue(command_line), issue(command_line)
    told = run(command_line, "list", "--cursor-file", place)
    assert [(each["kind"], each["pass_ids"]) for each in told] == [
        ("pass_issued", [first]),
        ("pass_issued", [second]),
    ]
    assert place.read_text().strip() == told[-1]["cursor"]
    assert run(command_line, "list", "--cursor-file", place) == []
    assert run(command_line, "list", "--cursor", told[0]["cursor"]) == told[1:]
    assert run(command_line, "list", "--cursor", told[0]["cursor"], "--kind", "pass_voided") == []
    assert list(tmp_path.iterdir()) == [place]


def test_a_watcher_tells_until_it_is_interrupted(command_line: CommandLine, tmp_path: Path) -> None:
    """What happens is told while it happens; Ctrl-C ends it, and its cursor file goes on behind
    what it told."""
    place = tmp_path / "cursor"
    run(command_line, "list", "--cursor-file", place)
    watching = subprocess.Popen(
        [sys.executable, "-c", HEARING_CTRL_C, "events", "watch", "--cursor-file", str(place)],
        env=command_line.environment,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert watching.stdout is not None
    with watching:
        for _ in range(2):
            pass_id = issue(command_line)
            assert json.loads(watching.stdout.readline())["pass_ids"] == [pass_id]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(SECONDS) == 130
    assert run(command_line, "list", "--cursor-file", place) == []
