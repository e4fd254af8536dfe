"""Pushes to a service that breaks in every way a script can say, and what came of each.

`make push-faults` runs 100,000 over 200 faults; the tests run some thousand over twenty.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Final

from passmill._signer import PushEngine, PushOutcomes, PushPool
from passmill.dev.fake_apns import (
    Accept,
    Body,
    Disconnect,
    FakeApnsProcess,
    Freeze,
    GoAway,
    Hang,
    Headers,
    LastStream,
    LimitsChange,
    PushLog,
    Refuse,
    Reset,
    ResetCode,
    Rule,
    Script,
    StreamLimits,
)
from tests.push.trust import TOPIC, PushTrust

STREAMS: Final = 200
"""At a time on a connection."""
CONNECTIONS: Final = 2
_CALLERS: Final = 4
_USUAL: Final = StreamLimits(max_concurrent_streams=STREAMS)


def _limits(streams: int, window: int = 65_535) -> Rule:
    changed = StreamLimits(max_concurrent_streams=streams, initial_window=window)
    return Rule(change=LimitsChange(limits=changed, for_seconds=0.2))


# Those that break a connection, so that what was on its way may come twice.
BREAKING: Final[dict[str, Rule]] = {
    "connection reset": Rule(answer=Disconnect()),
    "connection reset, delivered": Rule(answer=Disconnect(delivers=True)),
    "connection ended": Rule(answer=Disconnect(abort=False)),
    "connection frozen": Rule(answer=Freeze()),
    "stream reset, delivered": Rule(answer=Reset(delivers=True)),
    "upper-case header": Rule(answer=Accept(headers=Headers.UPPER_CASE)),
    "GOAWAY, then the end": Rule(answer=GoAway(linger_seconds=0.0)),
}
FAULTS: Final[dict[str, Rule]] = BREAKING | {
    "GOAWAY after this": Rule(answer=GoAway()),
    "GOAWAY before this": Rule(answer=GoAway(last_stream=LastStream.BEFORE)),
    "GOAWAY, none taken": Rule(answer=GoAway(last_stream=LastStream.NONE, error_code=2)),
    "GOAWAY, any taken": Rule(answer=GoAway(last_stream=LastStream.ANY, reason="")),
    "stream refused": Rule(answer=Reset(code=ResetCode.REFUSED_STREAM)),
    "stream reset": Rule(answer=Reset()),
    "stream cancelled": Rule(answer=Reset(code=ResetCode.CANCEL)),
    "no answer": Rule(answer=Hang()),
    "429": Rule(answer=Refuse(status=429, reason="TooManyRequests", retry_after="1")),
    "500": Rule(answer=Refuse(status=500, reason="InternalServerError", body=Body.NONE)),
    "503, HTML": Rule(answer=Refuse(status=503, body=Body.HTML)),
    "503, cut": Rule(answer=Refuse(status=503, reason="Shutdown", body=Body.TRUNCATED)),
    "503, too long": Rule(answer=Refuse(status=503, reason="Shutdown", body=Body.LONG)),
    "503, without end": Rule(answer=Refuse(status=503, reason="Shutdown", body=Body.UNFINISHED)),
    "503 Shutdown": Rule(answer=Refuse(status=503, reason="Shutdown")),
    "400 IdleTimeout": Rule(answer=Refuse(status=400, reason="IdleTimeout")),
    "odd headers": Rule(answer=Accept(headers=Headers.ODD)),
    "late answer": Rule(delay_seconds=0.3),
    "one stream": _limits(1),
    "no stream": _limits(0),
    "tiny window": _limits(STREAMS, window=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run. `ping_seconds` and `deadline_seconds` are the engine's."""

    pushes: int
    faults: int
    ping_seconds: float
    deadline_seconds: float
    call: int = 250
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of it. `calls`: tokens, outcomes and seconds of each call; `played`: how often each
    fault happened."""

    calls: Sequence[tuple[Sequence[str], PushOutcomes, float]]
    log: PushLog
    played: dict[str, int]
    requests: int

    @property
    def unresolved(self) -> int:
        """Pushes without an outcome."""
        return sum(len(tokens) - len(outcomes) for tokens, outcomes, _ in self.calls)

    @property
    def failed(self) -> list[tuple[str, str]]:
        """Tokens that were not accepted, and why."""
        return [
            (tokens[index], f"{status} {reason}")
            for tokens, outcomes, _ in self.calls
            for index, status, reason, _ in outcomes.details
        ]

    @property
    def lost(self) -> int:
        """Pushes that were called accepted and never were."""
        accepted = self.log.accepted()
        failed = {token for token, _ in self.failed}
        tokens = (token for tokens, _, _ in self.calls for token in tokens)
        return sum(accepted[token] == 0 for token in tokens if token not in failed)

    @property
    def duplicates(self) -> int:
        """Pushes that were accepted before."""
        return sum(self.log.accepted().values()) - len(self.log.accepted())

    @property
    def most_duplicates(self) -> int:
        """What was on its way at faults, at most."""
        breaking = sum(times for name, times in self.played.items() if name in BREAKING)
        # An answer that never came or broke off may have been on its way.
        return breaking * STREAMS + sum(self.played.values())

    @property
    def protocol_errors(self) -> list[str]:
        """What the engine did that HTTP/2 forbids. Not what the stand-in could no longer send after
        the engine's GOAWAY, which upper-case headers bring about."""
        sent = "Invalid input ConnectionInputs.SEND_"
        return [text for text in self.log.protocol_errors if sent not in text]

    @property
    def longest_call(self) -> float:
        """Seconds."""
        return max(seconds for _, _, seconds in self.calls)


