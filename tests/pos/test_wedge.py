"""The wedge's input: whatever comes from a scanner, it goes on, or says that it does not."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Iterator

import pytest

from passmill_pos.outcomes import ExitStatus
from tests.pos.place import POINTS, Place
from tests.pos.till import Till

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize(
    "variables", [{"PYTHONIOENCODING": "utf-8"}, {"LC_ALL": "C.UTF-8"}], ids=["strict", "C.UTF-8"]
)
def test_a_line_that_is_not_utf_8(place: Place, till: Till, variables: dict[str, str]) -> None:
    """A line of bytes that are not UTF-8 is told as no pass, and those after it are taken."""
    wallet_pass = place.issue(points=0)
    till.environ |= variables
    process = till.start("wedge", "--earn", "1", "--unit", POINTS, "--guard", "0", "--json")
    assert isinstance(process.stdin, io.TextIOWrapper)
    line = f"{wallet_pass.pass_id}\n".encode()
    os.write(process.stdin.fileno(), line + b"\xff\xfe caf\xe9\n" + line)
    out, err = process.communicate()
    assert (process.returncode, err) == (ExitStatus.DONE, "")
    assert [json.loads(told)["exit"] for told in out.splitlines()] == [0, 2, 0]
    assert place.points_of(wallet_pass) == 2


def test_an_input_that_fails(place: Place, till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no more can be read, as from a scanner that was pulled out, the wedge has failed; what
    came before is done."""
    wallet_pass = place.issue(points=0)

    def pulled_out() -> Iterator[str]:
        yield f"{wallet_pass.pass_id}\n"
        raise OSError("Input/output error")

    monkeypatch.setattr(sys, "stdin", pulled_out())
    told = till.run("wedge", "--earn", "1", "--unit", POINTS)
    assert told.status is ExitStatus.FAILED
    assert "Input/output error" in told.err
    assert place.points_of(wallet_pass) == 1


def test_a_wedge_that_is_interrupted(place: Place, till: Till) -> None:
    """Interrupted from the keyboard a wedge says by exit status 3 that something is still kept, and
    by 0 that nothing is."""
    for words, status in (
        (("--earn", "1", "--unit", POINTS), ExitStatus.KEPT),
        ((), ExitStatus.DONE),
    ):
        interrupted = till.with_queue(f"queue-{len(words)}.sqlite3")
        process = interrupted.start("wedge", *words, "--offline")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("K7M3-Q8TX\n")
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        assert (process.returncode, "Traceback" in err) == (status, False)
