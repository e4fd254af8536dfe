"""Does what staff want done: noted on the disk first, then tried, then told or kept."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from passmill_client import PassmillError
from passmill_pos.answers import is_undecided, is_unreached, outcome_of_error
from passmill_pos.draining import Drain, Drained
from passmill_pos.intents import (
    ONLINE,
    REVERSALS,
    SCANS,
    Action,
    Entry,
    EntryState,
    Intent,
    PayStep,
)
from passmill_pos.offline_checks import CheckResult, OfflineCheck, OfflineChecks
from passmill_pos.outcomes import Json, Outcome, Verdict
from passmill_pos.queue_file import Overtaken, Queue, QueueUnusable
from passmill_pos.service import NoSuchPass, Service, check_sendable

RETRY_AFTER: Final = timedelta(seconds=10)
"""So long after the service was not reached it is not tried: the queue at the till moves on."""
DRAIN_AT_ONCE: Final = 100
"""At most so much of what is kept is sent before something new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of an intent, under which key; `drained`: what was sent before it."""

    key: str
    outcome: Outcome
    drained: Drained

    def as_json(self) -> dict[str, Json]:
        """For programs."""
        return {"key": self.key} | self.outcome.as_json()


class Desk:
    """One counter. QueueUnusable, KeyReused, Unsendable: nothing was begun."""

    def __init__(
        self, *, service: Service, queue: Queue, drain: Drain, checks: OfflineChecks
    ) -> None:
        self._checks = checks
        self._service = service
        self._queue = queue
        self._drain = drain
        # A payment takes three calls.
        self._lease_seconds = 3 * service.timeout_seconds + 2

    def do(self, intent: Intent, *, key: str, is_offline: bool = False) -> Done:
        """Does it once, however often it is called with this key (a UUID). `is_offline`: the
        service is not to be tried."""
        check_sendable(intent)
        entry, is_new = self._queue.note(intent, key=key, lease_seconds=self._lease_seconds)
        drained = Drained()
        try:
            if entry.outcome is None and not is_offline and not self._is_unreached():
                drained = self._drain.run(
                    limit=DRAIN_AT_ONCE, seconds=self._service.timeout_seconds, but=[entry]
                )
                if drained != Drained():
                    # That took its time.
                    entry, _ = self._queue.note(intent, key=key, lease_seconds=self._lease_seconds)
                is_unreached = drained.is_unreached
            else:
                is_unreached = True
            outcome = entry.outcome or self._do(entry, is_new, is_unreached=is_unreached)
        except QueueUnusable as error:
            outcome = Outcome(
                verdict=Verdict.FAILED,
                reason="queue_unusable",
                message=f"{error}. It is noted, and sent again under its key.",
            )
        return Done(key=key, outcome=outcome, drained=drained)

    def _do(self, entry: Entry, is_new: bool, *, is_unreached: bool) -> Outcome:
        if is_unreached:
            return self._not_tried(entry, is_new)
        return self._send_kept(entry) if _is_to_be_sent(entry) else self._try(entry, is_new)

    def _is_unreached(self) -> bool:
        return self._queue.is_unreached(within=RETRY_AFTER)

    def _not_tried(self, entry: Entry, is_new: bool) -> Outcome:
        if not is_new:
            if entry.state is EntryState.TRYING:
                return self._keep(entry, is_tried=entry.is_tried)
            return self._kept(entry)
        if entry.intent.action in ONLINE:
            # Nobody knows what there is to pay with, nor whether it may still be taken back.
            self._queue.drop(entry.key)
            return Outcome(verdict=Verdict.UNREACHED, reason="unavailable")
        return self._keep(entry, is_tried=False)

    def _keep(self, entry: Entry, *, is_tried: bool, problem: str = "") -> Outcome:
        """Keeps it to be sent later, unless it is seen without the service that it is not good."""
        intent = entry.intent
        if intent.name is None or intent.action is Action.PAY or entry.pass_id:
            # There is nothing to check, or the service knows the pass by this name.
            self._queue.keep(entry, is_tried=is_tried, problem=problem)
            return self._kept(entry)
        check = self._checks.check(intent.name)
        at_most = 0
        if check.pass_id and intent.action is Action.REDEEM:
            at_most = self._checks.max_uses(intent.offer_id)
        outcome = check.outcome
        if check.result is not CheckResult.REFUSED:
            if not at_most:
                self._queue.keep(entry, is_tried=is_tried, problem=problem)
                return _kept(check)
            first = self._queue.keep_use(entry, at_most=at_most, is_tried=is_tried, problem=problem)
            if first is None:
                return _kept(check)
            outcome = _used_up(first)
        self._queue.finish(entry, outcome)
        return outcome

    def _kept(self, entry: Entry) -> Outcome:
        """What is told of what is sent later."""
        if entry.intent.action is Action.PAY:
            if entry.step is not PayStep.CAPTURE:
                return Outcome(verdict=Verdict.UNREACHED, reason="unavailable")
            return Outcome(verdict=Verdict.KEPT, facts=json.loads(entry.details)["facts"])
        if entry.intent.name is None or entry.pass_id:
            return Outcome(verdict=Verdict.KEPT)
        return _kept(self._checks.check(entry.intent.name))

    def _send_kept(self, entry: Entry) -> Outcome:
        drained = self._drain.send(entry)
        found = self._queue.find(entry.key)
        if found is not None and found.outcome is not None:
            return found.outcome
        stopped = drained.stopped
        if stopped is not None and stopped.verdict is not Verdict.UNREACHED:
            return stopped
        return self._kept(entry)

    def _try(self, entry: Entry, is_new: bool) -> Outcome:
        try:
            if entry.intent.action in SCANS:
                outcome = self._service.scan(entry)
            elif entry.intent.action in REVERSALS:
                outcome = self._service.reverse(entry)
            else:
                outcome = self._try_ledger(entry)
        except PassmillError as error:
            return self._failed(entry, error, is_new)
        except NoSuchPass as no_pass:
            outcome = no_pass.outcome
        except Overtaken:
            return self._go_on(entry.key)
        try:
            self._queue.finish(entry, outcome)
            self._queue.note_reached(True)
        except QueueUnusable as error:
            # It is done all the same: whoever hears that it failed does it once more.
            unnoted = f"{error}: this outcome is not noted. It is sent again under its key."
            return replace(outcome, message=f"{outcome.message} {unnoted}".strip())
        return outcome

    def _go_on(self, key: str) -> Outcome:
        """Goes on from where another process has brought a payment."""
        entry = self._queue.find(key)
        if entry is None:
            return Outcome(verdict=Verdict.FAILED, reason="dropped", message="Nothing is paid.")
        if entry.outcome is not None:
            return entry.outcome
        return self._send_kept(entry) if _is_to_be_sent(entry) else self._try(entry, False)

    def _try_ledger(self, entry: Entry) -> Outcome:
        if not entry.pass_id:
            intent = entry.intent
            pass_id = self._service.find_pass_id(intent.pass_name, venue_id=intent.venue_id)
            entry = self._queue.named(entry, pass_id)
        if entry.intent.action is not Action.PAY:
            return self._service.post(entry)
        if entry.step is not PayStep.CAPTURE:
            entry = self._queue.step(entry, PayStep.HOLD)
            held, hold_id = self._service.hold_for_sale(entry)
            if held.verdict is not Verdict.DONE:
                return held
            # From here on it is paid: what cannot be sent now is sent later.
            entry = self._queue.step(
                entry, PayStep.CAPTURE, json.dumps({"hold_id": hold_id, "facts": dict(held.facts)})
            )
        return self._service.capture(entry)

    def _failed(self, entry: Entry, error: PassmillError, is_new: bool) -> Outcome:
        if is_unreached(error):
            with suppress(QueueUnusable):
                self._queue.note_reached(False)
        outcome = outcome_of_error(error)
        # It may have got further than the caller knows.
        entry = self._queue.find(entry.key) or entry
        if entry.outcome is not None:
            return entry.outcome
        if not is_undecided(error):
            if is_new and entry.step is PayStep.NONE:
                self._queue.drop(entry.key)
            else:
                self._queue.keep(entry, is_tried=True, problem=outcome.reason)
            return outcome
        if entry.intent.action is Action.PAY and entry.step is PayStep.NONE:
            self._queue.drop(entry.key)
            return outcome
        if entry.intent.action is not Action.PAY:
            return self._keep(entry, is_tried=_was_sent(entry), problem=outcome.reason)
        with suppress(QueueUnusable):  # how far it is was noted before, and holds
            self._queue.keep(entry, is_tried=_was_sent(entry), problem=outcome.reason)
        if entry.step in (PayStep.HOLD, PayStep.RELEASE):
            return replace(outcome, message="Nothing is paid. What may be held is freed later.")
        return self._kept(entry)


def _is_to_be_sent(entry: Entry) -> bool:
    """Whether it goes the way of what is kept: a payment that staff were not told of may begin."""
    if entry.intent.action is Action.PAY:
        return entry.step is PayStep.RELEASE
    return entry.state is EntryState.KEPT


def _was_sent(entry: Entry) -> bool:
    return entry.intent.action in SCANS | REVERSALS or bool(entry.pass_id)


def _kept(check: OfflineCheck) -> Outcome:
    return Outcome(verdict=Verdict.KEPT, message=check.message, facts=check.facts)


def _used_up(first: Entry) -> Outcome:
    """What is told of a barcode that had what is to be had, at this till."""
    refusal = OfflineCheck(result=CheckResult.REFUSED, reason="already_redeemed").outcome
    used: dict[str, Json] = {"offer_id": first.intent.offer_id, "time": first.noted.isoformat()}
    return replace(refusal, facts=dict(refusal.facts) | {"first_use": used})
