"""Plays a script: which rule a push falls under."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Final

from passmill.dev.fake_apns.script import Rule, Script

ACCEPTED: Final = Rule()
"""What happens without a script."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Where a push stands, counted from 1."""

    token: str
    connection: int
    connection_push: int
    server_push: int


class Director:
    """Counts pushes, and chooses. The counts go on when another script is played, but those of its
    rules' `times`."""

    def __init__(self, script: Script) -> None:
        self._token_pushes: Counter[str] = Counter()
        self.play(script)

    def play(self, script: Script) -> None:
        """From now on another script, with its own randomness."""
        self.script = script
        self._random = Random(script.seed)  # noqa: S311 - repeatable on purpose
        self._used = [0] * len(script.rules)
        self._counts_tokens = any(rule.token_pushes is not None for rule in script.rules)

    def choose(self, turn: Turn) -> Rule:
        """Give the first rule that fits, or that of a push without one."""
        if self._counts_tokens:
            self._token_pushes[turn.token] += 1
        for number, rule in enumerate(self.script.rules):
            if self._fits(rule, turn) and not self._is_used_up(number, rule):
                self._used[number] += 1
                return rule
        return ACCEPTED

    def _is_used_up(self, number: int, rule: Rule) -> bool:
        return rule.times is not None and self._used[number] >= rule.times

    def _fits(self, rule: Rule, turn: Turn) -> bool:
        asked = (
            (rule.connections, turn.connection),
            (rule.connection_pushes, turn.connection_push),
            (rule.server_pushes, turn.server_push),
            (rule.token_pushes, self._token_pushes[turn.token]),
        )
        return (
            (rule.tokens is None or turn.token in rule.tokens)
            and all(wanted is None or number in wanted for wanted, number in asked)
            and turn.server_push % rule.every == 0
            and (rule.fraction >= 1.0 or self._random.random() < rule.fraction)
        )
