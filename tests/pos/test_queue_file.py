"""The queue on disk: nothing lost, nothing twice, nobody else's to read."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from passmill_pos.intents import Action, Entry, EntryState, Intent, PayStep
from passmill_pos.outcomes import Outcome, Verdict
from passmill_pos.queue_file import KeyReused, OfAnotherKey, Overtaken, Queue, QueueUnusable
from passmill_pos.scanned_text import NamedBy, PassName

EARN = Intent(
    action=Action.EARN,
    name=PassName(by=NamedBy.REFERENCE_ID, text="K7M3-Q8TX"),
    unit="points",
    amount=5,
    reference="Bon 17 Zoë",
)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        """Moves on, or back."""
        self.moment += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """The time at the till."""
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the queue is, in a folder that is not there yet."""
    return tmp_path / "state" / "queue.sqlite3"


@pytest.fixture
def queue(path: Path, clock: Clock) -> Iterator[Queue]:
    """An empty queue."""
    with Queue(path, now=clock) as queue:
        yield queue


def note(queue: Queue, intent: Intent = EARN, *, key: str = "") -> Entry:
    """A new entry that its process is busy with for ten seconds."""
    entry, is_new = queue.note(intent, key=key or str(uuid4()), lease_seconds=10)
    assert is_new
    return entry


def test_what_is_noted_is_found_again(queue: Queue, path: Path, clock: Clock) -> None:
    """Another process finds an entry as it was noted, from the moment `note` returns."""
    entry = note(queue)
    assert (entry.intent, entry.noted, entry.state) == (EARN, clock(), EntryState.TRYING)
    with Queue(path, now=clock) as other:
        assert other.find(entry.key) == entry
        assert other.entries(with_done=False) == [entry]
        assert other.waiting() == 1


def test_each_commit_is_synced(queue: Queue) -> None:
    """SQLite is told to sync each commit and to keep a log before it writes."""
    [mode] = queue._database.execute("PRAGMA journal_mode").fetchone()
    [synchronous] = queue._database.execute("PRAGMA synchronous").fetchone()
    assert (mode, synchronous) == ("wal", 2)


