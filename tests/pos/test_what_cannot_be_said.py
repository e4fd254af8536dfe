"""Numbers and texts that no message can hold, and faults that nobody foresaw: told as what they
are, and in nobody's way."""

from __future__ import annotations

import sqlite3
from uuid import uuid4

import pytest

from passmill_pos.command import main
from passmill_pos.intents import Action, Intent
from passmill_pos.outcomes import ExitStatus
from passmill_pos.scanned_text import NamedBy, PassName
from tests.pos.place import POINTS, Place
from tests.pos.till import Till

pytestmark = pytest.mark.timeout(180)

LARGEST = 10**12


@pytest.mark.parametrize("amount", [0, LARGEST + 1, 10**20])
@pytest.mark.parametrize("command", ["earn", "pay"])
def test_an_amount_beyond_the_protocol(
    capsys: pytest.CaptureFixture[str], command: str, amount: int
) -> None:
    """An amount that the service takes from nobody is a wrong call."""
    more = ("EUR",) if command == "pay" else ()
    words = (command, "K7M3-Q8TX", str(amount), *more, "--unit", POINTS, "--offline")
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == ExitStatus.USAGE
    assert "must be from 1 to 1000000000000" in capsys.readouterr().err


def test_the_largest_amount(place: Place, till: Till) -> None:
    """The largest amount of the protocol is posted."""
    wallet_pass = place.issue(points=0)
    told = till.run("earn", wallet_pass.pass_id, str(LARGEST), "--unit", POINTS, "--json")
    assert (told.status, told.object["balance"]) == (ExitStatus.DONE, LARGEST)


@pytest.mark.parametrize("action", [Action.EARN, Action.PAY])
def test_a_kept_number_that_is_too_large_stops_nothing(
    place: Place, till: Till, action: Action
) -> None:
    """A number too large for a message that an earlier till has noted is told as wrong by the next
    command, which does what it is called for; nothing waits."""
    wallet_pass = place.issue(points=0)
    too_large = Intent(
        action=action,
        name=PassName(by=NamedBy.PASS_ID, text=wallet_pass.pass_id),
        unit=POINTS,
        amount=10**20,
        total=10**20,
        currency="EUR",
    )
    with till.queue() as queue:
        queue.note(too_large, key=str(uuid4()), lease_seconds=0)
    told = till.run("earn", wallet_pass.pass_id, "1", "--unit", POINTS, "--json")
    assert (told.status, told.object["balance"]) == (ExitStatus.DONE, 1)
    assert "1 of what was kept could not be done" in told.err
    assert till.drain().object["waiting"] == 0
    [noted] = till.run("queue", "list", "--all", "--json").objects[:1]
    assert noted["outcome"]["verdict"] == "invalid"


@pytest.mark.parametrize("option", ["--reference", "--staff"])
def test_a_text_that_is_not_utf_8(till: Till, option: str) -> None:
    """Bytes on the command line that are not UTF-8 are a wrong call, told without a traceback, and
    nothing is noted."""
    process = till.start("earn", "K7M3-Q8TX", "1", "--unit", POINTS, option, "caf\udce9", "--json")
    out, err = process.communicate()
    assert process.returncode == ExitStatus.USAGE
    assert "Traceback" not in err
    assert "is not UTF-8" in out
    with till.queue() as queue:
        assert queue.waiting() == 0


def test_a_fault_that_nobody_foresaw(till: Till) -> None:
    """A queue whose content is not to be understood is a failure, exit status 6, and not a "no" of
    the service; what it holds is not told."""
    till.run("earn", "+12065550123", "1", "--unit", POINTS, "--offline")
    database = sqlite3.connect(till.environ["PASSMILL_POS_QUEUE_FILE"])
    with database:
        database.execute("UPDATE entries SET intent = 'Zoë'")
    database.close()
    process = till.start("queue", "list")
    out, err = process.communicate()
    assert process.returncode == ExitStatus.FAILED
    assert err.startswith("passmill-pos: JSONDecodeError in ")
    assert "Zoë" not in out + err
    assert "Traceback" not in err


@pytest.mark.parametrize("ending", ["\n", " ", "ü"])
def test_an_api_key_that_is_none(till: Till, ending: str) -> None:
    """A key that no header can hold is a wrong configuration; nothing is kept, and the key is not
    told."""
    till.environ["PASSMILL_API_KEY"] += ending
    told = till.run("earn", "K7M3-Q8TX", "1", "--unit", POINTS, "--json")
    assert (told.status, told.object["verdict"]) == (ExitStatus.USAGE, "invalid")
    assert till.environ["PASSMILL_API_KEY"].strip() not in told.out
    with till.queue() as queue:
        assert queue.waiting() == 0


def test_a_variable_that_is_not_utf_8(till: Till) -> None:
    """Bytes in a variable that are not UTF-8 are a wrong configuration."""
    till.environ["PASSMILL_POS_STAFF"] = "caf\udce9"
    told = till.run("earn", "K7M3-Q8TX", "1", "--unit", POINTS, "--json")
    assert (told.status, "staff is not UTF-8" in told.out) == (ExitStatus.USAGE, True)


def test_what_failed_is_not_told_as_wrong(till: Till) -> None:
    """What fails here has the verdict that its exit status says, as has what is not there."""
    told = till.run("queue", "drop", str(uuid4()), "--json")
    assert (told.status, told.object["verdict"]) == (ExitStatus.REFUSED, "refused")
    database = sqlite3.connect(till.environ["PASSMILL_POS_QUEUE_FILE"])
    database.execute("PRAGMA user_version = 99")
    database.close()
    told = till.run("queue", "list", "--json")
    assert (told.status, told.object["verdict"]) == (ExitStatus.FAILED, "failed")
