"""How much the edge serves: 304 beside a constant answer, whole bundles, registrations.

Run by `make bench`, or `python bench/edge.py [--json]`; bench/README.md says how each number comes
about. Needs `wrk` and `h2load` (Debian: wrk, nghttp2-client). The service is a whole one: embedded
PostgreSQL that waits for the disk, one edge process, TLS.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import secrets
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from passmill.demo.club import publish_card, set_up
from passmill.dev import coffee_club
from passmill.dev.local_service import LocalService
from passmill.dev.png import Pixels, write_png
from passmill.telemetry.logging import configure_logging
from passmill_client import AdminClient, Client, messages, pass_draft

RATIO_TARGET, BUNDLES_TARGET, REGISTRATIONS_TARGET = 0.5, 1500, 1000
BATCH = 250
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

# Each request of a phase is made by this, run by wrk in LuaJIT. `arg[1]` names the work.
SCRIPT = """
local passes, number = {}, 0
local work

local function hex()
  return string.format("%08x%08x%08x%08x", math.random(0, 2^31), math.random(0, 2^31),
                       math.random(0, 2^31), math.random(0, 2^31))
end

function init(args)
  work = args[1]
  math.randomseed(os.time() + tonumber(args[3]))
  for line in io.lines(args[2]) do
    local path, device_path, token, modified = line:match("^(.-)\\t(.-)\\t(.-)\\t(.-)$")
    local headers = {["Authorization"] = "ApplePass " .. token}
    if work == "not_modified" then headers["If-Modified-Since"] = modified end
    if work == "constant" then
      passes[#passes + 1] = wrk.format("GET", "/v1/devices/%00/registrations/%00", headers)
    elseif work == "register" then
      passes[#passes + 1] = {device_path, headers}
    else
      passes[#passes + 1] = wrk.format("GET", path, headers)
    end
  end
end

function request()
  number = number + 1
  local one = passes[number % #passes + 1]
  if work ~= "register" then return one end
  local path = "/v1/devices/" .. hex() .. "/registrations/" .. one[1]
  return wrk.format("POST", path, one[2], '{"pushToken":"' .. hex() .. hex() .. '"}')
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of a phase. `edge_cores`: cores that the edge process was busy on meanwhile."""

    rate: float
    edge_cores: float

    @property
    def per_core(self) -> float:
        """Requests a second and core of the edge."""
        return self.rate / self.edge_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An edge to measure, and with what."""

    url: str
    edge_process: int
    script: Path
    passes: Path
    seconds: int
    connections: int

    def measure(self, work: str) -> Load:
        """One phase by wrk: HTTP/1.1 over TLS, a pass after the other."""
        command = [
            "wrk",
            "--threads=1",
            f"--connections={self.connections}",
            f"--duration={self.seconds}s",
            f"--script={self.script}",
            self.url,
            "--",
            work,
            str(self.passes),
            str(secrets.randbelow(1_000_000)),
        ]
        return self._run(command, self._wrk_rate)

    def measure_http2(self, work: str) -> Load:
        """One phase by h2load: HTTP/2 over TLS, one pass again and again."""
        first = self.passes.read_text(encoding="utf-8").splitlines()[0]
        path, _, token, modified = first.split("\t")
        headers = [f"--header=authorization: ApplePass {token}"]
        if work == "constant":
            path = "/v1/devices/%00/registrations/%00"
        else:
            headers.append(f"--header=if-modified-since: {modified}")
        command = [
            "h2load",
            f"--duration={self.seconds}",
            "--clients=8",
            "--max-concurrent-streams=16",
            *headers,
            self.url + path,
        ]
        return self._run(command, self._h2load_rate)

    def _run(self, command: Sequence[str], rate_of: Callable[[str], float]) -> Load:
        before, began = cpu_seconds(self.edge_process), time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        used = cpu_seconds(self.edge_process) - before
        return Load(rate=rate_of(done.stdout), edge_cores=used / (time.monotonic() - began))

    @staticmethod
    def _wrk_rate(text: str) -> float:
        if failed := re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", text):
            raise ValueError(failed[0])
        return float(found(r"Requests/sec:\s+([\d.]+)", text))

    @staticmethod
    def _h2load_rate(text: str) -> float:
        if not re.search(r" 0 4xx, 0 5xx", text):
            raise ValueError(text)
        return float(found(r"finished in [\d.]+s, ([\d.]+) req/s", text))


def found(pattern: str, text: str) -> str:
    """What a program printed. ValueError when it did not."""
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(text)
    return match[1]


def cpu_seconds(process_id: int) -> float:
    """What a process has used so far, in user mode and in the kernel (proc(5))."""
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def publish_heavy_card(service: LocalService, tenant_id: str) -> str:
    """The coffee club's card with a strip that nothing compresses; gives the template's id."""
    with AdminClient(service.admin_address, service.operator_key) as admin:
        owner = admin.create_api_key(
            "bench",
            tenant_id=tenant_id,
            scopes=[messages.API_SCOPE_ADMIN, messages.API_SCOPE_READ],
        )
    width, height, noisy = 375, 144, 26
    rows = [secrets.token_bytes(3 * width) for _ in range(noisy)]
    strip = Pixels(
        width=width, height=height, channels=3, rows=[*rows, *[bytes(3 * width)] * (height - noisy)]
    )
    with Client(service.api_address, owner.secret_key) as client:
        noise = client.upload_asset(write_png(strip)).asset_id
        return publish_card(
            client,
            lambda images: coffee_club.card_content(
                {**images, (messages.IMAGE_ROLE_STRIP, 1): noise}
            ),
            say,
        )


def issue(client: Client, template_id: str, count: int) -> list[str]:
    """Pass ids of new passes."""
    ids: list[str] = []
    while len(ids) < count:
        drafts = [
            pass_draft(name=f"Zoë {number}", values={"points": number}) for number in range(BATCH)
        ]
        answer = client.batch_issue_passes(template_id, drafts, timeout=60)
        ids += [result.wallet_pass.pass_id for result in answer.results]
    return ids[:count]


def write_passes(service: LocalService, client: Client, ids: Sequence[str], path: Path) -> int:
    """What phones know of passes, a line each: path, the registration's end, token, Last-Modified.
    Gives the size of the largest bundle."""
    context = ssl.create_default_context(cafile=str(service.edge_root_file))
    largest = 0
    with (
        httpx.Client(base_url=service.edge_url, verify=context, http2=True) as phone,
        path.open("w", encoding="utf-8") as file,
    ):
        for pass_id in ids:
            bundle = client.get_pass_bundle(pass_id=pass_id)
            largest = max(largest, len(bundle))
            document = pass_json(bundle)
            name = f"{document['passTypeIdentifier']}/{document['serialNumber']}"
            token = document["authenticationToken"]
            head = phone.head(
                f"/v1/passes/{name}", headers={"authorization": f"ApplePass {token}"}
            ).raise_for_status()
            modified = head.headers["last-modified"]
            file.write(f"/v1/passes/{name}\t{name}\t{token}\t{modified}\n")
    return largest


def pass_json(bundle: bytes) -> dict[str, Any]:
    """The bundle's pass.json."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        document: dict[str, Any] = json.loads(archive.read("pass.json"))
    return document


def run(options: argparse.Namespace) -> dict[str, float | int]:
    """Measures everything in one run on one service. Phases that are compared take turns."""
    configure_logging(level="warning", log_format="console")
    settings = {"PASSMILL_EDGE__CLIENT_RATE": "0"}
    loads: dict[str, list[Load]] = {}

    def note(name: str, load: Load) -> None:
        loads.setdefault(name, []).append(load)
        say(f"{name}: {load.rate:,.0f}/s, {load.per_core:,.0f} a core of the edge")

    with (
        tempfile.TemporaryDirectory(prefix="passmill-bench-") as folder,
        LocalService(processes=1, edges=1, durable=True, on_step=say, settings=settings) as service,
    ):
        script = Path(folder) / "work.lua"
        script.write_text(SCRIPT, encoding="utf-8")
        club = set_up(
            api_address=service.api_address,
            admin_address=service.admin_address,
            operator_key=service.operator_key,
            on_step=say,
        )
        heavy = publish_heavy_card(service, club.tenant_id)
        light_passes, heavy_passes = Path(folder) / "light", Path(folder) / "heavy"
        with Client(service.api_address, club.issue_key) as client:
            ids = issue(client, club.template_id, options.passes)
            write_passes(service, client, ids, light_passes)
            heavy_ids = issue(client, heavy, BATCH)
            bundle_bytes = write_passes(service, client, heavy_ids, heavy_passes)

        def bench(passes: Path) -> Bench:
            return Bench(
                url=service.edge_url,
                edge_process=service.edge_process_ids[0],
                script=script,
                passes=passes,
                seconds=options.seconds,
                connections=options.connections,
            )

        light = bench(light_passes)
        light.measure("not_modified")  # warms up
        for _ in range(options.rounds):
            note("constant", light.measure("constant"))
            note("not_modified", light.measure("not_modified"))
            note("constant_http2", light.measure_http2("constant"))
            note("not_modified_http2", light.measure_http2("not_modified"))
            note("bundles", bench(heavy_passes).measure("bundle"))
            note("registrations", light.measure("register"))
    return {
        "not_modified_vs_constant": ratio(loads["not_modified"], loads["constant"]),
        "bundles_per_s": round(statistics.median(load.per_core for load in loads["bundles"])),
        "registrations_per_s": rate(loads["registrations"]),
        "not_modified_vs_constant_http2": ratio(
            loads["not_modified_http2"], loads["constant_http2"]
        ),
        "not_modified_vs_constant_cpu": cpu_ratio(loads["not_modified"], loads["constant"]),
        "bundle_bytes": bundle_bytes,
        **{f"{name}_raw_per_s": rate(each) for name, each in loads.items()},
        **{
            f"{name}_edge_cores": round(statistics.median(load.edge_cores for load in each), 2)
            for name, each in loads.items()
        },
        "cores": os.cpu_count() or 1,
    }


def rate(loads: Sequence[Load]) -> int:
    """The median over the rounds, a second."""
    return round(statistics.median(load.rate for load in loads))


def ratio(ours: Sequence[Load], others: Sequence[Load]) -> float:
    """The median over the rounds of our rate to the others'."""
    ratios = [one.rate / other.rate for one, other in zip(ours, others, strict=True)]
    return round(statistics.median(ratios), 3)


def cpu_ratio(ours: Sequence[Load], others: Sequence[Load]) -> float:
    """As `ratio`, of what a core of the edge serves: what else runs on the machine counts less."""
    ratios = [one.per_core / other.per_core for one, other in zip(ours, others, strict=True)]
    return round(statistics.median(ratios), 3)


def table(numbers: Mapping[str, float | int]) -> str:
    """The numbers for people."""
    rows = [("", "per second", "edge cores")]
    for name, key in (
        ("constant answer, HTTP/1.1", "constant"),
        ("304, HTTP/1.1", "not_modified"),
        ("constant answer, HTTP/2", "constant_http2"),
        ("304, HTTP/2", "not_modified_http2"),
        (f"bundles of {numbers['bundle_bytes']:,} bytes", "bundles"),
        ("registrations", "registrations"),
    ):
        rows.append((name, f"{numbers[f'{key}_raw_per_s']:,}", str(numbers[f"{key}_edge_cores"])))
    lines = [f"{name:<34}{per_second:>12}{cores:>12}" for name, per_second, cores in rows]
    verdicts = [
        f"304 / constant answer     {numbers['not_modified_vs_constant']:.1%}"
        f" (wanted: {RATIO_TARGET:.0%}), by HTTP/2"
        f" {numbers['not_modified_vs_constant_http2']:.1%}, by the edge's processor time"
        f" {numbers['not_modified_vs_constant_cpu']:.1%}",
        f"bundles/s a core          {numbers['bundles_per_s']:,} (wanted: {BUNDLES_TARGET:,})",
        f"registrations/s           {numbers['registrations_per_s']:,}"
        f" (wanted: {REGISTRATIONS_TARGET:,})",
    ]
    return "\n".join(["", *lines, "", *verdicts, ""])


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    """Reads the options, measures, prints."""
    parser = argparse.ArgumentParser(description="Measures the edge of a service of its own.")
    parser.add_argument("--json", action="store_true", help="end with one JSON line")
    parser.add_argument("--seconds", type=int, default=5, help="a phase is counted")
    parser.add_argument("--rounds", type=int, default=3, help="times each phase is measured")
    parser.add_argument("--connections", type=int, default=128, help="of wrk")
    parser.add_argument("--passes", type=int, default=1000, help="that devices ask for")
    options = parser.parse_args()
    missing = [program for program in ("wrk", "h2load") if shutil.which(program) is None]
    if missing:
        parser.exit(1, f"This bench needs {', '.join(missing)} (Debian: wrk, nghttp2-client).\n")
    numbers = run(options)
    print(table(numbers))
    if options.json:
        print(json.dumps(numbers))


if __name__ == "__main__":
    main()
