"""The queue on disk: what was begun at this counter and is not known to have ended.

An intent is written, and on the disk, before it is tried for the first time; so whenever the
process or the machine dies, what was begun is sent again under the same key. SQLite in WAL mode
with synchronous=FULL syncs each commit (https://www.sqlite.org/pragma.html#pragma_synchronous).
Several processes may use one file.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from passmill_pos.intents import Action, Entry, EntryState, Intent, PayStep
from passmill_pos.outcomes import Outcome, Verdict
from passmill_pos.queue_rows import (
    COLUMNS,
    EPOCH,
    SCHEMA,
    SCHEMA_VERSION,
    UPGRADE,
    entry_of_row,
    is_same,
)

LONGEST_LEASE_SECONDS: Final = 120.0
"""One that ends later was taken before the clock was set back."""

_USED: Final = frozenset({Verdict.DONE, Verdict.CONFLICT})


class QueueUnusable(Exception):
    """The file cannot be read or written. Nothing was begun."""


class KeyReused(Exception):
    """The key was used for something else."""


class OfAnotherKey(Exception):
    """The entry was noted under another API key, and is not done."""


class Overtaken(Exception):
    """Another process has gone on with the entry, or ended it."""


class Queue:
    """The queue in a file; a context manager. QueueUnusable from every method."""

    def __init__(self, path: Path, *, now: Callable[[], datetime], origin: str = "") -> None:
        """Makes the file when there is none, readable by its owner alone. `now`: aware, UTC.
        `origin`: under which API key it is worked with; of none there is no entry to send."""
        self._now = now
        self._origin = origin
        self._path = path
        with _usable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(path, timeout=30.0, isolation_level=None)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA secure_delete = ON")
        self._prepare()

    def close(self) -> None:
        """Lets the file go."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def note(self, intent: Intent, *, key: str, lease_seconds: float) -> tuple[Entry, bool]:
        """Writes down what is about to be tried; gives the entry, and whether it is new: when `key`
        is known it is the one that there is.

        KeyReused when that is another intent, OfAnotherKey. The entry is this process's for
        `lease_seconds`.
        """
        with self._transaction():
            if known := self._find(key):
                if not is_same(known, intent):
                    raise KeyReused(key)
                if known.outcome is None and known.origin not in ("", self._origin):
                    raise OfAnotherKey(key)
                self._lease_until([known], self._now().timestamp() + lease_seconds)
                return known, False
            now = self._now()
            micros = (now - EPOCH) // timedelta(microseconds=1)
            # Of the clock, so that a scanner whose file was lost does not count from 1 again.
            sequence = max(self._fact("sequence") + 1, micros)
            self._set_fact("sequence", sequence)
            self._database.execute(
                "INSERT INTO entries (sequence, key, named_by, name, intent, noted_us, state,"
                " is_tried, leased_until, origin) VALUES (?, ?, ?, ?, ?, ?, 'trying', 1, ?, ?)",
                (
                    sequence,
                    key,
                    "" if intent.name is None else intent.name.by,
                    intent.target_id if intent.name is None else intent.name.text,
                    intent.to_json(),
                    micros,
                    now.timestamp() + lease_seconds,
                    self._origin,
                ),
            )
            entry = self._find(key)
        if entry is None:
            raise QueueUnusable(f"{self._path} loses what is written")
        return entry, True

    def find(self, key: str) -> Entry | None:
        """The entry of this key."""
        with self._transaction():
            return self._find(key)

    def lease(self, *, limit: int, seconds: float, but: Sequence[Entry] = ()) -> list[Entry]:
        """Takes the oldest entries of this API key without an outcome that no process is busy with,
        `but` these."""
        ours = {entry.sequence for entry in but}
        with self._transaction():
            now = self._now().timestamp()
            rows = self._database.execute(
                f"SELECT {COLUMNS} FROM entries WHERE state <> 'done'"  # noqa: S608 - constant
                " AND origin IN ('', ?) AND leased_until NOT BETWEEN ? AND ?"
                " ORDER BY sequence LIMIT ?",
                (self._origin, now, now + LONGEST_LEASE_SECONDS, limit + len(ours)),
            ).fetchall()
            others = [entry for entry in map(entry_of_row, rows) if entry.sequence not in ours]
            entries = others[:limit]
            self._lease_until(entries, now + seconds)
        return entries

    def renew(self, entries: Sequence[Entry], *, seconds: float) -> None:
        """Stays busy with entries."""
        with self._transaction():
            self._lease_until(entries, self._now().timestamp() + seconds)

    def give_back(self, entries: Sequence[Entry], *, problem: str = "") -> None:
        """Is no longer busy with entries, which stay."""
        with self._transaction():
            self._database.executemany(
                "UPDATE entries SET leased_until = 0, problem = ?"
                " WHERE sequence = ? AND state <> 'done'",
                [(problem, entry.sequence) for entry in entries],
            )

    def keep(self, entry: Entry, *, is_tried: bool, problem: str = "") -> Entry:
        """Marks what staff are told is sent later."""
        self._update(
            "state = 'kept', is_tried = ?, problem = ?, leased_until = 0",
            (is_tried, problem),
            entry,
        )
        return replace(entry, state=EntryState.KEPT, is_tried=is_tried, problem=problem)

    def keep_use(
        self, entry: Entry, *, at_most: int, is_tried: bool, problem: str = ""
    ) -> Entry | None:
        """Marks a redemption as sent later, unless the same barcode has used the offer `at_most`
        times, as far as this queue knows: then it gives the first of these, and marks nothing."""
        with self._transaction():
            uses = self._uses_of(entry)
            if len(uses) >= at_most:
                return uses[0]
            self._database.execute(
                "UPDATE entries SET state = 'kept', is_tried = ?, problem = ?, leased_until = 0"
                " WHERE sequence = ? AND state <> 'done'",
                (is_tried, problem, entry.sequence),
            )
        return None

    def answered(self, entry: Entry) -> Entry:
        """Marks that what the service did under the entry's key is over: it refused it."""
        self._update("is_tried = 0", (), entry)
        return replace(entry, is_tried=False)

    def named(self, entry: Entry, pass_id: str) -> Entry:
        """Notes which pass is meant."""
        self._update("pass_id = ?", (pass_id,), entry)
        return replace(entry, pass_id=pass_id)

    def step(self, entry: Entry, step: PayStep, details: str = "") -> Entry:
        """Notes how far a payment is. Overtaken: it is not where `entry` says any more."""
        with self._transaction():
            changed = self._database.execute(
                "UPDATE entries SET step = ?, details = ?"
                " WHERE sequence = ? AND state <> 'done' AND step = ?",
                (step, details, entry.sequence, entry.step),
            )
        if not changed.rowcount:
            raise Overtaken(entry.key)
        return replace(entry, step=step, details=details)

    def finish(self, entry: Entry, outcome: Outcome) -> Entry:
        """As `finish_all`."""
        [finished] = self.finish_all([(entry, outcome)])
        return finished

    def finish_all(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> list[Entry]:
        """Notes what became of entries; what another process noted first stays. Telephone numbers
        are forgotten."""
        with self._transaction():
            self._database.executemany(
                "UPDATE entries SET state = 'done', outcome = ?, problem = '',"
                " name = CASE named_by WHEN 'phone' THEN '' ELSE name END"
                " WHERE sequence = ? AND state <> 'done'",
                [
                    (json.dumps(outcome.as_json(), ensure_ascii=False), entry.sequence)
                    for entry, outcome in outcomes
                ],
            )
        return [
            replace(entry, state=EntryState.DONE, outcome=outcome, problem="")
            for entry, outcome in outcomes
        ]

    def drop(self, key: str) -> bool:
        """Forgets an entry, done or not. False when there is none."""
        with self._transaction():
            return self._database.execute("DELETE FROM entries WHERE key = ?", (key,)).rowcount > 0

    def forget(self, *, before: datetime) -> None:
        """Forgets what was noted earlier and is done."""
        micros = (before - EPOCH) // timedelta(microseconds=1)
        with self._transaction():
            self._database.execute(
                "DELETE FROM entries WHERE state = 'done' AND noted_us < ?", (micros,)
            )

    def waiting(self) -> int:
        """How many entries have no outcome."""
        with _usable(self._path):
            row = self._database.execute(
                "SELECT count(*) FROM entries WHERE state <> 'done'"
            ).fetchone()
        return int(row[0])

    def of_others(self) -> int:
        """How many of these were noted under another API key."""
        with _usable(self._path):
            row = self._database.execute(
                "SELECT count(*) FROM entries WHERE state <> 'done' AND origin NOT IN ('', ?)",
                (self._origin,),
            ).fetchone()
        return int(row[0])

    def adopt(self, origin: str) -> int:
        """Makes what has no outcome this API key's; gives how many were another's."""
        with self._transaction():
            return self._database.execute(
                "UPDATE entries SET origin = ? WHERE state <> 'done' AND origin <> ?",
                (origin, origin),
            ).rowcount

    def entries(self, *, with_done: bool) -> list[Entry]:
        """The entries in their order."""
        with _usable(self._path):
            rows = self._database.execute(
                f"SELECT {COLUMNS} FROM entries"  # noqa: S608 - constant
                " WHERE ? OR state <> 'done' ORDER BY sequence",
                (with_done,),
            ).fetchall()
        return [entry_of_row(row) for row in rows]

    def note_reached(self, is_reached: bool) -> None:
        """Notes whether the service answered just now."""
        with self._transaction():
            micros = 0 if is_reached else (self._now() - EPOCH) // timedelta(microseconds=1)
            if self._fact("unreached") != micros:
                self._set_fact("unreached", micros)

    def is_unreached(self, *, within: timedelta) -> bool:
        """Whether the service was last found not to answer, no longer ago than this."""
        with _usable(self._path):
            since = self._now() - (EPOCH + timedelta(microseconds=self._fact("unreached")))
        return timedelta(0) <= since < within

    def _uses_of(self, entry: Entry) -> list[Entry]:
        """What else this barcode was redeemed for with the same offer, and was not taken back here.
        A conflict is a use too; what is being tried is none yet, and will see this one."""
        rows = self._database.execute(
            f"SELECT {COLUMNS} FROM entries WHERE named_by = ? AND name = ?"  # noqa: S608 - constant
            " AND sequence <> ? AND state <> 'trying' ORDER BY sequence",
            (entry.intent.pass_name.by, entry.intent.pass_name.text, entry.sequence),
        ).fetchall()
        return [
            other
            for other in map(entry_of_row, rows)
            if other.intent.action is Action.REDEEM
            and other.intent.offer_id == entry.intent.offer_id
            and (other.outcome is None or other.outcome.verdict in _USED)
            and not self._is_reversed(other)
        ]

    def _is_reversed(self, entry: Entry) -> bool:
        redemption_id = None if entry.outcome is None else entry.outcome.facts.get("redemption_id")
        rows = self._database.execute(
            f"SELECT {COLUMNS} FROM entries"  # noqa: S608 - constant
            " WHERE named_by = '' AND name = ? AND state = 'done'",
            (redemption_id,),
        ).fetchall()
        outcomes = [reversal.outcome for reversal in map(entry_of_row, rows)]
        return any(each is not None and each.verdict is Verdict.DONE for each in outcomes)

    def _update(self, change: str, values: Sequence[object], entry: Entry) -> None:
        with self._transaction():
            self._database.execute(
                f"UPDATE entries SET {change} WHERE sequence = ? AND state <> 'done'",  # noqa: S608
                (*values, entry.sequence),
            )

    def _lease_until(self, entries: Sequence[Entry], until: float) -> None:
        self._database.executemany(
            "UPDATE entries SET leased_until = ? WHERE sequence = ?",
            [(until, entry.sequence) for entry in entries],
        )

    def _find(self, key: str) -> Entry | None:
        row = self._database.execute(
            f"SELECT {COLUMNS} FROM entries WHERE key = ?",  # noqa: S608 - constant
            (key,),
        ).fetchone()
        return None if row is None else entry_of_row(row)

    def _fact(self, name: str) -> int:
        row = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    def _set_fact(self, name: str, value: int) -> None:
        self._database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _prepare(self) -> None:
        with self._transaction():
            [version] = self._database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in SCHEMA.split(";\n"):
                    self._database.execute(statement)
            elif version == 1:
                self._database.execute(UPGRADE)
            if version in (0, 1):
                self._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        if version not in (0, 1, SCHEMA_VERSION):
            raise QueueUnusable(f"{self._path} was written by another version ({version})")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _usable(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise QueueUnusable(f"{path}: {error}") from error
