"""Counts what a rush at the counter left behind, knowing nothing of the service's code: from
PostgreSQL, the scanners' journal, and what phones show.

Run as a program; prints one JSON object and exits with 1 when anything is wrong:

    python tests/faults/counter_checker.py --folder FOLDER --database URL --tenant 4711

`FOLDER` has journal.ndjson (each try of each scanner: what it asked, when, and what it heard) and
facts.json (the offer, the scanners, the pass.json of each pass as phones get it in the end).

What must hold: **of each pass one redemption stands**, and it was asked for by one of the scans of
that pass, at that scanner; that scan heard "accepted", and **each of its tries that was answered
heard the same to the byte**; **all other scans heard when the pass was first used**, each the same
whenever it asked; nobody heard of a use that was not asked for yet, nor was a pass valid to anybody
who asked after the use had been told; each pass shows its use, and one event tells of it; no call
failed but for a server that was away; PostgreSQL saw no deadlock, and no transaction was left open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

Try: TypeAlias = Mapping[str, Any]

# What a server that is killed is excused for.
_EXCUSED = frozenset({"UNAVAILABLE"})
_SAME_MOMENT = 0.001  # seconds; clocks are read before and after what they date

_REDEMPTIONS = """
SELECT redemption_id::text, pass_id::text, scanner_id::text, staff, use_number,
    extract(epoch FROM scan_time)::float8 AS scan_time
FROM redemptions WHERE tenant_id = $1 AND offer_id = $2::uuid AND reverse_time IS NULL
"""
_EVENTS = """
SELECT pass_ids[1]::text AS pass_id, detail ->> 'redemption_id' AS redemption_id FROM outbox
WHERE tenant_id = $1 AND kind = 'pass.redeemed'
"""
_OPEN = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND state LIKE 'idle in transaction%' AND xact_start < clock_timestamp() - interval '5 s'
"""


@dataclass(frozen=True, slots=True)
class Table:
    """What PostgreSQL has."""

    redemptions: Sequence[asyncpg.Record]
    events: Sequence[asyncpg.Record]
    deadlocks: int
    left_open: int


@dataclass(frozen=True, slots=True)
class Scan:
    """All tries of one scan."""

    tries: Sequence[Try]

    @property
    def began(self) -> float:
        """When it was first asked for."""
        return min(float(each["began"]) for each in self.tries)

    @property
    def answers(self) -> Sequence[Try]:
        """The tries that were answered."""
        return [each for each in self.tries if each["end"] == "answered"]

    @property
    def is_accepted(self) -> bool:
        """Whether any answer said so."""
        return any(each["is_accepted"] for each in self.answers)


