"""Changes the code that decides over money, offers, claims and rights in thousands of ways, one at
a time, and has the tests look: at least 85 % of the changes must make one fail.

Run by `make mutants-python`:

    python -m tests.mutation.run build/tools/mutmut ledger auth --sample 300

The changes are mutmut's. One PostgreSQL and one Valkey stand beside for all of them. What was
missed is listed below build/mutants-python, with what each change was; why it may stay is said in
tests/MUTANTS.md. Exits with 1 when an area has less than 85 %, or a test failed by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from passmill.embedded import EmbeddedServers
from tests.mutation.areas import AREAS
from tests.mutation.changes import Kind
from tests.mutation.results import Change, Outcome, changes
from tests.mutation.staging import ROOT, stage
from tests.support.postgres import Databases

BUILD: Final = ROOT / "build" / "mutants-python"
LEAST: Final = 85
# Changes that change nothing, tried before the others: one that is noticed is a false alarm.
_CONTROLS: Final = 4
_TRIED: Final = set(Outcome) - {Outcome.UNTRIED}


def main() -> int:
    """Runs the areas one after the other."""
    options = _options()
    failed = [each for each in options.areas or AREAS if not asyncio.run(_run(each, options))]
    if failed:
        _say(f"== less than {LEAST} %, or false alarms: {' '.join(failed)}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", type=Path, help="the folder that mutmut was put into")
    parser.add_argument("areas", nargs="*", choices=[*AREAS, []], help="all unless named")
    parser.add_argument("--sample", type=int, help="so many changes of each area, by chance")
    parser.add_argument("--seed", type=int, default=1, help="of that chance")
    parser.add_argument("--again", action="store_true", help="only what was missed, after a change")
    parser.add_argument("--more", action="store_true", help="only what was not tried yet")
    parser.add_argument("--report", action="store_true", help="nothing is tried, only counted")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--test-seconds", type=int, default=120, help="a test that hangs fails")
    return parser.parse_args()


async def _run(name: str, options: argparse.Namespace) -> bool:
    area, folder = AREAS[name], BUILD / name
    _say(f"== {name}: {', '.join(area.sources)}")
    if not (options.again or options.more or options.report):
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    stage(folder, area, seconds_a_test=options.test_seconds)
    _mutmut(folder, options, "generate", os.environ)
    made = list(changes(folder, area))
    counted = [each for each in made if each.kind is Kind.CODE]
    chosen = _chosen(_sample(made, options), options)
    _say(f"== {len(made)} changes, {len(counted)} counted, {len(chosen)} to try")
    if chosen and not options.report:
        async with EmbeddedServers() as servers:
            databases = Databases(url=servers.database_url, owner_url=servers.owner_url)
            template = await databases.create()
            environment = {
                **os.environ,
                "HYPOTHESIS_PROFILE": "mutation",
                "PASSMILL_DATABASE_URL": servers.database_url,
                "PASSMILL_DATABASE_OWNER_URL": servers.owner_url,
                "PASSMILL_REDIS_URL": servers.redis_url,
                "PASSMILL_TEST_TEMPLATE": template.name,
            }
            controls = [each for each in made if each.kind is Kind.SQL_CASE][:_CONTROLS]
            names = [each.name for each in (*controls, *chosen)]
            await asyncio.to_thread(_mutmut, folder, options, "run", environment, names)
    return _report(name, folder, list(changes(folder, area)), options)


def _sample(made: Sequence[Change], options: argparse.Namespace) -> Sequence[Change]:
    """By chance, but the same for a seed, and in such an order that a larger sample holds the
    smaller, whatever else is changed in the code."""

    def lot(change: Change) -> bytes:
        return hashlib.sha256(f"{options.seed} {change.name}".encode()).digest()

    return sorted((each for each in made if each.kind is Kind.CODE), key=lot)[: options.sample]


def _chosen(wanted: Sequence[Change], options: argparse.Namespace) -> Sequence[Change]:
    if options.again:
        return [each for each in wanted if each.outcome in _TRIED - {Outcome.CAUGHT}]
    return [each for each in wanted if each.outcome not in _TRIED] if options.more else wanted


def _mutmut(
    folder: Path,
    options: argparse.Namespace,
    command: str,
    environment: Mapping[str, str],
    names: Sequence[str] = (),
) -> None:
    tools, children = options.tools.absolute(), str(options.children)
    log = folder / f"{command}.log"
    _say(f"   {command}: {log.relative_to(ROOT)}")
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            [sys.executable, "-m", "tests.mutation.tool", tools, command, children],
            cwd=folder,
            env=environment,
            input="\n".join(names),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"mutmut failed: see {log.relative_to(ROOT)}")


def _report(name: str, folder: Path, made: Sequence[Change], options: argparse.Namespace) -> bool:
    tried = [each for each in _sample(made, options) if each.outcome in _TRIED]
    caught = [each for each in tried if each.outcome is Outcome.CAUGHT]
    for source, count in collections.Counter(each.source for each in tried).items():
        of_it = sum(each.source == source for each in caught)
        _say(f"   {100 * of_it / count:5.1f} %  {of_it:4} of {count:4}  {source}")
    left_out = collections.Counter(each.kind.value for each in made if each.kind is not Kind.CODE)
    missed = folder / "missed.txt"
    missed.write_text(
        "\n\n".join(
            f"{each.source} {each.function} ({each.outcome.value})\n{each.name}\n{each.diff}"
            for each in tried
            if each.outcome is not Outcome.CAUGHT
        ),
        "utf-8",
    )
    controls = [each for each in made if each.kind is Kind.SQL_CASE and each.outcome in _TRIED]
    alarms = sum(each.outcome is Outcome.CAUGHT for each in controls)
    _say(f"   {alarms} of {len(controls)} changes that change nothing were noticed; should be 0")
    share = 100 * len(caught) / max(len(tried), 1)
    counted = sum(each.kind is Kind.CODE for each in made)
    _say(
        f"== {name}: {len(caught)} of {len(tried)} changes noticed, {share:.1f} % (of {counted}"
        f" made; left out: {dict(left_out)}); the others: {missed.relative_to(ROOT)}"
    )
    return not alarms and len(tried) > 0 and 100 * len(caught) >= LEAST * len(tried)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
