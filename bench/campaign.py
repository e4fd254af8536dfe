"""A campaign from a CSV file to signed passes in PostgreSQL, as an operator runs it.

Run by `make bench`, or `python bench/campaign.py [--json] [--count N]`; bench/README.md says how
each number comes about. The service is a whole one on this machine: embedded PostgreSQL that waits
for the disk, API and worker processes; recipients go in through `passmill campaign import`.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from passmill._signer import PreparedRevision, SigningIdentity, sign_batch
from passmill.demo.club import Club, set_up
from passmill.dev import coffee_club
from passmill.dev.authority import ThrowawayAuthority
from passmill.dev.local_service import LocalService
from passmill.domain.apple import PassData, RevisionPins, encode_pass_data, write_document
from passmill.domain.apple.static_files import static_files
from passmill.domain.assets import asset_id_of
from passmill.domain.values import Slot
from passmill.rpc.convert_template import content_from_proto
from passmill.telemetry.logging import configure_logging
from passmill_client import Client, messages

WANTED_RATE, WANTED_SHARE, WANTED_EVENNESS = 12_000, 0.45, 0.85
WANTED_RSS_MIB, WANTED_BYTES = 700, 800
BATCH = 5_000
ROUNDS = 5
NOTE = "note"
# What a campaign leaves in the database: the passes, and what is kept of the recipients.
PASS_TABLES = ("passes", "pass_external_ids", "signing_intents", "outbox", "claim_links")
CAMPAIGN_TABLES = ("recipient_chunks", "recipient_failures", "campaign_shards")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One campaign: how many passes, and how long from its start to its last pass, and the import
    before. `bytes_per_pass`: of the passes with their indexes; `bytes_kept`: of everything."""

    count: int
    seconds: float
    import_seconds: float
    bytes_per_pass: float
    bytes_kept: float

    @property
    def rate(self) -> float:
        """Passes a second."""
        return self.count / self.seconds


def card(images: coffee_club.Images) -> messages.TemplateContent:
    """The demo's coffee card with a line of text more, so that values are of some 150 bytes."""
    content = coffee_club.card_content(images)
    content.slots.append(
        messages.Slot(name=NOTE, type=messages.SLOT_TYPE_TEXT, description="A line for the holder.")
    )
    content.fields.append(
        messages.Field(
            position=messages.FIELD_POSITION_BACK, key=NOTE, label="For you", value=f"{{{NOTE}}}"
        )
    )
    return content


def values(number: int) -> dict[str, object]:
    """A recipient's values in their stored form: some 150 bytes."""
    return {
        "balance": [1250 + number % 5000, coffee_club.CURRENCY],
        "level": ("Regular", "Silver", "Gold")[number % 3],
        "member_since": "2024-03-01T09:00:00+00:00",
        NOTE: f"Your {number % 40}th free cup waits until spring, Zoë",
        "points": number % 2000,
    }