def main() -> int:
    """Checks, prints, gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--database", required=True, help="PostgreSQL URL of the tables' owner")
    parser.add_argument("--tenant", type=int, required=True, help="number of the tenant")
    options = parser.parse_args()
    folder: Path = options.folder
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    with (folder / "journal.ndjson").open(encoding="utf-8") as file:
        journal = [json.loads(line) for line in file]
    table = asyncio.run(look_into(options.database, options.tenant, facts["offer_id"]))
    scans = scans_of(journal)
    of_pass: defaultdict[str, list[Scan]] = defaultdict(list)
    for scan in scans.values():
        of_pass[scan.tries[0]["pass_id"]].append(scan)
    winners = {row["pass_id"]: row for row in table.redemptions}
    found = {
        "passes": len(facts["phones"]),
        "scans": len(scans),
        "redemptions": len(table.redemptions),
        "wrong_deadlocks": table.deadlocks,
        "wrong_left_open": table.left_open,
        **count_tries(journal),
        **compare_redemptions(table, scans, facts),
        **compare_answers(of_pass, winners, facts["phones"]),
        **compare_order(journal, of_pass, winners),
        **compare_events(table),
        "wrong_looks": sum(
            not shows(content, facts["used"]) for content in facts["phones"].values()
        ),
    }
    is_right = not any(number for name, number in found.items() if name.startswith("wrong_"))
    print(json.dumps({"is_right": is_right, **found}))  # noqa: T201 - the verdict
    return 0 if is_right else 1


async def look_into(url: str, tenant: int, offer_id: str) -> Table:
    """Reads what there is to compare with."""
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute(f"SET passmill.tenant_id = '{tenant}'")
        return Table(
            redemptions=await connection.fetch(_REDEMPTIONS, tenant, offer_id),
            events=await connection.fetch(_EVENTS, tenant),
            deadlocks=await connection.fetchval(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            ),
            left_open=await connection.fetchval(_OPEN),
        )
    finally:
        await connection.close(timeout=5)


def scans_of(journal: Iterable[Try]) -> dict[str, Scan]:
    """The scans by the name that they told the service."""
    tries: defaultdict[str, list[Try]] = defaultdict(list)
    for each in journal:
        if each["kind"] == "redeem":
            tries[each["staff"]].append(each)
    return {staff: Scan(some) for staff, some in tries.items()}


def count_tries(journal: Sequence[Try]) -> dict[str, object]:
    """How tries ended."""
    ends = Counter(each["end"] for each in journal)
    failures = Counter(each["reason"] for each in journal if each["end"] in {"failed", "refused"})
    inexcusable = {name: count for name, count in failures.items() if name not in _EXCUSED}
    return {
        "answered": ends["answered"],
        "cancelled": ends["cancelled"],
        "failed": sum(failures.values()),
        "failures": failures,
        "wrong_failures": sum(inexcusable.values()),
    }


def compare_redemptions(
    table: Table, scans: Mapping[str, Scan], facts: Mapping[str, Any]
) -> dict[str, int]:
    """What stands against what was asked for."""
    held = Counter(row["pass_id"] for row in table.redemptions)
    unknown = not_the_first = untimely = 0
    for row in table.redemptions:
        scan = scans.get(row["staff"])
        asked = scan.tries[0] if scan is not None else {"pass_id": None, "scanner": 0}
        scanner_id = facts["scanners"][asked["scanner"]]
        unknown += (asked["pass_id"], scanner_id) != (row["pass_id"], row["scanner_id"])
        not_the_first += row["use_number"] != 1
        untimely += scan is not None and row["scan_time"] < scan.began - _SAME_MOMENT
    return {
        "wrong_redeemed_twice": sum(count > 1 for count in held.values()),
        "wrong_not_redeemed": len(set(facts["phones"]) - set(held)),
        "wrong_unknown_redemptions": unknown,
        "wrong_use_numbers": not_the_first,
        "wrong_before_it_was_asked": untimely,
    }


def compare_answers(
    of_pass: Mapping[str, Sequence[Scan]],
    winners: Mapping[str, asyncpg.Record],
    phones: Mapping[str, object],
) -> dict[str, int]:
    """What scanners heard against what stands, and against what they heard before."""
    wrong: Counter[str] = Counter()
    won_unheard = 0
    for pass_id in phones:
        scans = of_pass.get(pass_id, ())
        wins = [scan for scan in scans if scan.is_accepted]
        wrong["accepted_twice"] += len(wins) > 1
        wrong["never_accepted"] += not wins
        won_unheard += sum(is_unheard(scan, winners.get(pass_id)) for scan in wins)
        for scan in scans:
            wrong["unanswered"] += not scan.answers
            wrong["retries"] += len({each["digest"] for each in scan.answers}) > 1
            wrong["answers"] += sum(not fits(each, winners.get(pass_id)) for each in scan.answers)
    names = ("accepted_twice", "never_accepted", "unanswered", "retries", "answers")
    return {"won_unheard": won_unheard, **{f"wrong_{name}": wrong[name] for name in names}}


def is_unheard(scan: Scan, winner: asyncpg.Record | None) -> bool:
    """Whether the use was taken by a try that was not answered, so that a later one told of it."""
    first_heard = min(float(each["began"]) for each in scan.answers)
    return (
        winner is not None
        and winner["staff"] == scan.tries[0]["staff"]
        and winner["scan_time"] < first_heard - _SAME_MOMENT
    )


def fits(answer: Try, winner: asyncpg.Record | None) -> bool:
    """Whether an answer tells of the one redemption that stands."""
    if winner is None:
        return False
    tells_of_first = bool(
        answer["first_use_id"] == winner["redemption_id"]
        and abs(answer["first_use_time"] - winner["scan_time"]) < _SAME_MOMENT
        and answer["uses"] == 1
        and answer["state"] == "SCAN_STATE_USED_UP"
    )
    if not answer["is_accepted"]:
        return tells_of_first and bool(answer["reason"] == "REFUSAL_REASON_ALREADY_REDEEMED")
    return bool(
        tells_of_first
        and answer["redemption_id"] == winner["redemption_id"]
        and answer["staff"] == winner["staff"]
    )


def compare_order(
    journal: Sequence[Try],
    of_pass: Mapping[str, Sequence[Scan]],
    winners: Mapping[str, asyncpg.Record],
) -> dict[str, int]:
    """Nobody hears of a use before it was asked for; no pass is good once its use was told."""
    asked: dict[str, float] = {}
    told: dict[str, float] = {}
    for pass_id, scans in of_pass.items():
        if pass_id in winners:
            asked[pass_id] = min(
                (scan.began for scan in scans if scan.is_accepted), default=float("inf")
            )
            told[pass_id] = min(
                (each["ended"] for scan in scans for each in scan.answers), default=float("inf")
            )
    early = late = verified = 0
    for each in journal:
        if each["end"] != "answered" or each["pass_id"] not in asked:
            continue
        is_used = each["kind"] == "redeem" or each["state"] == "SCAN_STATE_USED_UP"
        verified += each["kind"] == "verify"
        early += is_used and each["ended"] < asked[each["pass_id"]]
        late += not is_used and (
            each["began"] > told[each["pass_id"]] or each["state"] != "SCAN_STATE_VALID"
        )
    return {"verified": verified, "wrong_heard_early": early, "wrong_valid_after_use": late}


def compare_events(table: Table) -> dict[str, int]:
    """One event a redemption."""
    told = Counter((row["pass_id"], row["redemption_id"]) for row in table.events)
    stand = Counter((row["pass_id"], row["redemption_id"]) for row in table.redemptions)
    return {"wrong_events": ((told - stand) + (stand - told)).total()}


def shows(content: object, text: str) -> bool:
    """Whether any field of a pass.json has this value."""
    match content:
        case dict():
            return content.get("value") == text or any(
                shows(each, text) for each in content.values()
            )
        case list():
            return any(shows(each, text) for each in content)
        case _:
            return False


if __name__ == "__main__":
    sys.exit(main())
