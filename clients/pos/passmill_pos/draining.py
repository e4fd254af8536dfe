"""Sends what is kept, in its order, with the times at which it happened.

What was never sent goes in batches: scans by SyncOfflineScans, which does each once by its
local_sequence; entries of the ledger by BatchPostEntries, which posts each once by its key. A scan
that was sent and not answered is first sent again under its key, since the service may have done
it: only when that was refused the service is told that it happened all the same.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from passmill_client import PassmillError
from passmill_pos.answers import (
    is_crowded,
    is_right_missing,
    is_undecided,
    is_unreached,
    outcome_of_error,
)
from passmill_pos.intents import ONLINE, REVERSALS, SCANS, Action, Entry, EntryState, PayStep
from passmill_pos.outcomes import Outcome, Verdict
from passmill_pos.queue_file import Overtaken, Queue
from passmill_pos.service import NoSuchPass, Service, Unsendable, check_sendable

_BATCH: Final = 500
_BATCH_SECONDS: Final = 30.0
_LEASE_SECONDS: Final = _BATCH_SECONDS + 10
_POLL_SECONDS: Final = 0.2
_POSTED: Final = frozenset({Action.EARN, Action.BURN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What became of what was kept. `finished`: entries with their outcomes. `stopped`: why not all
    was sent. `stuck`: what the service fails at, which stays."""

    finished: tuple[Entry, ...] = ()
    stopped: Outcome | None = None
    stuck: int = 0

    @property
    def is_unreached(self) -> bool:
        """Whether nobody answered."""
        return self.stopped is not None and self.stopped.verdict is Verdict.UNREACHED

    @property
    def troubles(self) -> tuple[Entry, ...]:
        """What was not done: staff may have to act."""
        return tuple(
            entry
            for entry in self.finished
            if entry.outcome is not None and entry.outcome.verdict is not Verdict.DONE
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tally:
    """What became of entries so far. `seconds`: of one call. `left`: what this process is busy with
    until it is sent; `own`: what it will try itself."""

    seconds: float
    own: Sequence[Entry] = ()
    left: list[Entry] = field(default_factory=list)
    finished: list[Entry] = field(default_factory=list)
    stuck: list[Entry] = field(default_factory=list)
    lacking: dict[str, Outcome] = field(default_factory=dict)
    """Of what is stuck, by its key: what this scanner has not got the right to."""


class _Stop(Exception):
    """The service is not reached, or does not take this key."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class Drain:
    """Sends what is kept. Several processes may do so at once: each takes other entries."""

    def __init__(
        self, *, service: Service, queue: Queue, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._service = service
        self._queue = queue
        self._sleep = sleep

    def run(
        self,
        *,
        limit: int | None = None,
        wait: bool = False,
        seconds: float = _BATCH_SECONDS,
        but: Sequence[Entry] = (),
    ) -> Drained:
        """Sends at most `limit` entries, or all; with `wait` also those that another process is
        busy with and does not end, as one that died. `seconds`: of one call. `but`: what this
        process is busy with, and stays so."""
        tally = _Tally(seconds=seconds, own=but)
        left = limit
        stopped: Outcome | None = None
        while stopped is None and left != 0:
            entries = self._queue.lease(
                limit=_BATCH if left is None else min(left, _BATCH),
                seconds=_LEASE_SECONDS,
                but=but,
            )
            if not entries:
                if not wait or self._of_ours() <= len(tally.stuck):
                    break
                self._sleep(_POLL_SECONDS)
                continue
            stopped = self._send(entries, tally)
            left = None if left is None else left - len(entries)
        return self._told(tally, stopped)

    def send(self, entry: Entry) -> Drained:
        """Sends an entry that this process is busy with."""
        tally = _Tally(seconds=self._service.timeout_seconds)
        return self._told(tally, self._send([entry], tally))

    def _of_ours(self) -> int:
        return self._queue.waiting() - self._queue.of_others()

    def _told(self, tally: _Tally, stopped: Outcome | None) -> Drained:
        self._queue.give_back(tally.stuck)
        for entry in tally.stuck:
            if lacking := tally.lacking.get(entry.key):
                self._queue.give_back([entry], problem=lacking.reason)
                stopped = stopped or lacking
        return Drained(finished=tuple(tally.finished), stopped=stopped, stuck=len(tally.stuck))

    def _send(self, entries: Sequence[Entry], tally: _Tally) -> Outcome | None:
        """Sends all of them; or gives why it could not, and lets go of the others."""
        tally.left[:] = entries
        try:
            named = [each for entry in entries if (each := self._named(entry, tally))]
            tally.left[:] = named
            for _, run in itertools.groupby(named, key=_kind_of_run):
                together = list(run)
                self._send_together(together, tally)
                del tally.left[: len(together)]
        except _Stop as stop:
            self._queue.give_back(tally.left, problem=stop.outcome.reason)
            if stop.outcome.verdict is Verdict.UNREACHED:
                self._queue.note_reached(False)
            return stop.outcome
        self._queue.note_reached(True)
        return None

    def _named(self, entry: Entry, tally: _Tally) -> Entry | None:
        """The entry with its pass_id where it takes one; None when it goes no further."""
        try:
            check_sendable(entry.intent)
        except Unsendable as error:
            wrong = Outcome(verdict=Verdict.INVALID, reason="not_sendable", message=str(error))
            self._finish([entry], [wrong], tally)
            return None
        if entry.pass_id or entry.intent.action not in _POSTED:
            return entry
        self._renew(tally)
        intent = entry.intent
        try:
            pass_id = self._service.find_pass_id(intent.pass_name, venue_id=intent.venue_id)
        except NoSuchPass as no_pass:
            self._finish([entry], [no_pass.outcome], tally)
            return None
        except PassmillError as error:
            self._failed(entry, error, tally)
            return None
        return self._queue.named(entry, pass_id)

    def _send_together(self, entries: Sequence[Entry], tally: _Tally) -> None:
        """Sends entries of one run; when the service cannot do with them, half of them at a time,
        so that a bad one keeps back none of the others."""
        self._renew(tally)
        try:
            self._deliver(entries, tally)
        except PassmillError as error:
            if len(entries) == 1 or _is_for_all(error) or is_right_missing(error):
                for entry in entries:
                    self._failed(entry, error, tally)
                return
            middle = len(entries) // 2
            self._send_together(entries[:middle], tally)
            self._send_together(entries[middle:], tally)

    def _failed(self, entry: Entry, error: PassmillError, tally: _Tally) -> None:
        outcome = outcome_of_error(error)
        if is_right_missing(error):
            tally.stuck.append(entry)
            tally.lacking[entry.key] = outcome
            return
        if _is_for_all(error):
            raise _Stop(outcome) from None
        if is_undecided(error):
            tally.stuck.append(entry)
        else:
            self._finish([entry], [outcome], tally)

    def _deliver(self, entries: Sequence[Entry], tally: _Tally) -> None:
        first = entries[0]
        if first.intent.action is Action.PAY:
            self._end_payment(first, tally)
        elif first.intent.action in REVERSALS:
            self._finish(entries, [self._service.reverse(first)], tally)
        elif first.intent.action not in SCANS:
            outcomes = self._service.post_many(entries, seconds=tally.seconds)
            self._finish(entries, outcomes, tally)
        elif first.is_tried:
            self._finish(entries, [self._send_again(first, tally)], tally)
        else:
            outcomes = self._service.tell_scans(entries, seconds=tally.seconds)
            self._finish(entries, outcomes, tally)

    def _send_again(self, entry: Entry, tally: _Tally) -> Outcome:
        outcome = self._service.scan(entry)
        if outcome.verdict is not Verdict.DONE and entry.state is EntryState.KEPT:
            # Staff went by "kept": so it happened, and is told as that.
            entry = self._queue.answered(entry)
            self._renew(tally)
            [outcome] = self._service.tell_scans([entry], seconds=tally.seconds)
        return outcome

    def _end_payment(self, entry: Entry, tally: _Tally) -> None:
        try:
            outcome = self._pay(entry)
        except Overtaken:
            found = self._queue.find(entry.key)
            if found is not None and found.outcome is None:
                self._end_payment(found, tally)
            return
        self._finish([entry], [outcome], tally)

    def _pay(self, entry: Entry) -> Outcome:
        if entry.step is PayStep.CAPTURE:
            outcome = self._service.capture(entry)
            if outcome.verdict is Verdict.REFUSED and entry.state is EntryState.KEPT:
                return replace(outcome, verdict=Verdict.CONFLICT)
            return outcome
        # Whoever may still work on it goes no further from here.
        undone = self._queue.step(entry, PayStep.RELEASE)
        if entry.step is not PayStep.NONE and entry.pass_id:
            self._service.release(undone)
        return Outcome(verdict=Verdict.REFUSED, reason="not_paid")

    def _renew(self, tally: _Tally) -> None:
        """Before each call: what this process is busy with stays its own meanwhile."""
        self._queue.renew([*tally.own, *tally.left], seconds=_LEASE_SECONDS)

    def _finish(self, entries: Sequence[Entry], outcomes: Sequence[Outcome], tally: _Tally) -> None:
        pairs = list(zip(entries, outcomes, strict=True))
        tally.finished.extend(self._queue.finish_all(pairs))


def _is_for_all(error: PassmillError) -> bool:
    """Whether the next call would fare no better: nobody answers, knows the key, or has time."""
    is_unknown = outcome_of_error(error).verdict is Verdict.NO_RIGHT and not is_right_missing(error)
    return is_unreached(error) or is_crowded(error) or is_unknown


def _kind_of_run(entry: Entry) -> tuple[str, str]:
    """Entries in a row of which this is the same are sent in one call."""
    if entry.intent.action in _POSTED:
        return "ledger", ""
    if entry.intent.action in ONLINE or entry.is_tried:
        return "alone", entry.key
    return "scans", entry.intent.venue_id