def write_recipients(path: Path, count: int) -> None:
    """The CSV file that is imported."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["external_id", "name", "phone", "balance", "level", "member_since", NOTE, "points"]
        )
        seed = random.Random(count)  # noqa: S311 - invented people
        for number in range(count):
            stored = values(number)
            minor_units = 1250 + number % 5000
            writer.writerow(
                [
                    f"M{number:08}",
                    f"Zoë Ōtani {seed.randrange(10**6)}",
                    f"+1206{5_550_000 + number % 10_000_000:07}",
                    f"{minor_units // 100}.{minor_units % 100:02} {coffee_club.CURRENCY}",
                    stored["level"],
                    stored["member_since"],
                    stored[NOTE],
                    stored["points"],
                ]
            )


def sign_alone() -> float:
    """What `sign_batch` does with the same card on all cores, in passes a second: the median of
    some rounds of a shard each."""
    files = {(each.role, each.scale): each.file for each in coffee_club.draw_images()}
    content = content_from_proto(card({key: asset_id_of(file) for key, file in files.items()}))
    pins = RevisionPins(
        pass_type_identifier=coffee_club.PASS_TYPE_IDENTIFIER,
        team_identifier=coffee_club.TEAM_IDENTIFIER,
        web_service_url=None,
    )
    prepared = PreparedRevision(
        static_files(content, {asset_id_of(file): file for file in files.values()}),
        write_document(content, pins),
    )
    now = datetime.now(UTC).replace(microsecond=0)
    lines = b"".join(shard_lines(content.slots))
    identity, times = make_identity(now), [int(now.timestamp())] * BATCH
    rates = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        sign_batch(prepared, lines, identity, times)
        rates.append(BATCH / (time.perf_counter() - began))
    return statistics.median(rates)


def shard_lines(slots: Sequence[Slot]) -> Iterator[bytes]:
    """A shard of passes as the signer takes them."""
    for number in range(BATCH):
        stored = json.dumps(values(number), ensure_ascii=False, separators=(",", ":"))
        yield encode_pass_data(
            PassData(
                serial_number=f"{number:026}",
                authentication_token=secrets.token_urlsafe(24),
                reference_id="K7M3-Q8TX",
                holder_name=f"Zoë Ōtani {number}",
                holder_phone=f"+1206555{number:04}",
            ),
            stored,
        )


def make_identity(now: datetime) -> SigningIdentity:
    """A throw-away signing identity with an RSA-2048 key."""
    authority = ThrowawayAuthority(now=now)
    certificate = authority.issue_pass_certificate(
        now=now,
        pass_type_identifier=coffee_club.PASS_TYPE_IDENTIFIER,
        team_identifier=coffee_club.TEAM_IDENTIFIER,
        organization=coffee_club.ORGANIZATION,
    )
    return SigningIdentity.from_pkcs12(
        certificate.pkcs12("bench"),
        password="bench",  # noqa: S106 - protects nothing
        intermediates=[authority.wwdr_pem],
        now=int(now.timestamp()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A service to load, and who loads it. `more`: options of the import."""

    service: LocalService
    club: Club
    template_id: str
    folder: Path
    more: Sequence[str]

    def run(self, count: int) -> Run:
        """One campaign of `count` recipients, from the file to the last pass."""
        path = self.folder / f"recipients-{count}.csv"
        write_recipients(path, count)
        before = asyncio.run(self._sizes())
        began = time.monotonic()
        arguments = ("--template", self.template_id, "--no-start", *self.more)
        self._command("import", str(path), *arguments)
        import_seconds = time.monotonic() - began
        path.unlink()
        with Client(self.service.api_address, self.club.issue_key) as client:
            campaign = next(client.list_campaigns())
            client.start_campaign(campaign.campaign_id)
            ended = watch(client, campaign.campaign_id)
        after = asyncio.run(self._sizes())
        if ended.progress.succeeded != count:
            raise SystemExit(f"{ended.progress.succeeded} of {count} passes were issued:\n{ended}")
        return Run(
            count=count,
            seconds=(ended.end_time.ToDatetime() - ended.start_time.ToDatetime()).total_seconds(),
            import_seconds=import_seconds,
            bytes_per_pass=(after[0] - before[0]) / count,
            bytes_kept=(after[1] - before[1]) / count,
        )

    def _command(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "passmill", "campaign", *arguments],
            env=os.environ
            | {
                "PASSMILL_ADDRESS": self.service.api_address,
                "PASSMILL_API_KEY": self.club.issue_key,
            },
            stdout=sys.stderr,
            check=True,
        )

    async def _sizes(self) -> tuple[int, int]:
        """Bytes of the passes with their indexes, and of everything a campaign leaves."""
        connection = await asyncpg.connect(self.service.database_owner_url)
        try:
            sizes = {
                name: await connection.fetchval("SELECT pg_total_relation_size($1)", name)
                for name in PASS_TABLES + CAMPAIGN_TABLES
            }
        finally:
            await connection.close(timeout=5)
        passes = sum(sizes[name] for name in PASS_TABLES)
        return passes, sum(sizes.values())


