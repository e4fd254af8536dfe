"""Counts what a fan-out left behind, knowing nothing of the service's code: from PostgreSQL, the
push service's log, and what the phones show.

Run as a program; prints one JSON object and exits with 1 when anything is wrong:

    python tests/faults/fanout_checker.py --folder FOLDER --database URL --tenant 4711

`FOLDER` has registrations.csv (library, token, pass_id), gone.txt (tokens that ended before the
change), pushes.csv (at, token, is_accepted, is_lost; `at` in Unix seconds), phones.json (what each
simulated phone shows), facts.json (what was wanted, and what the service says of itself).

What must hold: each registration is there and live, but those whose token had ended, of which none
is left; **each live registration's token had a push that was accepted after the last change of its
pass was committed**, by PostgreSQL's own record of commit times; no push job is left, and none was
given up; each push's end is kept with its device, and all are counted; each simulated phone shows
of each of its passes the very pass.json that PostgreSQL has the SHA-1 of.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

ACCEPTED, UNREACHABLE, TOKEN_GONE = 1, 4, 2

_PASSES = """
SELECT pass_id::text AS pass_id, encode(digest, 'hex') AS digest, signature IS NULL AS is_unsigned,
    extract(epoch FROM pg_xact_commit_timestamp(update_tag::text::xid8::xid))::float8 AS committed
FROM passes WHERE tenant_id = $1
"""
_REGISTRATIONS = """
SELECT d.device_library_identifier AS library, r.pass_id::text AS pass_id, r.remove_reason,
    r.remove_time IS NULL AS is_live, d.push_token AS token, d.push_state, d.push_reason,
    extract(epoch FROM d.push_time)::float8 AS pushed
