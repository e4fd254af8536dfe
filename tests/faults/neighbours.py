"""What a tenant whose pushes are never answered costs the others.

Run by `make neighbours`, or with other sizes:

    python -m tests.faults.neighbours --hung 0.2 --seconds 30

A service, a worker wired as in production and a stand-in for APNs, all in this process. A tenant
changes passes, each on one phone, at a steady pace: alone, then while another tenant changes passes
whose pushes hang. Measured is from the answer to a change until APNs takes its push. The last line
is one JSON object: `p99_ms` alone, `p99_ms_beside_hang`, and their `ratio`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import uvloop

from passmill.dev.fake_apns import Hang, Rule, Script
from passmill.embedded import EmbeddedServers
from passmill.store.migrate import migrate
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.fan_out import FanOut, open_fake_apns, open_fan_out, push_settings
from tests.support.service import open_service

PASSES: Final = 50
"""Of each tenant, changed in turn."""
MORE_POINTS: Final = 10_000
"""Than the passes have: what does not change a pass is not pushed."""
WARM_UP_SECONDS: Final = 2.0
LATEST_SECONDS: Final = 300.0


@dataclass(slots=True, kw_only=True, eq=False)
class Holders:
    """A tenant's passes, each on one phone, and the token of that."""

    fan_out: FanOut
    passes: Sequence[tuple[Pass, str]] = field(repr=False)
    changes: int = 0

    @classmethod
    async def made(cls, fan_out: FanOut) -> Holders:
        """Issues and registers."""
        issued = [await fan_out.club.issue() for _ in range(PASSES)]
        return cls(
            fan_out=fan_out, passes=[(each, await fan_out.register(each)) for each in issued]
        )

    async def change(self, per_second: float, seconds: float) -> dict[str, list[float]]:
        """Changes a pass at each of its times, however long the others take; when these were
        answered, by token."""
        began = time.monotonic()
        answered: dict[str, list[float]] = defaultdict(list)

        async def change_next() -> None:
            wallet_pass, token = self.passes[self.changes % PASSES]
            self.changes += 1
            await self.fan_out.change(wallet_pass, MORE_POINTS + self.changes)
            answered[token].append(time.monotonic())

        async with asyncio.TaskGroup() as tasks:
            for number in range(max(1, round(per_second * seconds))):
                await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
                tasks.create_task(change_next())
        return answered

    async def waits(self, per_second: float, seconds: float) -> list[float]:
        """Changes passes; seconds from each answer to the push. TimeoutError when one does not
        come."""
        apns = self.fan_out.apns
        # What was pushed before has come: whoever waits here waits for all.
        apns.log.records.clear()
        answered = await self.change(per_second, seconds)
        async with asyncio.timeout(LATEST_SECONDS):
            while any(  # noqa: ASYNC110 - done by the worker
                apns.log.accepted()[token] < len(times) for token, times in answered.items()
            ):
                await asyncio.sleep(0.2)
        pushed: dict[str, list[float]] = defaultdict(list)
        for record in apns.log.records:
            pushed[record.token].append(record.at)
        # A push may be quicker than the answer.
        return [
            max(0.0, at - since)
            for token, times in answered.items()
            for since, at in zip(sorted(times), sorted(pushed[token]), strict=True)
        ]


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Both phases."""
    async with EmbeddedServers() as servers:
        await migrate(servers.owner_url)
        async with open_fake_apns() as apns, open_service(servers.database_url) as service:
            club, other = [await service.add_club() for _ in range(2)]
            settings = push_settings(
                service.settings,
                apns,
                folder,
                redis_url=servers.redis_url,
                deadline_seconds=options.deadline,
            )
            async with open_fan_out(service, club, apns, settings) as fan_out:
                healthy = await Holders.made(fan_out)
                hung = await Holders.made(replace(fan_out, club=other))
                never = frozenset(token for _, token in hung.passes)
                apns.play(Script(rules=(Rule(answer=Hang(), tokens=never),)))
                await healthy.waits(options.per_second, WARM_UP_SECONDS)
                say(f"alone, {options.seconds:g} s")
                alone = await healthy.waits(options.per_second, options.seconds)
                say(f"beside {options.hung:g} changes a second whose pushes hang")
                hanging = asyncio.create_task(
                    hung.change(options.hung, options.lead + options.seconds)
                )
                await asyncio.sleep(options.lead)
                beside = await healthy.waits(options.per_second, options.seconds)
                await hanging
    return {
        "p99_ms": p99_ms(alone),
        "p99_ms_beside_hang": p99_ms(beside),
        "ratio": round(p99_ms(beside) / p99_ms(alone), 2),
        "p50_ms": round(1000 * statistics.median(alone), 1),
        "p50_ms_beside_hang": round(1000 * statistics.median(beside), 1),
        "changes": len(alone),
        "hung_changes": hung.changes,
    }


def p99_ms(seconds: Sequence[float]) -> float:
    """The 99th percentile in milliseconds."""
    return round(1000 * statistics.quantiles(seconds, n=100)[98], 1)


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-second", type=float, default=20.0, help="changes of the tenant")
    parser.add_argument("--hung", type=float, default=1.0, help="changes a second of the other")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each phase")
    parser.add_argument("--lead", type=float, default=30.0, help="seconds of hanging before")
    parser.add_argument("--deadline", type=float, default=15.0, help="seconds, of a push")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="passmill-neighbours-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        found = runner.run(measure(options, Path(folder)))
    print(json.dumps(found))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
