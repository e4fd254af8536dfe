"""What became of a command: told to people, to programs, and by the exit status."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"


class ExitStatus(enum.IntEnum):
    """The command's exit status; README.md lists them."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    KEPT = 3
    NO_RIGHT = 4
    UNREACHED = 5
    FAILED = 6
    PROVISIONAL = 7


class Verdict(enum.StrEnum):
    """What became of it. Kept in queues as its text."""

    DONE = "done"
    REFUSED = "refused"  # an ordinary "no" of the service
    CONFLICT = "conflict"  # it happened at the counter, and the service knew better
    KEPT = "kept"  # not reached; sent later
    NO_RIGHT = "no_right"  # the key is not known, revoked, or may not do this
    UNREACHED = "unreached"  # not reached, and nothing is to be sent later
    INVALID = "invalid"  # the call is wrong in itself
    FAILED = "failed"
    PROVISIONAL = "provisional"  # not reached; as far as can be seen here it is good


_STATUS: Final[Mapping[Verdict, ExitStatus]] = {
    Verdict.DONE: ExitStatus.DONE,
    Verdict.REFUSED: ExitStatus.REFUSED,
    Verdict.CONFLICT: ExitStatus.REFUSED,
    Verdict.KEPT: ExitStatus.KEPT,
    Verdict.NO_RIGHT: ExitStatus.NO_RIGHT,
    Verdict.UNREACHED: ExitStatus.UNREACHED,
    Verdict.INVALID: ExitStatus.USAGE,
    Verdict.FAILED: ExitStatus.FAILED,
    Verdict.PROVISIONAL: ExitStatus.PROVISIONAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a command. `reason`: for programs, `already_redeemed`; `message`: for people,
    when the service said more. `facts`: ids, amounts, times, balances; nothing of a person."""

    verdict: Verdict
    reason: str = ""
    message: str = ""
    facts: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def status(self) -> ExitStatus:
        """The exit status that says it."""
        return _STATUS[self.verdict]

    def as_json(self) -> dict[str, Json]:
        """The outcome for programs, and for the queue."""
        answer: dict[str, Json] = {"verdict": self.verdict.value}
        if self.reason:
            answer["reason"] = self.reason
        if self.message:
            answer["message"] = self.message
        return answer | dict(self.facts)

    @classmethod
    def from_json(cls, kept: Mapping[str, Json]) -> Outcome:
        """The outcome that `as_json` gave."""
        facts = {
            name: value
            for name, value in kept.items()
            if name not in {"verdict", "reason", "message"}
        }
        return cls(
            verdict=Verdict(str(kept["verdict"])),
            reason=str(kept.get("reason", "")),
            message=str(kept.get("message", "")),
            facts=facts,
        )
