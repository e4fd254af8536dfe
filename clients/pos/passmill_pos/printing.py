"""How outcomes are told: a line or a few for people, an object a line for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from passmill_client import messages
from passmill_pos.answers import pass_json, refusal_name, state_name, verdict_of_refusal
from passmill_pos.desk import Done
from passmill_pos.draining import Drained
from passmill_pos.intents import Entry
from passmill_pos.outcomes import ExitStatus, Json, Outcome, Verdict

_SAID: Final[Mapping[Verdict, str]] = {
    Verdict.DONE: "DONE",
    Verdict.REFUSED: "REFUSED",
    Verdict.CONFLICT: "CONFLICT",
    Verdict.KEPT: "NOT CONFIRMED: kept, sent later",
    Verdict.NO_RIGHT: "NOT ALLOWED",
    Verdict.UNREACHED: "NOT REACHED",
    Verdict.INVALID: "WRONG",
    Verdict.FAILED: "FAILED",
    Verdict.PROVISIONAL: "NOT CONFIRMED",
}


_VERDICT_OF_PROBLEM: Final[Mapping[ExitStatus, Verdict]] = {
    ExitStatus.REFUSED: Verdict.REFUSED,
    ExitStatus.USAGE: Verdict.INVALID,
    ExitStatus.FAILED: Verdict.FAILED,
}

_SAID_IN_WORDS: Final = frozenset({"offline_check", "provisional"})
"""Facts for programs, which the message says to people."""


class Printer:
    """Tells what became of commands. `as_json`: an object a line. `with_names`: also what is of a
    person."""

    def __init__(self, *, as_json: bool, with_names: bool) -> None:
        self._as_json = as_json
        self._with_names = with_names
        self._out = sys.stdout
        self._err = sys.stderr

    def done(self, command: str, done: Done) -> ExitStatus:
        """What became of something that was to be done."""
        self.drained_before(done.drained)
        return self._outcome(command, done.outcome, done.as_json())

    def failed(self, command: str, outcome: Outcome) -> ExitStatus:
        """Something that did not come to an answer."""
        return self._outcome(command, outcome, outcome.as_json())

    def problem(self, command: str, message: str, status: ExitStatus) -> ExitStatus:
        """Something wrong on this side."""
        if self._as_json:
            verdict = _VERDICT_OF_PROBLEM[status]
            self._object(command, {"verdict": verdict.value, "message": message}, status)
        else:
            self._err.write(f"passmill-pos: {message}\n")
        return status

    def seen(self, command: str, answer: messages.VerifyPassResponse) -> ExitStatus:
        """Passes that were looked at. DONE when `find` found some, `verify` a good one."""
        is_good = (
            bool(answer.passes) if command == "find" else answer.state == messages.SCAN_STATE_VALID
        )
        reason = refusal_name(answer.reason)
        refusal = Outcome(verdict=verdict_of_refusal(reason))
        status = ExitStatus.DONE if is_good else refusal.status
        if self._as_json:
            told: dict[str, Json] = {"state": state_name(answer.state)}
            if reason:
                told["reason"] = reason
            told["passes"] = [
                pass_json(each, with_names=self._with_names) for each in answer.passes
            ]
            self._object(command, told, status)
            return status
        if not answer.passes:
            said = _words(reason or "unknown")
            self._line(f"{_words(state_name(answer.state)).upper()}  {said}")
        for each in answer.passes:
            self._pass(pass_json(each, with_names=self._with_names), is_short=command == "find")
        return status

    def drained(self, drained: Drained, *, waiting: int, of_others: int) -> ExitStatus:
        """What became of what was kept. `of_others`: what of what waits is another API key's."""
        if drained.stopped is not None and drained.stopped.verdict is Verdict.NO_RIGHT:
            status = ExitStatus.NO_RIGHT
        elif waiting:
            status = ExitStatus.KEPT
        else:
            status = ExitStatus.REFUSED if drained.troubles else ExitStatus.DONE
        if self._as_json:
            told: dict[str, Json] = {
                "sent": len(drained.finished),
                "waiting": waiting,
                "troubles": [entry_json(entry) for entry in drained.troubles],
            }
            if drained.stopped is not None:
                told["stopped"] = drained.stopped.reason
            if of_others:
                told["of_another_key"] = of_others
            self._object("queue", told, status)
            return status
        for entry in drained.troubles:
            self._line(_entry_line(entry))
        self._line(f"{len(drained.finished)} sent, {waiting} waiting")
        if drained.stopped is not None:
            self._line(f"{_SAID[drained.stopped.verdict]}  {_words(drained.stopped.reason)}")
        if of_others:
            self._line(
                f"{of_others} noted under another API key, not sent: send them with that key, or"
                " passmill-pos queue adopt"
            )
        return status

    def drained_before(self, drained: Drained) -> None:
        """Says so when something that was kept, and sent just now, was not done."""
        if drained.troubles:
            self._err.write(
                f"passmill-pos: {len(drained.troubles)} of what was kept could not be done:"
                " passmill-pos queue list --all\n"
            )

    def entries(self, entries: Iterable[Entry]) -> ExitStatus:
        """What is kept."""
        for entry in entries:
            if self._as_json:
                self._object("queue", entry_json(entry), None)
            else:
                self._line(_entry_line(entry))
        return ExitStatus.DONE

    def facts(self, command: str, facts: Mapping[str, Json]) -> ExitStatus:
        """Something that was done, by its facts."""
        if self._as_json:
            self._object(command, {"verdict": "done"} | dict(facts), ExitStatus.DONE)
        else:
            self._line("DONE  " + _facts(facts))
        return ExitStatus.DONE

    def _outcome(self, command: str, outcome: Outcome, told: Mapping[str, Json]) -> ExitStatus:
        if self._as_json:
            self._object(command, told, outcome.status)
            return outcome.status
        said = _SAID[outcome.verdict]
        if outcome.reason:
            said += f"  {_words(outcome.reason)}"
        if outcome.message:
            said += f": {outcome.message}"
        if facts := _facts(outcome.facts):
            said += f"  {facts}"
        if "key" in told and outcome.verdict is not Verdict.DONE:
            said += f"  key {told['key']}"
        self._line(said)
        return outcome.status

    def _pass(self, seen: Mapping[str, Json], *, is_short: bool) -> None:
        parts = [_words(str(seen["state"])).upper(), str(seen["reference_id"])]
        parts += [str(seen[name]) for name in ("holder_name", "tier") if seen.get(name)]
        balances = seen["balances"]
        if isinstance(balances, list):
            parts += [f"{each['unit']} {each['balance']}" for each in map(_dict, balances)]
        self._line("  ".join(parts))
        if is_short:
            return
        self._texts("  demand: ", [_words(str(each)) for each in _list(seen["demands"])])
        self._texts("  attention: ", [str(each) for each in _list(seen.get("attention_texts"))])
        if seen["attention_count"] and "attention_texts" not in seen:
            self._line(f"  attention: {seen['attention_count']} (--names shows it)")
        for offer in map(_dict, _list(seen["offers"])):
            self._line(_offer_line(offer))
        for use in map(_dict, _list(seen["last_uses"])):
            self._line(f"  used {use['time']}  offer {use['offer_id']}")

    def _texts(self, before: str, texts: Sequence[str]) -> None:
        for text in texts:
            self._line(before + text)

    def _line(self, text: str) -> None:
        # A text of the service is no command to a terminal.
        safe = "".join(c if c.isprintable() else "?" for c in text)
        self._out.write(f"{safe}\n")
        self._out.flush()

    def _object(self, command: str, told: Mapping[str, Json], status: ExitStatus | None) -> None:
        first: dict[str, Json] = {"command": command}
        if status is not None:
            first["exit"] = int(status)
        self._out.write(json.dumps(first | dict(told), ensure_ascii=False) + "\n")
        self._out.flush()


