"""Counts what a campaign left behind, knowing nothing of the service's code: from the recipients
file, the results that were exported, the table of passes, and the bundles.

Run as a program; prints one JSON object and exits with 1 when anything is wrong:

    python tests/faults/checker.py --recipients recipients.csv --results results.csv \
        --bundles FOLDER --root root.pem --database URL --tenant 4711

What must hold: each recipient of the file has one result, which succeeded, and one pass; no two
results share a pass, a serial number, a reference id or a claim link; the table holds those passes
and no other; each is signed, and has the claim link that its result names and no other; each bundle
is a zip whose manifest fits its files, whose signature openssl verifies, and which shows its own
recipient's name and number.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asyncpg


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the exported results."""

    external_id: str
    state: str
    pass_id: str
    serial_number: str
    reference_id: str
    claim_token: str


def main() -> int:
    """Checks, prints, gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=Path, required=True, help="CSV: external_id, name")
    parser.add_argument("--results", type=Path, required=True, help="CSV of `campaign export`")
    parser.add_argument("--bundles", type=Path, required=True, help="folder of .pkpass files")
    parser.add_argument("--root", type=Path, required=True, help="PEM that signatures lead to")
    parser.add_argument("--database", required=True, help="PostgreSQL URL of the tables' owner")
    parser.add_argument("--tenant", type=int, required=True, help="number of the tenant")
    parser.add_argument("--openssl", type=int, help="verify so many by openssl; all by default")
    options = parser.parse_args()
    names = {row["external_id"]: row["name"] for row in rows(options.recipients)}
    results = [result_of(row) for row in rows(options.results)]
    found: dict[str, int] = {"recipients": len(names), "results": len(results)}
    found |= compare(names, results)
    found |= asyncio.run(look_into(options.database, options.tenant, results))
    found |= verify_all(options, {each.serial_number: names[each.external_id] for each in results})
    is_right = not any(number for name, number in found.items() if name.startswith("wrong_")) and (
        found["recipients"] == found["results"] == found["passes"] == found["bundles"]
    )
    print(json.dumps({"is_right": is_right, **found}))  # noqa: T201 - the verdict
    return 0 if is_right else 1


def rows(path: Path) -> Iterator[dict[str, str]]:
    """A CSV file's rows by column name."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def result_of(row: Mapping[str, str]) -> Result:
    """One row of the results."""
    return Result(
        external_id=row["external_id"],
        state=row["state"].upper().removeprefix("STATE_"),
        pass_id=row["pass_id"],
        serial_number=row["serial_number"],
        reference_id=row["reference_id"],
        claim_token=row["claim_url"].rpartition("/")[2],
    )


def compare(names: Mapping[str, str], results: list[Result]) -> dict[str, int]:
    """The recipients file against the results."""
    counted = Counter(each.external_id for each in results)
    return {
        "wrong_lost": len(names.keys() - counted.keys()),
        "wrong_unknown": len(counted.keys() - names.keys()),
        "wrong_twice": sum(1 for count in counted.values() if count > 1),
        "wrong_state": sum(1 for each in results if each.state != "SUCCEEDED"),
        "wrong_same_pass": shared(each.pass_id for each in results),
        "wrong_same_serial": shared(each.serial_number for each in results),
        "wrong_same_reference": shared(each.reference_id for each in results),
        "wrong_same_link": shared(each.claim_token for each in results),
    }


def shared(values: Iterator[str]) -> int:
    """How many values more than one has."""
    return sum(1 for count in Counter(values).values() if count > 1)


async def look_into(url: str, tenant: int, results: list[Result]) -> dict[str, int]:
    """The tables of passes and of claim links against the results."""
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute(f"SET passmill.tenant_id = '{tenant}'")
        stored = await connection.fetch(
            "SELECT pass_id::text AS pass_id, signature IS NULL AS unsigned FROM passes"
            " WHERE tenant_id = $1",
            tenant,
        )
        linked = await connection.fetch(
            "SELECT pass_id::text AS pass_id, token_hash FROM claim_links WHERE tenant_id = $1",
            tenant,
        )
        intents = await connection.fetchval("SELECT count(*) FROM signing_intents")
    finally:
        await connection.close(timeout=5)
    table = {row["pass_id"] for row in stored}
    told = {each.pass_id for each in results}
    links = Counter((row["pass_id"], row["token_hash"]) for row in linked)
    told_links = Counter(
        (each.pass_id, hashlib.sha256(each.claim_token.encode()).digest()) for each in results
    )
    return {
        "passes": len(stored),
        "wrong_untold_pass": len(table - told),
        "wrong_missing_pass": len(told - table),
        "wrong_unsigned": sum(1 for row in stored if row["unsigned"]),
        "wrong_left_intents": intents,
        "wrong_untold_link": (links - told_links).total(),
        "wrong_missing_link": (told_links - links).total(),
    }


def verify_all(options: argparse.Namespace, names: Mapping[str, str]) -> dict[str, int]:
    """Every bundle: the zip, the manifest, the signature, and whose it is."""
    paths = sorted(options.bundles.rglob("*.pkpass"))
    by_openssl = len(paths) if options.openssl is None else options.openssl
    serials: list[str] = []
    wrong: Counter[str] = Counter()
    with ThreadPoolExecutor(os.cpu_count()) as threads, tempfile.TemporaryDirectory() as folder:
        jobs = [
            threads.submit(verify, path, options.root, Path(folder) if at < by_openssl else None)
            for at, path in enumerate(paths)
        ]
        for job in jobs:
            serial, text, fault = job.result()
            serials.append(serial)
            if fault:
                wrong[fault] += 1
            elif names.get(serial) is None or json.dumps(names[serial])[1:-1] not in text:
                wrong["wrong_holder"] += 1
    return {
        "bundles": len(paths),
        "verified_by_openssl": min(by_openssl, len(paths)),
        "wrong_bundle_serials": len(serials) - len(set(serials) & names.keys()),
        **{name: wrong[name] for name in ("wrong_manifest", "wrong_signature", "wrong_holder")},
    }


def verify(path: Path, root: Path, folder: Path | None) -> tuple[str, str, str]:
    """One bundle: its serial number, its pass.json in ASCII, and what is wrong with it or nothing.

    `folder`: where to unpack for openssl; None to leave the signature.
    """
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    document = json.loads(files["pass.json"])
    serial = document["serialNumber"]
    digests = {
        name: hashlib.sha1(content, usedforsecurity=False).hexdigest()
        for name, content in files.items()
        if name not in {"manifest.json", "signature"}
    }
    text = json.dumps(document)
    if json.loads(files["manifest.json"]) != digests:
        return serial, text, "wrong_manifest"
    if folder is not None and not has_signature(files, folder / path.stem, root):
        return serial, text, "wrong_signature"
    return serial, text, ""


def has_signature(files: Mapping[str, bytes], stem: Path, root: Path) -> bool:
    """What `openssl cms -verify` says."""
    manifest, signature = stem.with_suffix(".json"), stem.with_suffix(".der")
    manifest.write_bytes(files["manifest.json"])
    signature.write_bytes(files["signature"])
    command = ["openssl", "cms", "-verify", "-binary", "-purpose", "any", "-inform", "DER"]
    command += ["-in", str(signature), "-content", str(manifest), "-CAfile", str(root)]
    done = subprocess.run([*command, "-out", os.devnull], capture_output=True, check=False)
    manifest.unlink()
    signature.unlink()
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
