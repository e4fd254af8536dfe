"""How long staff wait at the counter: VerifyPass and RedeemPass while calls keep coming.

Run by `make bench`, or `python bench/counter.py [--json]`; bench/README.md says how each number
comes about. The service is a whole one: embedded PostgreSQL that waits for the disk, a process a
core, signed barcodes, passes that are signed anew when their coupon is used.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from passmill.demo.club import set_up
from passmill.dev.coffee_counter import (
    CoffeeCounter,
    ShownPass,
    coupon_card,
    issue_shown,
    open_counter,
)
from passmill.dev.local_service import LocalService
from passmill.telemetry.logging import configure_logging
from passmill_client import AsyncClient
from passmill_client.messages import ScanOutcome, ScanRef, ScanState

WARM_UP_SECONDS = 3.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
VERIFY_TARGET_MS, REDEEM_TARGET_MS = 50, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Seconds that each call of a phase kept its caller waiting, from when it was due.
    `calls`: all, with those of the warm-up."""

    seconds: Sequence[float]
    calls: int

    def percentile_ms(self, share: float) -> float:
        """The wait that `share` of the calls keep below."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Stream:
    """Calls of one kind that come as people do: at random, so many a second on the average, and
    whether the ones before are answered or not."""

    def __init__(self, call: Callable[[int], Awaitable[None]], *, rate: float, seed: int) -> None:
        self._call = call
        self._rate = rate
        self._seed = seed

    async def run(self, seconds: float) -> Waits:
        """Calls for so long after the warm-up, whose calls are not counted. A call that fails ends
        it all."""
        waits: list[float] = []
        began = time.monotonic()
        number = -1

        async def one(number: int, due: float) -> None:
            await self._call(number)
            if due >= WARM_UP_SECONDS:
                waits.append(time.monotonic() - began - due)

        async with asyncio.TaskGroup() as tasks:
            for number, due in enumerate(self._moments(WARM_UP_SECONDS + seconds)):
                await asyncio.sleep(began + due - time.monotonic())
                tasks.create_task(one(number, due))
        return Waits(seconds=waits, calls=number + 1)

    def _moments(self, seconds: float) -> Iterator[float]:
        chance = random.Random(self._seed)  # noqa: S311 - to be repeated
        due = chance.expovariate(self._rate)
        while due < seconds:
            yield due
            due += chance.expovariate(self._rate)


class Staff:
    """Scanners, each with a key and a connection of its own, and a heap of passes to redeem."""

    def __init__(
        self, scanners: Sequence[AsyncClient], offer_id: str, shown: Sequence[ShownPass]
    ) -> None:
        self._scanners = scanners
        self._offer_id = offer_id
        self._shown = shown
        self._fresh = iter(shown)
        self._used: list[ShownPass] = []

    async def ask_nothing(self, number: int) -> None:
        """What the machine takes for any call."""
        await self._scanner(number).get_caller()

    async def verify(self, number: int) -> None:
        """Any pass."""
        shown = self._shown[number % len(self._shown)]
        answer = await self._scanner(number).verify_pass(ScanRef(barcode=shown.barcode))
        if answer.state not in {ScanState.SCAN_STATE_VALID, ScanState.SCAN_STATE_USED_UP}:
            raise ValueError(f"a pass was found {ScanState.Name(answer.state)}")

    async def redeem(self, number: int) -> None:
        """A pass that nobody has redeemed."""
        shown = next(self._fresh)
        if await self._redeem(number, shown) != ScanOutcome.SCAN_OUTCOME_ACCEPTED:
            raise ValueError("a fresh coupon was refused")
        self._used.append(shown)

    async def redeem_again(self, number: int) -> None:
        """A pass that somebody has."""
        shown = self._used[number % len(self._used)]
        if await self._redeem(number, shown) != ScanOutcome.SCAN_OUTCOME_REFUSED:
            raise ValueError("a coupon was taken twice")

    def _scanner(self, number: int) -> AsyncClient:
        return self._scanners[number % len(self._scanners)]

    async def _redeem(self, number: int, shown: ShownPass) -> ScanOutcome.ValueType:
        answer = await self._scanner(number).redeem_pass(
            ScanRef(barcode=shown.barcode), self._offer_id, staff="Bo"
        )
        return answer.outcome


async def measure(
    address: str, counter: CoffeeCounter, options: argparse.Namespace
) -> dict[str, float]:
    """Each kind alone, then both at once, half of the calls each."""
    rate, seconds = options.rate, options.seconds
    needed = int(1.6 * rate * (seconds + WARM_UP_SECONDS)) + 100  # two phases redeem
    say(f"issuing {needed} passes")
    async with AsyncExitStack() as stack:
        owner = await stack.enter_async_context(AsyncClient(address, counter.owner_key))
        shown = await issue_shown(owner, counter.template_id, needed)
        scanners = [
            await stack.enter_async_context(AsyncClient(address, key, channels=1, timeout=60))
            for _, key in counter.scanners
        ]
        staff = Staff(scanners, counter.offer_id, shown)
        alone: dict[str, float] = {}
        for name, call in (
            ("empty", staff.ask_nothing),
            ("verify", staff.verify),
            ("redeem", staff.redeem),
            ("refused", staff.redeem_again),
        ):
            say(f"{name}: {rate:g} a second")
            before = cpu_seconds()
            waits = await Stream(call, rate=rate, seed=1).run(seconds)
            cpu_ms = 1000 * (cpu_seconds() - before) / waits.calls
            alone |= facts(f"{name}_alone", waits) | {f"{name}_cpu_ms": round(cpu_ms, 2)}
        say(f"{rate / 2:g} verified and {rate / 2:g} redeemed a second")
        verify, redeem = await asyncio.gather(
            Stream(staff.verify, rate=rate / 2, seed=1).run(seconds),
            Stream(staff.redeem, rate=rate / 2, seed=2).run(seconds),
        )
    return {
        **facts("verify", verify),
        **facts("redeem", redeem),
        **alone,
    }


def cpu_seconds() -> float:
    """What the service has used of processors until now: its processes, and PostgreSQL's."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            fields = text.rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1])
            used[int(entry.name)] = sum(map(int, fields[11:15])) / TICKS_PER_SECOND
    ours = {os.getpid()}
    while more := {each for each, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(used[each] for each in ours - {os.getpid()})


def facts(name: str, waits: Waits) -> dict[str, float]:
    """What a stream of calls is told by."""
    return {
        f"{name}_p50_ms": round(waits.percentile_ms(0.5), 1),
        f"{name}_p99_ms": round(waits.percentile_ms(0.99), 1),
        f"{name}_max_ms": round(1000 * max(waits.seconds), 1),
        f"{name}_calls": len(waits.seconds),
    }


def run(options: argparse.Namespace) -> dict[str, float]:
    """Measures on a service of its own."""
    configure_logging(level="warning", log_format="console")
    with LocalService(processes=options.processes, durable=True, on_step=say) as service:
        club = set_up(
            api_address=service.api_address,
            admin_address=service.admin_address,
            operator_key=service.operator_key,
            card=coupon_card,
            on_step=say,
        )
        counter = open_counter(
            api_address=service.api_address,
            admin_address=service.admin_address,
            operator_key=service.operator_key,
            tenant_id=club.tenant_id,
            template_id=club.template_id,
            scanners=options.scanners,
        )
        found = uvloop.run(measure(service.api_address, counter, options))
    return {
        **found,
        "calls_per_s": options.rate,
        "scanners": options.scanners,
        "cores": os.cpu_count() or 1,
        "processes": options.processes or os.cpu_count() or 1,
        "load_average": round(os.getloadavg()[0], 1),
    }


def table(found: Mapping[str, float]) -> str:
    """The numbers for people."""
    rows = [("", "calls", "p50 ms", "p99 ms", "longest ms", "p99 wanted")]
    for name, key, wanted in (
        ("VerifyPass, beside RedeemPass", "verify", f"{VERIFY_TARGET_MS}"),
        ("RedeemPass, beside VerifyPass", "redeem", f"{REDEEM_TARGET_MS}"),
        ("empty RPC (GetCaller) alone", "empty_alone", ""),
        ("VerifyPass alone", "verify_alone", ""),
        ("RedeemPass alone", "redeem_alone", ""),
        ("RedeemPass refused, alone", "refused_alone", ""),
    ):
        calls, p50, p99, longest = (
            str(found[f"{key}_{what}"]) for what in ("calls", "p50_ms", "p99_ms", "max_ms")
        )
        rows.append((name, calls, p50, p99, longest, wanted))
    head, *others = (
        f"{name:<31}{calls:>8}{p50:>9}{p99:>9}{longest:>12}{wanted:>12}"
        for name, calls, p50, p99, longest, wanted in rows
    )
    cpu = (
        f"{name} {found[f'{name}_cpu_ms']:g}" for name in ("empty", "verify", "redeem", "refused")
    )
    notes = [
        f"{found['calls_per_s']:g} calls a second; load {found['load_average']:g}",
        f"ms of a core that the service and PostgreSQL take for a call: {', '.join(cpu)}",
    ]
    return "\n".join(["", head, *others, "", *notes, ""])


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(description="Measures the counter on a service of its own.")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--rate", type=float, default=100.0, help="calls a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="a phase is counted")
    parser.add_argument("--scanners", type=int, default=20)
    parser.add_argument("--processes", type=int, help="of the service; one a core when left out")
    options = parser.parse_args()
    found = run(options)
    print(table(found))
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