def run(plan: Plan, trust: PushTrust) -> Run:
    """Pushes to fresh tokens, a call after another from a few threads, over faults that come at
    random pushes."""
    rules, played = _choose(plan)
    script = Script(rules=rules, limits=_USUAL)
    with FakeApnsProcess(trust.certificates, script) as server:
        pool = PushPool(
            PushEngine(),
            trust.identity,
            host=server.host,
            port=server.port,
            roots=trust.roots,
            connections=CONNECTIONS,
            ping_seconds=plan.ping_seconds,
        )

        def call(count: int) -> tuple[Sequence[str], PushOutcomes, float]:
            tokens = [secrets.token_hex(32) for _ in range(count)]
            began = time.monotonic()
            outcomes = pool.push_many(
                tokens, topic=TOPIC, expiration=0, deadline_seconds=plan.deadline_seconds
            )
            return tokens, outcomes, time.monotonic() - began

        sizes = [plan.call] * (plan.pushes // plan.call)
        with ThreadPoolExecutor(_CALLERS) as callers:
            calls = list(callers.map(call, sizes))
        requests = pool.requests
        pool.close()
    return Run(calls=calls, log=server.log, played=played, requests=requests)


def _choose(plan: Plan) -> tuple[tuple[Rule, ...], dict[str, int]]:
    """Rules that play every fault in turn, each at a push of its own."""
    random = Random(plan.seed)  # noqa: S311 - a repeatable choice
    pushes = random.sample(range(1, plan.pushes), plan.faults)
    names = [list(FAULTS)[number % len(FAULTS)] for number in range(plan.faults)]
    at: dict[str, set[int]] = {}
    for name, push in zip(names, pushes, strict=True):
        at.setdefault(name, set()).add(push)
    rules = tuple(
        Rule(
            answer=FAULTS[name].answer,
            change=FAULTS[name].change,
            delay_seconds=FAULTS[name].delay_seconds,
            server_pushes=frozenset(when),
        )
        for name, when in at.items()
    )
    return rules, {name: len(when) for name, when in at.items()}


def main() -> int:
    """Runs at length, with the engine's usual times, and prints what came of it."""
    parser = argparse.ArgumentParser(description="Pushes over faults, and counts.")
    parser.add_argument("--pushes", type=int, default=100_000)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--ping", type=float, default=15.0, help="seconds of silence before a ping")
    parser.add_argument("--deadline", type=float, default=15.0, help="seconds for a call")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args()
    plan = Plan(
        pushes=options.pushes,
        faults=options.faults,
        ping_seconds=options.ping,
        deadline_seconds=options.deadline,
        seed=options.seed,
    )
    began = time.monotonic()
    done = run(plan, PushTrust.made_at(datetime.now(UTC)))
    lines = [
        f"seed {plan.seed}: {plan.pushes:,} pushes, {sum(done.played.values())} faults of"
        f" {len(done.played)} kinds, {time.monotonic() - began:.0f} s",
        f"unresolved {done.unresolved}, lost {done.lost}, not accepted {len(done.failed)},"
        f" duplicates {done.duplicates} (at most {done.most_duplicates}),"
        f" requests {done.requests:,}, connections {done.log.connections},"
        f" longest call {done.longest_call:.1f} s",
        *(f"  {count} x {reason}" for reason, count in _reasons(done).items()),
        *(f"  protocol error: {text}" for text in done.protocol_errors),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    is_kept = (
        not done.unresolved
        and not done.lost
        # One that meets a fault after the other may use up its deadline, and says so.
        and len(done.failed) <= plan.pushes // 10_000
        and done.duplicates <= done.most_duplicates
        and done.longest_call <= plan.deadline_seconds + 1
        and not done.protocol_errors
    )
    return 0 if is_kept else 1


def _reasons(done: Run) -> dict[str, int]:
    counts: dict[str, int] = {}
    for _, reason in done.failed:
        counts[reason] = counts.get(reason, 0) + 1
    return counts


if __name__ == "__main__":
    sys.exit(main())