def watch(client: Client, campaign_id: str) -> messages.Campaign:
    """Follows a campaign to its end, telling how far it is."""
    for campaign in client.watch_campaign(campaign_id):
        progress = campaign.progress
        say(f"{progress.succeeded:,} of {progress.total:,}, {progress.rate:,.0f} a second")
    return campaign


def largest_rss_mib(process_ids: Sequence[int]) -> int:
    """The most memory that any of these processes has held, in MiB."""
    held = [0]
    for process_id in process_ids:
        status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii")
        held += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    return max(held) // 1024


def run(options: argparse.Namespace) -> dict[str, float | int]:
    """Measures everything in one run on one service."""
    configure_logging(level="warning", log_format="console")
    say("sign_batch alone, on all cores")
    alone = sign_alone()
    with (
        tempfile.TemporaryDirectory(prefix="passmill-bench-") as folder,
        LocalService(
            data_dir=Path(folder) / "data",
            processes=options.processes,
            workers=options.workers,
            durable=True,
            on_step=say,
        ) as service,
    ):
        club = set_up(
            api_address=service.api_address,
            admin_address=service.admin_address,
            operator_key=service.operator_key,
            card=card,
            on_step=say,
        )
        bench = Bench(
            service=service,
            club=club,
            template_id=club.template_id,
            folder=Path(folder),
            more=("--claim-links",) if options.claim_links else (),
        )
        say(f"a campaign of {options.count // 10:,}")
        tenth = bench.run(options.count // 10)
        say(f"a campaign of {options.count:,}")
        whole = bench.run(options.count)
        api_rss = largest_rss_mib(service.api_process_ids)
        worker_rss = largest_rss_mib(service.worker_process_ids)
    say("sign_batch alone again")
    alone = statistics.mean([alone, sign_alone()])
    return {
        "passes_per_s": round(whole.rate),
        "vs_sign_batch": round(whole.rate / alone, 3),
        "rate_vs_tenth": round(whole.rate / tenth.rate, 3),
        "api_rss_mib": api_rss,
        "worker_rss_mib": worker_rss,
        "bytes_per_pass": round(whole.bytes_per_pass),
        "bytes_kept_per_recipient": round(whole.bytes_kept),
        "sign_batch_per_s": round(alone),
        "tenth_passes_per_s": round(tenth.rate),
        "import_rows_per_s": round(whole.count / whole.import_seconds),
        "count": whole.count,
        "cores": os.cpu_count() or 1,
        "workers": options.workers,
    }


def table(found: Mapping[str, float | int]) -> str:
    """The numbers for people."""
    rows = [
        ("passes/s, from the start to the last", "passes_per_s", f"{WANTED_RATE:,}"),
        ("  of what sign_batch does alone", "vs_sign_batch", f"{WANTED_SHARE}"),
        ("  of the rate of a tenth as many", "rate_vs_tenth", f"{WANTED_EVENNESS}"),
        ("sign_batch alone, passes/s", "sign_batch_per_s", ""),
        ("rows/s through the import", "import_rows_per_s", ""),
        ("memory of an API process, MiB", "api_rss_mib", f"< {WANTED_RSS_MIB}"),
        ("memory of a worker, MiB", "worker_rss_mib", f"< {WANTED_RSS_MIB}"),
        ("bytes a pass in PostgreSQL", "bytes_per_pass", f"< {WANTED_BYTES}"),
        ("  with what is kept of its recipient", "bytes_kept_per_recipient", ""),
    ]
    lines = [f"{name:<40}{found[key]:>12,}{wanted:>12}" for name, key, wanted in rows]
    return "\n".join(
        ["", f"{found['count']:,} recipients{'measured':>36}{'wanted':>12}", *lines, ""]
    )


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(description="Measures a campaign on a service of its own.")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--count", type=int, default=1_000_000, help="recipients")
    parser.add_argument("--processes", type=int, default=2, help="API processes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="worker processes")
    parser.add_argument("--claim-links", action="store_true", help="make one to each pass")
    options = parser.parse_args()
    found = run(options)
    print(table(found))
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