FROM registrations r JOIN devices d USING (tenant_id, device_number) WHERE tenant_id = $1
"""
# Changes that were committed after one whose transaction got its number later.
_LATE = """
SELECT count(*) FROM (
    SELECT at, min(at) OVER (ORDER BY number DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS first_of_later
    FROM (
        SELECT DISTINCT transaction_id AS number,
            pg_xact_commit_timestamp(transaction_id::xid) AS at
        FROM outbox
        WHERE tenant_id = $1 AND kind IN ('pass.updated', 'campaign.shard_done')
    ) AS changes
) AS ordered WHERE at > first_of_later
"""


@dataclass(frozen=True, slots=True)
class Table:
    """What PostgreSQL has."""

    passes: Mapping[str, asyncpg.Record]
    registrations: Mapping[tuple[str, str], asyncpg.Record]
    counted: Mapping[int, int]
    late_commits: int
    jobs_left: int
    jobs_given_up: int
    unsigned_left: int


def main() -> int:
    """Checks, prints, gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--database", required=True, help="PostgreSQL URL of the tables' owner")
    parser.add_argument("--tenant", type=int, required=True, help="number of the tenant")
    options = parser.parse_args()
    folder: Path = options.folder
    facts = json.loads((folder / "facts.json").read_text())
    phones = json.loads((folder / "phones.json").read_text())
    gone = set((folder / "gone.txt").read_text().split())
    with (folder / "registrations.csv").open(newline="") as file:
        made = [(row["library"], row["token"], row["pass_id"]) for row in csv.DictReader(file)]
    accepted, last_push, lost = read_pushes(folder / "pushes.csv")
    table = asyncio.run(look_into(options.database, options.tenant))
    live = [each for each in made if each[1] not in gone]
    found = {
        "passes": len(table.passes),
        "registrations": len(made),
        "live_tokens": len({token for _, token, _ in live}),
        "pushes": accepted.total(),
        "pushes_lost_on_the_way": lost,
        "late_commits": table.late_commits,
        "wrong_jobs_left": table.jobs_left,
        "wrong_jobs_given_up": table.jobs_given_up,
        "wrong_unsigned": table.unsigned_left,
        "wrong_failures_on_phones": len(facts["failures"]),
        "wrong_protocol_errors": len(facts["protocol_errors"]),
        "wrong_no_late_commit": int(facts["writers"] > 0 and not table.late_commits),
        **compare_registrations(table, made, gone),
        **compare_pushes(table, live, last_push),
        **compare_phones(table, phones),
        **compare_counts(table, accepted.total(), is_exact=not facts["worker_kills"]),
        "never_pushed": describe(table, [each for each in live if each[1] not in last_push]),
        **compare_convergence(table, live, phones, facts["convergence"]),
    }
    is_right = not any(number for name, number in found.items() if name.startswith("wrong_"))
    print(json.dumps({"is_right": is_right, **found}))  # noqa: T201 - the verdict
    return 0 if is_right else 1


def read_pushes(path: Path) -> tuple[Counter[str], dict[str, float], int]:
    """How often each token's push was accepted, when for the last time, and how many were lost."""
    accepted: Counter[str] = Counter()
    last: dict[str, float] = {}
    lost = 0
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["is_accepted"] == "1":
                accepted[row["token"]] += 1
                last[row["token"]] = max(last.get(row["token"], 0.0), float(row["at"]))
                lost += row["is_lost"] == "1"
    return accepted, last, lost


async def look_into(url: str, tenant: int) -> Table:
    """Reads what there is to compare with."""
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute(f"SET passmill.tenant_id = '{tenant}'")
        passes = await connection.fetch(_PASSES, tenant)
        registrations = await connection.fetch(_REGISTRATIONS, tenant)
        counts = await connection.fetch(
            "SELECT state, sum(count)::bigint AS count FROM push_counts WHERE tenant_id = $1"
            " GROUP BY state",
            tenant,
        )
        late = await connection.fetchval(_LATE, tenant)
        left = await connection.fetchval(
            "SELECT count(*) FROM pgqueuer.pgqueuer WHERE entrypoint LIKE 'push%'"
        )
        given_up = await connection.fetchval(
            "SELECT count(DISTINCT job_id) FROM pgqueuer.pgqueuer_log"
            " WHERE entrypoint LIKE 'push%' AND status IN ('failed', 'canceled', 'deleted')"
        )
        intents = await connection.fetchval("SELECT count(*) FROM signing_intents")
    finally:
        await connection.close(timeout=5)
    return Table(
        passes={row["pass_id"]: row for row in passes},
        registrations={(row["library"], row["pass_id"]): row for row in registrations},
        counted={row["state"]: row["count"] for row in counts},
        late_commits=late,
        jobs_left=left,
        jobs_given_up=given_up,
        unsigned_left=intents + sum(row["is_unsigned"] for row in passes),
    )


def compare_registrations(
    table: Table, made: Sequence[tuple[str, str, str]], gone: set[str]
) -> dict[str, int]:
    """What was registered against the table."""
    lost = other_token = not_ended = 0
    for library, token, pass_id in made:
        row = table.registrations.get((library, pass_id))
        if token in gone:
            not_ended += row is None or row["is_live"] or row["remove_reason"] != TOKEN_GONE
        elif row is None or not row["is_live"]:
            lost += 1
        else:
            other_token += row["token"] != token
    return {
        "gone_tokens": len(gone),
        "wrong_lost_registrations": lost,
        "wrong_other_token": other_token,
        "wrong_gone_but_not_ended": not_ended,
        "wrong_unknown_registrations": len(table.registrations) - len(made),
    }


def compare_pushes(
    table: Table, live: Sequence[tuple[str, str, str]], last_push: Mapping[str, float]
) -> dict[str, int]:
    """Each live registration against the log of the push service, and what is kept of its push."""
    wrong: Counter[str] = Counter()
    for library, token, pass_id in live:
        committed = table.passes[pass_id]["committed"]
        row = table.registrations.get((library, pass_id))
        if token not in last_push:
            wrong["wrong_never_pushed"] += 1
        elif last_push[token] < committed:
            wrong["wrong_not_pushed_after_the_change"] += 1
        if row is None or row["push_state"] != ACCEPTED or row["pushed"] < committed:
            wrong["wrong_end_not_kept"] += 1
    names = ("wrong_never_pushed", "wrong_not_pushed_after_the_change", "wrong_end_not_kept")
    return {name: wrong[name] for name in names}


def describe(table: Table, missed: Sequence[tuple[str, str, str]]) -> dict[str, object]:
    """What phones that were never pushed have in common: what is kept of their push, and how many
    parts of the index and how many transactions their passes are of."""
    rows = [table.registrations.get((library, pass_id)) for library, _, pass_id in missed]
    kept = Counter(f"{row['push_state']} {row['push_reason']}" for row in rows if row is not None)
    buckets = Counter(pass_id[-2:] for _, _, pass_id in missed)
    changes = Counter(table.passes[pass_id]["committed"] for _, _, pass_id in missed)
    return {
        "kept": kept,
        "most_of_buckets": buckets.most_common(3),
        "buckets": len(buckets),
        "most_of_transactions": [count for _, count in changes.most_common(3)],
        "transactions": len(changes),
    }


def compare_phones(table: Table, phones: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """What the phones show against what there is."""
    shown = missing = stale = 0
    for phone in phones:
        missing += len(set(phone["wanted"]) ^ set(phone["passes"]))
        for pass_id, digest in phone["passes"].items():
            shown += 1
            stale += table.passes[pass_id]["digest"] != digest
    return {
        "phones": len(phones),
        "passes_on_phones": shown,
        "wrong_not_installed": missing,
        "wrong_stale_on_phones": stale,
    }


def compare_counts(table: Table, accepted: int, *, is_exact: bool) -> dict[str, int]:
    """The service's counts against the log: what came too late to be heard is counted as
    unreachable. A worker that dies counts nothing of what it just pushed, and its job is done
    again."""
    counted, unheard = table.counted.get(ACCEPTED, 0), table.counted.get(UNREACHABLE, 0)
    is_wrong = counted > accepted or (is_exact and counted + unheard < accepted)
    return {
        "pushes_counted": counted,
        "pushes_unheard": unheard,
        "wrong_count_of_pushes": abs(counted - accepted) * is_wrong,
    }


def compare_convergence(
    table: Table,
    live: Sequence[tuple[str, str, str]],
    phones: Sequence[Mapping[str, Any]],
    told: Mapping[str, int],
) -> dict[str, int]:
    """What GetConvergence says against the same, counted here."""
    held: defaultdict[str, int] = defaultdict(int)
    for _, _, pass_id in live:
        held[pass_id] += 1
    on_phones = {pass_id for phone in phones for pass_id in phone["passes"]}
    wanted = {
        **dict.fromkeys(("installed", "moved", "changed", "pushed"), len(held)),
        **dict.fromkeys(("told", "fetched", "converged"), len(on_phones)),
    }
    return {
        f"wrong_convergence_{name}": abs(number - told[name]) for name, number in wanted.items()
    }


if __name__ == "__main__":
    sys.exit(main())
