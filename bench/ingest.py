"""How much memory a large file takes on its way in: the command line's, and the API process'.

Run by `make bench`, or `python bench/ingest.py [--json] [--mib N]`: an NDJSON file of that size is
loaded with `passmill campaign import` into a service of its own. Neither side may hold more than a
few chunks of it, so the memory must not follow the size of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from passmill.demo.club import set_up
from passmill.dev import coffee_club
from passmill.dev.local_service import LocalService
from passmill.telemetry.logging import configure_logging
from passmill_client import Client, messages

WANTED_CLIENT_MIB, WANTED_API_MIB = 200, 700
MIB = 1 << 20
# Some 700 bytes a row: a gibibyte is a million and a half of them.
LEVEL, NOTE = "Gold", "note"
FILLER = "remembered from the loyalty programme before this one; " * 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One import. Memory: the most held at any moment, in MiB."""

    rows: int
    seconds: float
    client_mib: int


def card(images: coffee_club.Images) -> messages.TemplateContent:
    """The demo's coffee card with a long text more, so that all of the file goes over the wire."""
    content = coffee_club.card_content(images)
    content.slots.add(name=NOTE, type=messages.SLOT_TYPE_TEXT)
    content.fields.add(
        position=messages.FIELD_POSITION_BACK, key=NOTE, label="For you", value=f"{{{NOTE}}}"
    )
    return content


def write_recipients(path: Path, size: int) -> int:
    """An NDJSON file of at least `size` bytes; gives its rows."""
    rows = written = 0
    with path.open("wb", buffering=MIB) as file:
        while written < size:
            row = {
                "external_id": f"M{rows:09}",
                "name": f"Zoë Ōtani {rows}",
                "phone": f"+1206{rows % 10_000_000:07}",
                "values": {
                    "points": rows % 2000,
                    "balance": "12.50 USD",
                    "level": LEVEL,
                    NOTE: FILLER,
                },
            }
            written += file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            rows += 1
    return rows


def load(path: Path, template_id: str, environment: dict[str, str]) -> Loaded:
    """Imports a file in a process of its own."""
    began = time.monotonic()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "passmill", "campaign", "import", str(path)),
            *("--template", template_id, "--no-start"),
        ],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
    )
    # Not communicate(): it would wait, and only wait4 tells what was used.
    campaign_id = process.stdout.read().decode().strip() if process.stdout else ""
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("the import failed")
    seconds = time.monotonic() - began
    address, key = environment["PASSMILL_ADDRESS"], environment["PASSMILL_API_KEY"]
    with Client(address, key) as client:
        progress = client.get_campaign(campaign_id).progress
    if progress.invalid:
        raise SystemExit(f"{progress.invalid} rows were refused")
    # Linux gives kibibytes.
    return Loaded(rows=progress.total, seconds=seconds, client_mib=used.ru_maxrss // 1024)


def largest_mib(process_ids: list[int]) -> int:
    """The most memory that any of these processes has held."""
    held = [0]
    for process_id in process_ids:
        lines = Path(f"/proc/{process_id}/status").read_text(encoding="ascii").splitlines()
        held += [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return max(held) // 1024


def run(mib: int) -> dict[str, int | float]:
    """Loads a sixteenth, then all of it, so that what grows with the size is seen."""
    configure_logging(level="warning", log_format="console")
    with (
        tempfile.TemporaryDirectory(prefix="passmill-bench-") as folder,
        LocalService(processes=1, on_step=say) as service,
    ):
        club = set_up(
            api_address=service.api_address,
            admin_address=service.admin_address,
            operator_key=service.operator_key,
            card=card,
        )
        environment = {
            "PASSMILL_ADDRESS": service.api_address,
            "PASSMILL_API_KEY": club.issue_key,
        }
        found: dict[str, int | float] = {}
        path = Path(folder) / "recipients.ndjson"
        for name, size in (("sixteenth", mib * MIB // 16), ("whole", mib * MIB)):
            say(f"an NDJSON file of {size // MIB} MiB")
            rows = write_recipients(path, size)
            loaded = load(path, club.template_id, environment)
            if loaded.rows != rows:
                raise SystemExit(f"{loaded.rows} of {rows} rows were loaded")
            found |= {
                f"{name}_mib": size // MIB,
                f"{name}_rows": rows,
                f"{name}_rows_per_s": round(rows / loaded.seconds),
                f"{name}_client_rss_mib": loaded.client_mib,
                f"{name}_api_rss_mib": largest_mib(list(service.api_process_ids)),
            }
    return found


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(description="Measures the memory that an import takes.")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--count", type=int, help="rows, about, instead of a size")
    options = parser.parse_args()
    found = run(options.mib if options.count is None else max(16, options.count * 700 // MIB))
    for name in ("sixteenth", "whole"):
        print(
            f"{found[f'{name}_mib']:>6,} MiB, {found[f'{name}_rows']:>9,} rows:"
            f" {found[f'{name}_rows_per_s']:>7,}/s,"
            f" client {found[f'{name}_client_rss_mib']:>4} MiB (< {WANTED_CLIENT_MIB}),"
            f" API {found[f'{name}_api_rss_mib']:>4} MiB (< {WANTED_API_MIB})"
        )
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
