"""The tables of the queue, and entries as their rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from passmill_pos.intents import Entry, EntryState, Intent, PayStep
from passmill_pos.outcomes import Outcome
from passmill_pos.scanned_text import NamedBy, PassName

SCHEMA_VERSION: Final = 2
SCHEMA: Final = """
CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    named_by TEXT NOT NULL,
    name TEXT NOT NULL,
    intent TEXT NOT NULL,
    noted_us INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('trying', 'kept', 'done')),
    is_tried INTEGER NOT NULL,
    leased_until REAL NOT NULL,
    pass_id TEXT NOT NULL DEFAULT '',
    step TEXT NOT NULL DEFAULT '',
    details TEXT NOT NULL DEFAULT '',
    problem TEXT NOT NULL DEFAULT '',
    origin TEXT NOT NULL DEFAULT '',
    outcome TEXT CHECK ((outcome IS NOT NULL) = (state = 'done'))
);
CREATE INDEX entries_waiting ON entries (sequence) WHERE state <> 'done';
CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
UPGRADE: Final = "ALTER TABLE entries ADD COLUMN origin TEXT NOT NULL DEFAULT ''"
"""From version 1, which knew neither keys nor PayStep.RELEASE."""
COLUMNS: Final = (
    "sequence, key, named_by, name, intent, noted_us, state, is_tried, pass_id, step, details,"
    " problem, origin, outcome"
)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def entry_of_row(row: Sequence[object]) -> Entry:
    """The entry in a row of `COLUMNS`."""
    sequence, key, by, name, intent, noted, state, tried, *more = row
    pass_id, step, details, problem, origin, done = more
    return Entry(
        sequence=int(str(sequence)),
        key=str(key),
        intent=Intent.from_json(str(intent), by=str(by), name=str(name)),
        noted=EPOCH + timedelta(microseconds=int(str(noted))),
        state=EntryState(str(state)),
        is_tried=bool(tried),
        pass_id=str(pass_id),
        step=PayStep(str(step)),
        details=str(details),
        problem=str(problem),
        origin=str(origin),
        outcome=None if done is None else Outcome.from_json(json.loads(str(done))),
    )


def is_same(known: Entry, intent: Intent) -> bool:
    """Whether an entry is of this intent, as far as it was not forgotten."""
    before, now = known.intent.name, intent.name
    is_forgotten = before == PassName(by=NamedBy.PHONE, text="")
    return known.intent.to_json() == intent.to_json() and (
        before == now or (is_forgotten and now is not None and now.by is NamedBy.PHONE)
    )
