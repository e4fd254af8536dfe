"""How many passes a second: unary, in batches, and beside what the same server does with nothing.

Run by `make bench`, or `python bench/issue.py [--json]`; bench/README.md says how each number comes
about. The service is a whole one: embedded PostgreSQL, a process a core, real signatures.
"""

from __future__ import annotations

import argparse
import asyncio
import enum
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import uvloop

from passmill.demo.club import Club, set_up
from passmill.dev.local_service import LocalService
from passmill.telemetry.logging import configure_logging
from passmill_client import AsyncClient, Money, PassDraft, pass_draft
from passmill_client.call import Call

BATCH = 500
WARM_UP_SECONDS = 2.0
JOIN_SECONDS = 3.0  # for a generator process to start and connect
UNARY_TARGET, BATCH_TARGET = 0.35, 2000


class Work(enum.Enum):
    """What is asked of the service over and over."""

    HEALTH = "health"
    EMPTY = "empty"
    UNARY = "unary"
    BATCH = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one generator process does. `start`: on the machine's monotonic clock, when counting
    begins; `concurrency`: calls it keeps under way."""

    work: Work
    address: str
    api_key: str
    template_id: str
    start: float
    seconds: float
    concurrency: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of a phase. `latencies`: seconds of each call that ended while it was counted;
    `cpu_seconds`: what its generators used meanwhile."""

    latencies: Sequence[float]
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The latency that `share` of the calls keep below."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def draft(number: int) -> PassDraft:
    """A recipient as campaigns have them: a name, a number, four values."""
    return pass_draft(
        name=f"Zoë Ōtani {number}",
        phone="+12065550123",
        external_ids={"crm": f"M{number:07}"},
        values={
            "points": number % 2000,
            "balance": Money(minor_units=1250, currency_code="USD"),
            "level": "Gold",
        },
    )


def request_of(plan: Plan, client: AsyncClient) -> Callable[[int], Awaitable[object]]:
    """How the work is asked for; the number makes each request differ."""
    match plan.work:
        case Work.HEALTH:
            empty = Call(
                method="/grpc.health.v1.Health/Check",
                content=b"",
                decode=lambda content: content,
                request_id=None,
                timeout=None,
                reply=None,
            )
            return lambda number: client.send(empty)
        case Work.EMPTY:
            return lambda number: client.get_caller()
        case Work.UNARY:
            return lambda number: client.issue_pass(
                plan.template_id,
                name=f"Zoë Ōtani {number}",
                phone="+12065550123",
                external_ids={"crm": f"M{number:07}"},
                values={
                    "points": number % 2000,
                    "balance": Money(minor_units=1250, currency_code="USD"),
                    "level": "Gold",
                },
            )
        case Work.BATCH:
            drafts = [draft(number) for number in range(BATCH)]

            async def issue_batch(number: int) -> None:
                answer = await client.batch_issue_passes(plan.template_id, drafts, timeout=60)
                if not all(result.HasField("wallet_pass") for result in answer.results):
                    raise ValueError("a draft was refused")

            return issue_batch


