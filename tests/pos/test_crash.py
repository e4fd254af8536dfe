"""Tills that are killed: what was noted is done once, and what was told is true."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from uuid import uuid4

import pytest

from passmill_client import Pass
from passmill_pos.intents import Entry
from passmill_pos.outcomes import ExitStatus, Verdict
from tests.pos.place import POINTS, Place
from tests.pos.relay import Relay
from tests.pos.till import Till

pytestmark = pytest.mark.timeout(300)

KILLED = -signal.SIGKILL


def drained(till: Till) -> list[Entry]:
    """All that the till noted, when all of it was sent."""
    till.rest()
    assert till.drain().object["waiting"] == 0
    with till.queue() as queue:
        return queue.entries(with_done=True)


def kill_everywhere(till: Till, *words: str, is_one_queue: bool = False) -> list[Till]:
    """Runs a command again and again, killed one moment later each time, until it gets to its end.
    Gives the tills: each had a queue of its own, or all had one."""
    tills = []
    for moment in range(1, 60):
        tills.append(till if is_one_queue else till.with_queue(f"queue-{moment}.sqlite3"))
        process = tills[-1].start_dying(moment, *words)
        process.communicate()
        tills[-1].rest()
        if process.returncode != KILLED:
            assert process.returncode == ExitStatus.DONE
            assert moment > 5
            return tills
    raise AssertionError("it never ends")


def test_earn_is_killed_everywhere(place: Place, till: Till) -> None:
    """Killed before and after each commit, the till has posted each entry that it noted once, and
    none that it had not noted, when the queue is drained."""
    wallet_pass = place.issue(points=0)
    tills = kill_everywhere(till, "earn", wallet_pass.pass_id, "1", "--unit", POINTS)
    noted = [entry.key for each in tills for entry in drained(each)]
    posted = [entry.request_id for entry in place.entries_of(wallet_pass)]
    assert sorted(posted) == sorted(noted)
    assert 1 < len(posted) < len(tills)


def test_a_till_that_dies_asks_again_with_its_key(place: Place, till: Till) -> None:
    """A till that gives a key asks again with it after each crash, and its entry is posted once."""
    wallet_pass = place.issue(points=0)
    key = str(uuid4())
    words = ("earn", wallet_pass.pass_id, "1", "--unit", POINTS, "--key", key)
    kill_everywhere(till, *words, is_one_queue=True)
    assert [entry.request_id for entry in place.entries_of(wallet_pass)] == [key]
    assert till.drain().object["sent"] == 0


def test_pay_is_killed_everywhere(place: Place, till: Till) -> None:
    """Killed before and after each commit, the till has taken what its queue says is paid, and
    nothing is held, when the queue is drained."""
    wallet_pass = place.issue(points=100_000)
    tills = kill_everywhere(till, "pay", wallet_pass.pass_id, "100", "EUR", "--unit", POINTS)
    outcomes = [entry.outcome for each in tills for entry in drained(each)]
    assert place.held_of(wallet_pass) == 0
    paid = [each for each in outcomes if each is not None and each.verdict is Verdict.DONE]
    assert [entry.amount for entry in place.entries_of(wallet_pass)] == [-30] * len(paid)
    assert 1 < len(paid) < len(outcomes)


@pytest.mark.parametrize("is_before", [True, False])
def test_wedge_is_killed_while_the_service_answers(
    place: Place, relay: Relay, till: Till, is_before: bool
) -> None:
    """Killed when the service gets a call, or has just done it, a wedge has posted each scan that
    it noted once, and each that it told of, when it runs again."""
    wallet_pass = place.issue(points=0)
    told = []
    for calls in (1, 4, 9):
        process = till.start("wedge", *_earn_one(), "--guard", "0", "--json")
        kill = kill_at_call(relay, process, calls)
        if is_before:
            relay.before = kill
        else:
            relay.after = kill
        out, _ = process.communicate(f"{wallet_pass.pass_id}\n" * 20)
        assert process.returncode == KILLED
        relay.before = relay.after = lambda method: None
        told += [json.loads(line) for line in out.splitlines()]
    check_posted(place, till, wallet_pass, told)


def test_wedge_is_killed_at_any_time(place: Place, till: Till) -> None:
    """The same, killed after so many lines of its output, or before there is any."""
    wallet_pass = place.issue(points=0)
    told = []
    for lines in (0, 1, 6, 13):
        process = till.start("wedge", *_earn_one(), "--guard", "0", "--json")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{wallet_pass.pass_id}\n" * 20)
        process.stdin.flush()
        told += [json.loads(process.stdout.readline()) for _ in range(lines)]
        process.kill()
        process.communicate()
    check_posted(place, till, wallet_pass, told)


def test_redeem_is_killed_everywhere(place: Place, scanner: Till) -> None:
    """A till that gives a key asks again with it after each crash; the pass is redeemed once, and
    that is what the till is told in the end."""
    wallet_pass = place.issue(points=0)
    key = str(uuid4())
    words = ("redeem", wallet_pass.pass_id, "--offer", place.offer_id, "--key", key)
    kill_everywhere(scanner, *words, is_one_queue=True)
    told = scanner.run(*words, "--json").object
    [use] = place.uses_of(wallet_pass)
    assert (told["verdict"], told["redemption_id"]) == ("done", use.redemption_id)
    assert scanner.drain().object["sent"] == 0


def test_drain_is_killed_everywhere(place: Place, till: Till) -> None:
    """A drain that is killed before and after each commit posts nothing twice and loses nothing."""
    wallet_pass = place.issue(points=0)
    for _ in range(3):
        till.run("earn", wallet_pass.pass_id, "1", "--unit", POINTS, "--offline")
    kill_everywhere(till, "queue", "drain", is_one_queue=True)
    check_posted(place, till, wallet_pass, [])
    assert place.points_of(wallet_pass) == 3


def kill_at_call(relay: Relay, process: subprocess.Popen[str], calls: int) -> Callable[[str], None]:
    """A hook of the relay that kills a process with the so manieth entry that passes."""
    seen = []

    def kill(method: str) -> None:
        seen.append(method)
        if seen.count("PostEntry") == calls:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    return kill


def check_posted(
    place: Place, till: Till, wallet_pass: Pass, told: list[dict[str, object]]
) -> None:
    """Each entry that was noted is posted once; each that was told of was noted."""
    noted = [entry.key for entry in drained(till)]
    posted = [entry.request_id for entry in place.entries_of(wallet_pass)]
    assert sorted(posted) == sorted(noted)
    assert {str(each["key"]) for each in told} <= set(posted)
    assert posted


def _earn_one() -> tuple[str, ...]:
    return ("--earn", "1", "--unit", POINTS)