def test_what_was_noted_survives_a_kill(path: Path) -> None:
    """A process killed right after `note` returned leaves the entry, and a file that is whole."""
    program = f"""
import os, signal
from pathlib import Path
from passmill_pos.queue_file import Queue
from tests.pos.test_queue_file import EARN, Clock
queue = Queue(Path({str(path)!r}), now=Clock())
for number in range(20):
    queue.note(EARN, key=f"0196f0c2-7a40-7b1e-8000-{{number:012d}}", lease_seconds=10)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([*sys.path, str(Path.cwd())])),
        check=False,
    )
    assert done.returncode == -9
    with Queue(path, now=lambda: datetime.now(UTC)) as queue:
        assert queue.waiting() == 20
        assert queue._database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_only_its_owner_reads_it(queue: Queue, path: Path) -> None:
    """The file and its log are readable by their owner alone."""
    note(queue)
    for each in path.parent.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600, each


def test_a_key_is_of_one_intent(queue: Queue) -> None:
    """The same key gives the entry that there is; for another intent or another pass it is
    refused."""
    entry = note(queue)
    assert queue.note(EARN, key=entry.key, lease_seconds=10) == (entry, False)
    others = (
        Intent(action=Action.BURN, name=EARN.name, unit="points", amount=5),
        Intent(
            action=Action.EARN,
            name=PassName(by=NamedBy.REFERENCE_ID, text="K7M3-Q8TY"),
            unit="points",
            amount=5,
            reference=EARN.reference,
        ),
    )
    for other in others:
        with pytest.raises(KeyReused):
            queue.note(other, key=entry.key, lease_seconds=10)


def test_a_sequence_is_never_used_twice(path: Path, clock: Clock) -> None:
    """Sequences grow when the clock is set back, when entries are dropped, and after the file was
    lost."""
    with Queue(path, now=clock) as queue:
        first, second = note(queue), note(queue)
        clock.advance(-3600)
        third = note(queue)
        queue.drop(third.key)
        fourth = note(queue)
    assert first.sequence < second.sequence < third.sequence < fourth.sequence
    for each in path.parent.iterdir():
        each.unlink()
    clock.advance(7200)
    with Queue(path, now=clock) as queue:
        assert note(queue).sequence > fourth.sequence


def test_an_entry_is_leased_to_one_process_until_its_time_is_over(
    queue: Queue, path: Path, clock: Clock
) -> None:
    """Two processes lease different entries, in their order; what a dead one leased comes back, and
    so does what was leased before the clock was set back."""
    first, second, third = (note(queue) for _ in range(3))
    assert queue.lease(limit=9, seconds=10) == []
    clock.advance(11)
    with Queue(path, now=clock) as other:
        assert queue.lease(limit=2, seconds=10) == [first, second]
        assert other.lease(limit=9, seconds=10) == [third]
        other.give_back([third])
        assert queue.lease(limit=9, seconds=60) == [third]
        clock.advance(11)
        assert other.lease(limit=9, seconds=60) == [first, second]
        clock.advance(-3600)
        assert len(other.lease(limit=9, seconds=10)) == 3


def test_what_a_process_is_to_try_itself_is_left_out(queue: Queue, clock: Clock) -> None:
    """What a process says that it is busy with it does not lease, also when its time is over."""
    first, second, third = (note(queue) for _ in range(3))
    clock.advance(11)
    assert queue.lease(limit=1, seconds=10, but=[first]) == [second]
    assert queue.lease(limit=9, seconds=10, but=[first]) == [third]


def test_an_entry_is_of_the_key_it_was_noted_under(queue: Queue, path: Path, clock: Clock) -> None:
    """What was noted under one API key is neither leased nor begun again under another, until that
    adopts it; what is done is told under any."""
    of_nobody = note(queue)
    clock.advance(11)
    with Queue(path, now=clock, origin="old") as old, Queue(path, now=clock, origin="new") as new:
        done, kept = note(old), note(old)
        assert kept.origin == "old"
        done = old.finish(done, Outcome(verdict=Verdict.DONE))
        clock.advance(11)
        assert new.lease(limit=9, seconds=10) == [of_nobody]
        assert (new.waiting(), new.of_others(), old.of_others()) == (2, 1, 0)
        assert new.note(EARN, key=done.key, lease_seconds=10) == (done, False)
        with pytest.raises(OfAnotherKey):
            new.note(EARN, key=kept.key, lease_seconds=10)
        assert new.adopt("new") == 2
        assert new.of_others() == 0
        assert old.lease(limit=9, seconds=10) == []
        assert new.lease(limit=9, seconds=10) == [replace(kept, origin="new")]


def test_a_queue_of_version_1_is_read_on(path: Path, clock: Clock) -> None:
    """A queue that an earlier passmill-pos left, which knew no origins, is sent by any key."""
    with Queue(path, now=clock) as queue:
        entry = note(queue)
        queue._database.execute("ALTER TABLE entries DROP COLUMN origin")
        queue._database.execute("PRAGMA user_version = 1")
    clock.advance(11)
    for _ in range(2):
        with Queue(path, now=clock, origin="new") as queue:
            assert queue.entries(with_done=False) == [entry]
            assert queue.of_others() == 0
    with Queue(path, now=clock, origin="new") as queue:
        assert queue.lease(limit=1, seconds=10) == [entry]


def test_the_first_outcome_stays(queue: Queue, path: Path, clock: Clock) -> None:
    """What became of an entry is noted once: what another process hears later changes nothing, and
    it is sent no more."""
    entry = note(queue)
    done = Outcome(verdict=Verdict.DONE, facts={"balance": 12, "first_use": {"time": "x"}})
    queue.finish(entry, done)
    with Queue(path, now=clock) as other:
        other.finish(entry, Outcome(verdict=Verdict.REFUSED, reason="already_redeemed"))
        other.keep(entry, is_tried=True)
        with pytest.raises(Overtaken):
            other.step(entry, PayStep.HOLD)
        found = other.find(entry.key)
    assert found is not None
    assert (found.state, found.outcome, found.step) == (EntryState.DONE, done, PayStep.NONE)
    clock.advance(3600)
    assert queue.lease(limit=9, seconds=10) == []


def test_a_telephone_number_is_forgotten_when_it_is_done(queue: Queue, path: Path) -> None:
    """A telephone number is in the file while it is needed, and in no byte of it afterwards."""
    phone = PassName(by=NamedBy.PHONE, text="+12065550123")
    intent = Intent(action=Action.EARN, name=phone, unit="points", amount=5)
    entry = note(queue, intent)
    queue.finish(entry, Outcome(verdict=Verdict.DONE))
    assert queue.note(intent, key=entry.key, lease_seconds=10)[1] is False
    queue.close()
    assert all(b"2065550123" not in each.read_bytes() for each in path.parent.iterdir())


def test_what_is_done_is_forgotten_in_time(queue: Queue, clock: Clock) -> None:
    """What was done long ago goes; what waits stays, however old."""
    waiting, done = note(queue), note(queue)
    queue.finish(done, Outcome(verdict=Verdict.DONE))
    clock.advance(60)
    queue.forget(before=clock())
    assert [each.key for each in queue.entries(with_done=True)] == [waiting.key]


def test_that_the_service_was_not_reached_is_known_for_a_while(queue: Queue, clock: Clock) -> None:
    """Commands know for ten seconds that one did not reach the service, until one does; a clock
    that is set back does not make it longer."""
    within = timedelta(seconds=10)
    assert not queue.is_unreached(within=within)
    queue.note_reached(False)
    clock.advance(9)
    assert queue.is_unreached(within=within)
    clock.advance(2)
    assert not queue.is_unreached(within=within)
    clock.advance(-60)
    assert not queue.is_unreached(within=within)
    queue.note_reached(False)
    queue.note_reached(True)
    assert not queue.is_unreached(within=within)


def test_a_file_that_cannot_be_used_is_told(path: Path, clock: Clock) -> None:
    """A file that is no database, and one of a later version, are refused, not overwritten."""
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(QueueUnusable):
        Queue(path, now=clock)
    assert path.read_bytes() == b"no database" * 1000
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(QueueUnusable, match="99"):
        Queue(path, now=clock)


USE = Intent(
    action=Action.REDEEM,
    name=PassName(by=NamedBy.BARCODE, text="P.x"),
    offer_id="coffee",
)


@pytest.mark.parametrize(
    ("verdict", "is_use"),
    [
        (None, True),
        (Verdict.DONE, True),
        (Verdict.CONFLICT, True),
        (Verdict.REFUSED, False),
        (Verdict.INVALID, False),
    ],
)
def test_what_counts_as_a_use(queue: Queue, verdict: Verdict | None, is_use: bool) -> None:
    """A redemption that is kept, done, or found to conflict is a use of its barcode; one that was
    refused, or is only being tried, is none, and none is another barcode's, offer's or action's."""
    first, second = note(queue, USE), note(queue, USE)
    if verdict is None:
        assert queue.keep_use(first, at_most=1, is_tried=False) is None
    else:
        queue.finish(first, Outcome(verdict=verdict, facts={"redemption_id": "r1"}))
    for other in (
        replace(USE, offer_id="tea"),
        replace(USE, action=Action.CHECK_IN),
        replace(USE, name=PassName(by=NamedBy.BARCODE, text="P.y")),
    ):
        queue.keep(note(queue, other), is_tried=False)
    used = queue.keep_use(second, at_most=1, is_tried=True, problem="unavailable")
    assert (used is None) != is_use
    assert used is None or used.key == first.key
    found = queue.find(second.key)
    assert found is not None
    assert (found.state, found.is_tried, found.problem) == (
        (EntryState.TRYING, True, "") if is_use else (EntryState.KEPT, True, "unavailable")
    )


@pytest.mark.parametrize("verdict", [Verdict.DONE, Verdict.REFUSED])
def test_a_use_taken_back_is_none(queue: Queue, verdict: Verdict) -> None:
    """A use that was taken back here is none; one whose reversal was refused is."""
    first, second = note(queue, USE), note(queue, USE)
    queue.finish(first, Outcome(verdict=Verdict.DONE, facts={"redemption_id": "r1"}))
    reversal = Intent(action=Action.REVERSE_REDEMPTION, name=None, target_id="r1")
    queue.finish(note(queue, reversal), Outcome(verdict=verdict))
    used = queue.keep_use(second, at_most=1, is_tried=False)
    assert (used is None) == (verdict is Verdict.DONE)
