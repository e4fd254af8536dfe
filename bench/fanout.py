"""How quickly changes find the phones: the fan-out index filled from PostgreSQL, and asked.

Run by `make bench`, or `python bench/fanout.py [--json] [--registrations N]`: registrations of one
tenant (two passes of three devices, one of one) on a PostgreSQL and a Valkey of its own. All
buckets are filled; then a campaign's worth of passes is looked up, 5,000 at a time, one look-up
after the other in one process: by the index, and by PostgreSQL alone. Both must find the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import asyncpg
from prometheus_client import CollectorRegistry

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.ids import TenantId
from passmill.embedded import EmbeddedServers
from passmill.push.redis_link import open_redis
from passmill.push.registration_index import RegistrationIndex
from passmill.store import fan_out
from passmill.store.database import Database, open_database
from passmill.store.migrate import migrate
from passmill.telemetry.push_metrics import PushMetrics
from passmill.usecases.rebuild_index import RebuildIndex
from passmill.usecases.resolve_devices import ResolveDevices

WANTED_REBUILD_SECONDS, WANTED_TOKENS = 60, 100_000
TENANT = TenantId(7)
BATCH = 5_000
_INSERT = """
WITH passes AS (
    SELECT n, gen_random_uuid() AS pass_id, CASE WHEN n % 3 = 0 THEN 1 ELSE 3 END AS devices
    FROM generate_series($3::int, $4::int) AS n
), made AS (
    SELECT pass_id, get_byte(uuid_send(pass_id), 15) AS bucket, n::bigint * 4 + each AS number
    FROM passes, generate_series(1, devices) AS each
), written AS (
    INSERT INTO devices (tenant_id, device_number, pass_type_identifier,
        device_library_identifier, push_token, wallet, system_version, token_time, create_time,
        last_seen_time, listed_tag)
    SELECT $1, number, 'pass.example.bench', md5(number::text),
        encode(sha256(number::text::bytea), 'hex'), 1, 'Darwin/24.1.0', now(), now(), now(), 0
    FROM made
)
INSERT INTO registrations (tenant_id, device_number, pass_id, bucket, tag, template_id, create_time)
SELECT $1, number, pass_id, bucket, pg_current_xact_id()::text::bigint, $2, now() FROM made
RETURNING pass_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is measured on."""

    database: Database
    rebuild: RebuildIndex
    resolve: ResolveDevices
    pass_ids: Sequence[bytes]
    registrations: int


async def fill(url: str, registrations: int) -> list[bytes]:
    """Writes the registrations, some thousand a transaction as devices come one by one; gives the
    passes."""
    connection = await asyncpg.connect(url)
    found: dict[bytes, None] = {}
    written = 0
    first, step = 1, 3_000
    try:
        await connection.execute(f"SET passmill.tenant_id = '{TENANT}'")
        while written < registrations:
            rows = await connection.fetch(
                _INSERT, TENANT, _template(), first, first + step - 1, timeout=60
            )
            found.update(dict.fromkeys(row["pass_id"].bytes for row in rows))
            written += len(rows)
            first += step
    finally:
        await connection.close()
    return list(found)


async def analyse(owner_url: str) -> None:
    """Lets PostgreSQL know its tables, as it does by itself a minute later."""
    connection = await asyncpg.connect(owner_url)
    try:
        await connection.execute("ANALYZE registrations, devices")
    finally:
        await connection.close()


async def rebuild_seconds(bench: Bench) -> float:
    """Seconds to fill the index with all there is."""
    began = time.perf_counter()
    filled = 0
    async for _, _, registrations in bench.rebuild.everything():
        filled = registrations
    if filled < bench.registrations:
        raise AssertionError(f"only {filled} of {bench.registrations} registrations were filled in")
    return time.perf_counter() - began


async def tokens_per_second(
    look_up: Callable[[Caller, Sequence[bytes]], Awaitable[Mapping[bytes, Sequence[int]]]],
    batches: Sequence[Sequence[bytes]],
) -> tuple[float, int]:
    """Tokens found a second, and how many in all."""
    found = 0
    began = time.perf_counter()
    for batch in batches:
        found += len(await look_up(_caller(), batch))
    return found / (time.perf_counter() - began), found


async def measure(bench: Bench, *, rounds: int) -> dict[str, object]:
    """Fills, then both ways of looking up in turns."""
    seconds = await rebuild_seconds(bench)

    async def by_database(caller: Caller, pass_ids: Sequence[bytes]) -> Mapping[bytes, list[int]]:
        async with bench.database.statement(caller) as tx:
            rows = await fan_out.read_tokens_of_passes(tx, pass_ids)
        return {bytes.fromhex(token): [number] for number, token in rows}

    rates, database_rates = [], []
    chosen = random.Random(1)  # noqa: S311 - which passes, no secret
    for _ in range(rounds):
        sample = chosen.sample(bench.pass_ids, min(len(bench.pass_ids), 10 * BATCH))
        batches = [sample[start : start + BATCH] for start in range(0, len(sample), BATCH)]
        rate, found = await tokens_per_second(bench.resolve, batches)
        database_rate, wanted = await tokens_per_second(by_database, batches)
        if found != wanted:
            raise AssertionError(f"the index finds {found} tokens, PostgreSQL {wanted}")
        rates.append(rate)
        database_rates.append(database_rate)
    single = statistics.median(
        [await _seconds(bench, [chosen.choice(bench.pass_ids)]) for _ in range(200)]
    )
    rate, database_rate = statistics.median(rates), statistics.median(database_rates)
    return {
        "bench": "fanout",
        "registrations": bench.registrations,
        "rebuild_s": round(seconds, 1),
        "tokens_per_s": round(rate),
        "database_tokens_per_s": round(database_rate),
        "vs_database": round(rate / database_rate, 2),
        "single_look_up_ms": round(1000 * single, 2),
    }


async def run(registrations: int, rounds: int) -> dict[str, object]:
    """The whole bench."""
    metrics = PushMetrics(CollectorRegistry())
    async with EmbeddedServers() as servers:
        await migrate(servers.owner_url)
        pass_ids = await fill(servers.database_url, registrations)
        await analyse(servers.owner_url)
        async with (
            open_database(servers.database_url, min_connections=1, max_connections=8) as database,
            open_redis(
                servers.redis_url, is_cluster=False, timeout_seconds=5.0, metrics=metrics
            ) as link,
        ):
            index = RegistrationIndex(link)
            rebuild = RebuildIndex(database=database, index=index, metrics=metrics)
            resolve = ResolveDevices(
                database=database, index=index, rebuild=rebuild, metrics=metrics
            )
            return await measure(
                Bench(
                    database=database,
                    rebuild=rebuild,
                    resolve=resolve,
                    pass_ids=pass_ids,
                    registrations=registrations,
                ),
                rounds=rounds,
            )


def main() -> None:
    """Runs the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON line")
    parser.add_argument("--registrations", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = asyncio.run(run(options.registrations, options.rounds))
    if not options.json:
        print(
            f"{found['registrations']:,} registrations: filled in {found['rebuild_s']} s (wanted:"
            f" {WANTED_REBUILD_SECONDS}), {found['tokens_per_s']:,} tokens/s (wanted:"
            f" {WANTED_TOKENS:,}), {found['vs_database']} x PostgreSQL's own"
        )
    print(json.dumps(found))


async def _seconds(bench: Bench, pass_ids: Sequence[bytes]) -> float:
    began = time.perf_counter()
    await bench.resolve(_caller(), pass_ids)
    return time.perf_counter() - began


def _caller() -> Caller:
    return internal_caller(TENANT, deadline=asyncio.get_running_loop().time() + 60)


def _template() -> str:
    return f"00000000-0000-7000-8000-{secrets.token_hex(6)}"


if __name__ == "__main__":
    main()
