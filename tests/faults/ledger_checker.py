"""Counts what tills left behind in a ledger, knowing nothing of the service's code: from the list
of what they were answered, and the tables.

Run as a program; prints one JSON object and exits with 1 when anything is wrong:

    python tests/faults/ledger_checker.py --answers answers.tsv --database URL --tenant 4711

A line of the list: key, pass, unit, amount, answer, by tabs. The answer is `posted`, `refused`, or
`unknown` when nobody waited for it. What must hold: the entries of each account and unit are
numbered from 1, and each goes on where the one before ended; the balance is the sum of them, what
was earned the sum of what was, what is held that of the open holds; nothing is below zero; no key
has two entries, and none an entry that nobody asked for; what was posted is there as it was
answered, what was refused is not, what is unknown is one or the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

# The protocol's numbers.
_EARN, _REVERSAL = 1, 5
_OPEN = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What a till asked for under a key, and what it was told. `amount`: as it would be posted;
    None where only the answer would have said it."""

    account: str
    unit: str
    amount: int | None
    answer: str


@dataclass(slots=True)
class _Sums:
    """An account and unit, as its entries say."""

    sequence: int = 0
    balance: int = 0
    earned: int = 0


@dataclass(slots=True, kw_only=True)
class Found:
    """What was counted; `wrong` by kind."""

    entries: int = 0
    accounts: int = 0
    posted: int = 0
    refused: int = 0
    unknown: int = 0
    unknown_posted: int = 0
    total: int = 0
    wrong: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """For printing."""
        return {
            "is_right": not self.wrong,
            "wrong": dict(self.wrong),
            "entries": self.entries,
            "accounts": self.accounts,
            "answered_posted": self.posted,
            "answered_refused": self.refused,
            "unknown": self.unknown,
            "unknown_posted": self.unknown_posted,
            "sum_of_entries": self.total,
        }


def main() -> int:
    """Checks, prints, gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=Path, required=True, help="what tills were told")
    parser.add_argument("--database", required=True, help="PostgreSQL URL of the tables' owner")
    parser.add_argument("--tenant", type=int, required=True, help="number of the tenant")
    options = parser.parse_args()
    found = asyncio.run(check(options.database, options.tenant, read_answers(options.answers)))
    print(json.dumps(found.as_json()))  # noqa: T201 - the result
    return 0 if not found.wrong else 1


def read_answers(path: Path) -> dict[str, Answer]:
    """The list, by key."""
    answers = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            key, account, unit, amount, answer = line.rstrip("\n").split("\t")
            answers[key] = Answer(account, unit, int(amount) if amount else None, answer)
    return answers


async def check(url: str, tenant: int, answers: Mapping[str, Answer] | None) -> Found:
    """Counts. `answers`: None to look at the tables alone."""
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute(f"SET passmill.tenant_id = '{int(tenant)}'")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            found = Found()
            sums, seen = await _walk_entries(connection, found, answers)
            await _compare_balances(connection, found, sums)
    finally:
        await connection.close(timeout=5)
    for key, answer in (answers or {}).items():
        if answer.answer == "posted":
            found.posted += 1
            found.wrong["posted_but_gone"] += key not in seen
        elif answer.answer == "refused":
            found.refused += 1
            found.wrong["refused_but_there"] += key in seen
        else:
            found.unknown += 1
            found.unknown_posted += key in seen
    found.wrong = +found.wrong
    return found


async def _walk_entries(
    connection: asyncpg.Connection, found: Found, answers: Mapping[str, Answer] | None
) -> tuple[dict[tuple[str, str], _Sums], set[str]]:
    sums: dict[tuple[str, str], _Sums] = {}
    seen: set[str] = set()
    kinds = {
        row["entry_id"]: row["kind"]
        for row in await connection.fetch(
            "SELECT entry_id, kind FROM ledger_entries WHERE entry_id IN"
            " (SELECT reversed_entry_id FROM ledger_entries WHERE reversed_entry_id IS NOT NULL)"
        )
    }
    reversed_once: Counter[object] = Counter()
    async for row in connection.cursor(
        "SELECT account_id, unit, sequence, kind, amount, balance_after, request_id,"
        " reversed_entry_id FROM ledger_entries ORDER BY account_id, unit, sequence, balance_after"
    ):
        found.entries += 1
        found.total += row["amount"]
        key, account = str(row["request_id"]), str(row["account_id"])
        here = sums.setdefault((account, row["unit"]), _Sums())
        found.wrong["out_of_sequence"] += row["sequence"] != here.sequence + 1
        found.wrong["not_the_sum"] += row["balance_after"] != here.balance + row["amount"]
        found.wrong["negative"] += row["balance_after"] < 0
        found.wrong["key_twice"] += key in seen
        seen.add(key)
        here.sequence, here.balance = row["sequence"], row["balance_after"]
        reversed_id = row["reversed_entry_id"]
        if row["kind"] == _EARN or kinds.get(reversed_id) == _EARN:
            here.earned += row["amount"]
        if row["kind"] == _REVERSAL:
            reversed_once[reversed_id] += 1
        if answers is not None:
            _compare_answer(found, answers.get(key), account, row)
    found.wrong["reversed_twice"] += sum(count > 1 for count in reversed_once.values())
    found.accounts = len(sums)
    return sums, seen


def _compare_answer(found: Found, answer: Answer | None, account: str, row: asyncpg.Record) -> None:
    if answer is None:
        found.wrong["nobody_asked"] += 1
        return
    is_other = (answer.account, answer.unit) != (account, row["unit"])
    is_other |= answer.amount not in (None, row["amount"])
    found.wrong["not_what_was_asked"] += is_other


async def _compare_balances(
    connection: asyncpg.Connection, found: Found, sums: Mapping[tuple[str, str], _Sums]
) -> None:
    held = {
        (str(row["account_id"]), row["unit"]): row["amount"]
        for row in await connection.fetch(
            "SELECT account_id, unit, sum(amount)::bigint AS amount FROM holds"
            " WHERE state = $1 GROUP BY account_id, unit",
            _OPEN,
        )
    }
    missing = set(sums)
    for row in await connection.fetch(
        "SELECT account_id, unit, version, balance, held, earned FROM balances"
    ):
        place = (str(row["account_id"]), row["unit"])
        here = sums.get(place, _Sums())
        missing.discard(place)
        found.wrong["balance_is_not_the_sum"] += row["balance"] != here.balance
        found.wrong["version_is_not_the_count"] += row["version"] != here.sequence
        found.wrong["earned_is_not_the_sum"] += row["earned"] != here.earned
        found.wrong["held_is_not_the_sum"] += row["held"] != held.get(place, 0)
        found.wrong["negative"] += row["balance"] < 0 or row["held"] > row["balance"]
    found.wrong["without_balance"] += len(missing)


if __name__ == "__main__":
    sys.exit(main())