def entry_json(entry: Entry) -> dict[str, Json]:
    """A kept entry for programs, without what names its pass."""
    told: dict[str, Json] = {
        "key": entry.key,
        "action": entry.intent.action.value,
        "time": entry.noted.isoformat(),
        "state": entry.state.value,
    }
    for name in ("target_id", "offer_id", "unit", "amount", "total", "currency", "reference"):
        if value := getattr(entry.intent, name):
            told[name] = value
    if entry.problem:
        told["problem"] = entry.problem
    if entry.outcome is not None:
        told["outcome"] = entry.outcome.as_json()
    return told


def _entry_line(entry: Entry) -> str:
    intent = entry.intent
    parts = [f"{entry.noted:%Y-%m-%d %H:%M:%S}Z", intent.action.value]
    named = (intent.amount, intent.unit, intent.offer_id, intent.target_id)
    parts += [str(each) for each in named if each]
    if intent.reference:
        parts.append(f"ref {intent.reference}")
    if entry.outcome is None:
        parts.append("waiting" + (f" ({_words(entry.problem)})" if entry.problem else ""))
    else:
        parts.append(f"{_SAID[entry.outcome.verdict]} {_words(entry.outcome.reason)}".strip())
    return "  ".join([*parts, f"key {entry.key}"])


def _offer_line(offer: Mapping[str, Json]) -> str:
    mark = "can redeem" if offer["is_redeemable"] else "not now"
    line = f"  {mark}  {offer['display_name']}  {offer['offer_id']}"
    if offer["max_uses"]:
        line += f"  used {offer['uses']} of {offer['max_uses']}"
    if "first_use_time" in offer:
        line += f"  first {offer['first_use_time']}"
    if "reason" in offer:
        line += f"  {_words(str(offer['reason']))}"
    if offer.get("attention"):
        line += f"  ! {offer['attention']}"
    for demand in _list(offer["demands"]):
        line += f"  ! {_words(str(demand))}"
    return line


def _facts(facts: Mapping[str, Json]) -> str:
    parts = []
    for name, value in facts.items():
        if name in _SAID_IN_WORDS:
            continue
        if isinstance(value, dict):
            parts.append(f"{_words(name)} {value.get('time', '')}".strip())
        elif isinstance(value, list):
            parts.append(f"{_words(name)} {', '.join(map(str, value))}")
        else:
            parts.append(f"{_words(name)} {value}")
    return "  ".join(parts)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _dict(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
