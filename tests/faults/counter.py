"""Copies of single-use passes shown at many scanners at once, while calls are cancelled and the
server is killed.

Run by `make counter`, or smaller by the test beside it:

    python -m tests.faults.counter --scanners 200 --passes 1000 --kills 5

A whole service on this machine. Each scanner is one of its own right, with a key and a connection;
copies of each pass come to several of them at about the same time, a share of the calls is hung up
on at any moment of theirs, other writers change the same passes, and all API processes are killed
at once from time to time. Whoever got no answer sends the same request again; in the end everybody
does, each pass is shown once more and verified, and phones fetch what they show. Then
`counter_checker.py`, which knows nothing of the service's code, counts. Prints one JSON object and
exits with 1 when anything is not as it must be.

`--mutant NAME` plays it on a copy of the service that has a fault (see `counter_mutants.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import uvloop

from passmill.demo.club import Club, set_up
from passmill.dev.coffee_counter import (
    USED_LEVEL,
    CoffeeCounter,
    ShownPass,
    coupon_card,
    issue_shown,
    open_counter,
    read_passes,
)
from passmill.dev.local_service import LocalService
from passmill_client import AsyncClient, PassmillError
from tests.faults.counter_mutants import MUTANTS, play_on_mutant
from tests.faults.counter_scanners import Journal, Scan, Scanner, Showings, describe

CHECKER = Path(__file__).with_name("counter_checker.py")
_IMPATIENT = 0.5  # of scans, while fewer hung up than shall
_FORGETFUL = 0.5  # of those who hang up; the others ask again at once
_RESTART_SECONDS = 60.0


def main() -> int:
    """Plays the scenario and has it checked."""
    options = read_options()
    if options.mutant:
        return play_on_mutant(MUTANTS[options.mutant], "tests.faults.counter", sys.argv[1:])
    with (
        tempfile.TemporaryDirectory(prefix="passmill-counter-") as folder,
        serve(options.processes) as service,
    ):
        club = set_up(
            api_address=service.api_address,
            admin_address=service.admin_address,
            operator_key=service.operator_key,
            card=coupon_card,
        )
        counter = open_counter(
            api_address=service.api_address,
            admin_address=service.admin_address,
            operator_key=service.operator_key,
            tenant_id=club.tenant_id,
            template_id=club.template_id,
            scanners=options.scanners,
        )
        play = Play(service, counter, options, Path(folder))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            told = runner.run(play.run())
        verdict = check(service, club, Path(folder))
    found = {**verdict, **told, "seed": options.seed, "load_average": round(os.getloadavg()[0], 1)}
    print(json.dumps(found))  # noqa: T201 - the result
    return 0 if found["is_right"] else 1


def read_options() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scanners", type=int, default=200)
    parser.add_argument("--passes", type=int, default=1_000)
    parser.add_argument("--copies", type=int, default=6, help="of each pass, at as many scanners")
    parser.add_argument("--cancel", type=float, default=0.1, help="share of calls hung up on")
    parser.add_argument("--verify", type=float, default=0.25, help="share of scans verified first")
    parser.add_argument("--kills", type=int, default=5, help="of all API processes at once")
    parser.add_argument("--writers", type=int, default=4, help="who change the same passes")
    parser.add_argument("--processes", type=int, default=2, help="of the API")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="play it on a faulty service")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    return parser.parse_args()


@contextmanager
def serve(processes: int) -> Iterator[LocalService]:
    """A service whose dead processes are started again."""
    stop = threading.Event()
    with LocalService(
        processes=processes, durable=True, settings={"PASSMILL_LOG__LEVEL": "error"}
    ) as service:
        watching = threading.Thread(target=service.supervisor.run, args=(stop,))
        watching.start()
        try:
            yield service
        finally:
            stop.set()
            watching.join()


class Play:
    """One run of the scenario, up to the files that the checker reads."""

    def __init__(
        self,
        service: LocalService,
        counter: CoffeeCounter,
        options: argparse.Namespace,
        folder: Path,
    ) -> None:
        self._service = service
        self._counter = counter
        self._options = options
        self._folder = folder
        self._journal = Journal(folder / "journal.ndjson")
        self._chance = random.Random(options.seed)  # noqa: S311 - to be repeated
        self._scanners: list[Scanner] = []
        self._kills = self._changes = self._hung_up = 0

    async def run(self) -> dict[str, object]:
        """Plays it; what there is to say beside the checker's counts."""
        options, counter = self._options, self._counter
        address = self._service.api_address
        async with AsyncExitStack() as stack:
            owner = await stack.enter_async_context(AsyncClient(address, counter.owner_key))
            shown = await issue_shown(owner, counter.template_id, options.passes)
            for number in range(options.scanners):
                scanner = Scanner(number, address, counter, self._journal)
                self._scanners.append(await stack.enter_async_context(scanner))
            showings = Showings(shown, copies=options.copies)
            began = time.monotonic()
            await self._fire(owner, showings)
            seconds = time.monotonic() - began
            latencies = sorted(self._journal.redeem_seconds)
            await self._settle(shown, showings)
            await self._write_files(owner, shown)
        return {
            "kills": self._kills,
            "hung_up": self._hung_up,
            "changes_by_writers": self._changes,
            "seconds": round(seconds, 1),
            "scans_per_second": round(showings.total / seconds),
            "redeem_p50_ms_under_fire": round(1000 * latencies[len(latencies) // 2]),
            "redeem_p99_ms_under_fire": round(1000 * latencies[int(0.99 * len(latencies))]),
        }

    async def _fire(self, owner: AsyncClient, showings: Showings) -> None:
        """The rush."""
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._kill(showings))
            for _ in range(self._options.writers):
                tasks.create_task(self._change(owner, showings, is_over))
            async with asyncio.TaskGroup() as scanning:
                for scanner in self._scanners:
                    scanning.create_task(self._scan(scanner, showings))
            is_over.set()

    async def _scan(self, scanner: Scanner, showings: Showings) -> None:
        chance, options = self._chance, self._options
        while (scan := showings.next()) is not None:
            scanner.scans.append(scan)
            if chance.random() < options.verify:
                await scanner.verify(scan.shown)
            # Some are answered before they hang up: others do instead.
            if self._hung_up < options.cancel * showings.begun and chance.random() < _IMPATIENT:
                end = await scanner.redeem(scan, hang_up_after=self._patience_seconds())
                self._hung_up += end == "cancelled"
                if end == "answered" or chance.random() < _FORGETFUL:
                    continue
            await scanner.insist(scan)

    def _patience_seconds(self) -> float:
        """Ends at any moment of a call's life."""
        usual = statistics.median(self._journal.redeem_seconds[-50:] or [0.1])
        return self._chance.uniform(0, usual)

    async def _kill(self, showings: Showings) -> None:
        """Kills all API processes at once when so many passes were shown, and waits until as many
        live again."""
        service, kills = self._service, self._options.kills
        for number in range(kills):
            due = showings.total * (number + 1) // (kills + 1)
            while showings.begun < due:  # noqa: ASYNC110 - a count
                await asyncio.sleep(0.01)
            await asyncio.sleep(self._chance.uniform(0, 0.1))
            dead = service.api_process_ids
            for process_id in dead:
                os.kill(process_id, signal.SIGKILL)
            self._kills += 1
            async with asyncio.timeout(_RESTART_SECONDS):
                while not _have_restarted(service.api_process_ids, dead):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    async def _change(self, owner: AsyncClient, showings: Showings, is_over: asyncio.Event) -> None:
        """Changes the passes that are being shown: their rows are locked by these too."""
        while not is_over.is_set():
            began = time.time()
            points = self._chance.randrange(100)
            try:
                await owner.update_pass(
                    pass_id=showings.current.pass_id, values={"points": points}, timeout=60
                )
                self._changes += 1
            except PassmillError as error:
                self._journal.write("change", began, **describe(error))
            await asyncio.sleep(0.05)

    async def _settle(self, shown: Sequence[ShownPass], showings: Showings) -> None:
        """Everybody asks again; then each pass is shown once more, and verified."""
        again: dict[Scanner, list[Scan]] = {each: [] for each in self._scanners}
        for number, one in enumerate(shown, showings.total + 1):
            again[self._chance.choice(self._scanners)].append(Scan(number=number, shown=one))

        async def settle(scanner: Scanner) -> None:
            for scan in scanner.scans:
                await scanner.insist(scan)
            for scan in again[scanner]:
                await scanner.insist(scan)
                await scanner.verify(scan.shown)

        async with asyncio.TaskGroup() as tasks:
            for scanner in self._scanners:
                tasks.create_task(settle(scanner))

    async def _write_files(self, owner: AsyncClient, shown: Sequence[ShownPass]) -> None:
        self._journal.close()
        contents = {
            each["serialNumber"]: each
            for each in await read_passes(owner, [each.pass_id for each in shown])
        }
        facts = {
            "offer_id": self._counter.offer_id,
            "scanners": [scanner_id for scanner_id, _ in self._counter.scanners],
            "used": USED_LEVEL,
            "phones": {each.pass_id: contents[each.serial_number] for each in shown},
        }
        (self._folder / "facts.json").write_text(json.dumps(facts))


def _have_restarted(alive: Sequence[int], dead: Sequence[int]) -> bool:
    return len(set(alive) - set(dead)) >= len(dead)


def check(service: LocalService, club: Club, folder: Path) -> dict[str, object]:
    """The checker's verdict."""
    command = [sys.executable, str(CHECKER), "--folder", str(folder)]
    command += ["--database", service.database_owner_url, "--tenant", club.tenant_id]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(done.stderr)
    verdict: dict[str, object] = json.loads(done.stdout)
    return verdict


if __name__ == "__main__":
    sys.exit(main())
