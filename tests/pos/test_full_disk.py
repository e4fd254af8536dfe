"""A disk that is full from one moment on: what the service did is told, whatever can be noted."""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

from passmill_pos.outcomes import ExitStatus
from tests.pos.place import POINTS, Place
from tests.pos.relay import Relay
from tests.pos.till import Till

pytestmark = pytest.mark.timeout(180)

SALE = ("2000", "EUR", "--unit", POINTS)


def run_until_full(
    till: Till, relay: Relay, method: str, *words: str
) -> tuple[int, dict[str, Any]]:
    """Runs a command whose queue takes no more once the service has answered a method; gives its
    exit status and what it told."""
    till.environ["PASSMILL_POS_TIMEOUT_SECONDS"] = "10"
    started: list[subprocess.Popen[str]] = []
    log = Path(f"{till.environ['PASSMILL_POS_QUEUE_FILE']}-wal")

    def fill(called: str) -> None:
        if called == method:
            size = log.stat().st_size
            resource.prlimit(started[0].pid, resource.RLIMIT_FSIZE, (size, size))

    relay.after = fill
    started.append(till.start(*words, "--json"))
    out, err = started[0].communicate()
    relay.after = lambda method: None
    assert "Traceback" not in err
    return started[0].returncode, json.loads(out)


def test_what_is_done_is_told(place: Place, relay: Relay, till: Till) -> None:
    """An entry that was posted before the disk was full is told as done, with a word that it is not
    noted; it is sent again under its key, and is there once."""
    wallet_pass = place.issue(points=0)
    words = ("earn", wallet_pass.pass_id, "7", "--unit", POINTS)
    status, told = run_until_full(till, relay, "PostEntry", *words)
    assert (status, told["verdict"], told["balance"]) == (ExitStatus.DONE, "done", 7)
    assert "is not noted" in told["message"]
    till.rest()
    assert till.drain().object["sent"] == 1
    assert [entry.request_id for entry in place.entries_of(wallet_pass)] == [told["key"]]


def test_what_is_held_is_not_told_as_paid(place: Place, relay: Relay, till: Till) -> None:
    """When it cannot be noted that a sale is to be paid it has failed, under a key that is told,
    and is not paid; what was held is freed."""
    wallet_pass = place.issue(points=1000)
    status, told = run_until_full(till, relay, "PaySale", "pay", wallet_pass.pass_id, *SALE)
    assert (status, told["verdict"]) == (ExitStatus.FAILED, "failed")
    till.rest()
    assert till.drain().object["waiting"] == 0
    assert (place.held_of(wallet_pass), place.points_of(wallet_pass)) == (0, 1000)
    again = till.run("pay", wallet_pass.pass_id, *SALE, "--key", told["key"], "--json")
    assert again.object["reason"] == "not_paid"


def test_what_is_paid_later_is_told(place: Place, relay: Relay, till: Till) -> None:
    """When the answer is lost to a payment that was noted before the disk was full, staff are told
    what is paid, and it is taken once."""
    wallet_pass = place.issue(points=1000)
    relay.loses_answers = frozenset({"CaptureHold"})
    status, told = run_until_full(till, relay, "CaptureHold", "pay", wallet_pass.pass_id, *SALE)
    assert (status, told["verdict"], told["paid"]) == (ExitStatus.KEPT, "kept", 600)
    relay.loses_answers = frozenset()
    till.rest()
    assert till.drain().object["waiting"] == 0
    assert [entry.amount for entry in place.entries_of(wallet_pass)] == [-600]