async def generate(plan: Plan) -> Load:
    """Keeps calls under way until the plan's end; counts those that end inside its time."""
    latencies: list[float] = []
    cpu = [0.0, 0.0]
    end = plan.start + plan.seconds

    async def caller(client: AsyncClient, first: int) -> None:
        request = request_of(plan, client)
        number = first
        while (began := time.monotonic()) < end:
            await request(number)
            ended = time.monotonic()
            number += plan.concurrency
            if plan.start <= ended < end:
                latencies.append(ended - began)

    async def watch() -> None:
        for place, moment in enumerate((plan.start, end)):
            await asyncio.sleep(moment - time.monotonic())
            cpu[place] = time.process_time()

    async with (
        AsyncClient(plan.address, plan.api_key, channels=plan.channels, timeout=30) as client,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(watch())
        for first in range(plan.concurrency):
            tasks.create_task(caller(client, first))
    return Load(latencies=latencies, seconds=plan.seconds, cpu_seconds=cpu[1] - cpu[0])


def generate_in_process(plan: Plan) -> Load:
    """A generator process' whole life."""
    return uvloop.run(generate(plan))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A service to measure and how long."""

    address: str
    club: Club
    seconds: float
    generators: int

    def measure(self, work: Work, *, concurrency: int, generators: int | None = None) -> Load:
        """One phase: generator processes that start together, warm up, and count together."""
        count = generators or self.generators
        plan = Plan(
            work=work,
            address=self.address,
            api_key=self.club.issue_key,
            template_id=self.club.template_id,
            start=time.monotonic() + JOIN_SECONDS + WARM_UP_SECONDS,
            seconds=self.seconds,
            concurrency=concurrency // count,
            channels=4,
        )
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(count, mp_context=spawning) as processes:
            loads = list(processes.map(generate_in_process, [plan] * count))
        return Load(
            latencies=[each for load in loads for each in load.latencies],
            seconds=self.seconds,
            cpu_seconds=sum(load.cpu_seconds for load in loads),
        )


def together(loads: Sequence[Load]) -> Load:
    """Several rounds of one phase as one."""
    return Load(
        latencies=[each for load in loads for each in load.latencies],
        seconds=sum(load.seconds for load in loads),
        cpu_seconds=sum(load.cpu_seconds for load in loads),
    )


def run(options: argparse.Namespace) -> dict[str, float | int]:
    """Measures everything in one run on one service. The kinds of unary calls take turns, so that
    what the machine does besides meets all of them."""
    rounds: dict[Work, list[Load]] = {Work.HEALTH: [], Work.EMPTY: [], Work.UNARY: []}
    configure_logging(level="warning", log_format="console")
    with LocalService(processes=options.processes, durable=True, on_step=say) as service:
        club = set_up(
            api_address=service.api_address,
            admin_address=service.admin_address,
            operator_key=service.operator_key,
            on_step=say,
        )
        bench = Bench(
            address=service.api_address,
            club=club,
            seconds=options.seconds,
            generators=options.generators,
        )
        say("a lone caller issues pass after pass")
        lone = bench.measure(Work.UNARY, concurrency=1, generators=1)
        for number in range(options.rounds):
            for work, loads in rounds.items():
                say(f"round {number + 1} of {options.rounds}: {work.value}")
                loads.append(bench.measure(work, concurrency=options.concurrency))
        say(f"batches of {BATCH}")
        batch = together([bench.measure(Work.BATCH, concurrency=4) for _ in range(options.rounds)])
    return {
        "unary_vs_empty": ratio(rounds[Work.UNARY], rounds[Work.EMPTY]),
        "unary_vs_health": ratio(rounds[Work.UNARY], rounds[Work.HEALTH]),
        "batch_passes_per_s": round(batch.rate * BATCH),
        **facts("batch", batch),
        **facts("health", together(rounds[Work.HEALTH])),
        **facts("empty", together(rounds[Work.EMPTY])),
        **facts("unary", together(rounds[Work.UNARY])),
        **facts("lone", lone),
        "cores": os.cpu_count() or 1,
        "processes": options.processes or os.cpu_count() or 1,
        "concurrency": options.concurrency,
    }


def ratio(ours: Sequence[Load], others: Sequence[Load]) -> float:
    """The median over the rounds of our rate to the others'."""
    ratios = [one.rate / other.rate for one, other in zip(ours, others, strict=True)]
    return round(statistics.median(ratios), 3)


def facts(name: str, load: Load) -> dict[str, float | int]:
    """What a phase is told by: rate, latencies, and the cores its generators were busy on."""
    rate = {} if name == "batch" else {f"{name}_per_s": round(load.rate)}
    return rate | {
        f"{name}_p50_ms": round(load.percentile_ms(0.5), 2),
        f"{name}_p99_ms": round(load.percentile_ms(0.99), 2),
        f"{name}_cpu_cores": round(load.cpu_seconds / load.seconds, 2),
    }


def table(found: Mapping[str, float | int]) -> str:
    """The numbers for people."""
    rows = [("", "per second", "p50 ms", "p99 ms", "generator cores")]
    for name, key in (
        ("Health/Check, past our door", "health"),
        ("empty RPC (GetCaller)", "empty"),
        ("IssuePass", "unary"),
        ("IssuePass, one caller", "lone"),
        (f"BatchIssuePasses of {BATCH}, passes", "batch"),
    ):
        rate = found.get(f"{key}_per_s") or found.get(f"{key}_passes_per_s")
        p50, p99, busy = (str(found[f"{key}_{what}"]) for what in ("p50_ms", "p99_ms", "cpu_cores"))
        rows.append((name, f"{rate:,}", p50, p99, busy))
    lines = [
        f"{name:<34}{rate:>12}{p50:>10}{p99:>10}{cores:>18}" for name, rate, p50, p99, cores in rows
    ]
    verdicts = [
        f"IssuePass / empty RPC     {found['unary_vs_empty']:.1%} (wanted: {UNARY_TARGET:.0%})",
        f"IssuePass / Health/Check  {found['unary_vs_health']:.1%}",
        f"passes/s in batches       {found['batch_passes_per_s']:,} (wanted: {BATCH_TARGET:,})",
    ]
    return "\n".join(["", *lines, "", *verdicts, ""])


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(description="Measures issuing on a service of its own.")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--seconds", type=float, default=5.0, help="a phase is counted")
    parser.add_argument("--rounds", type=int, default=3, help="times each phase is measured")
    parser.add_argument("--concurrency", type=int, default=64, help="unary calls under way")
    parser.add_argument("--processes", type=int, help="of the service; one a core when left out")
    parser.add_argument("--generators", type=int, default=2, help="processes that call")
    options = parser.parse_args()
    found = run(options)
    print(table(found))
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
