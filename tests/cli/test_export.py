"""`passmill campaign export` and the commands that steer, against a whole service."""

from __future__ import annotations

import csv
import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import CommandLine
from tests.support.tools import run

pytestmark = pytest.mark.timeout(180)

COUNT = 60


@pytest.fixture(scope="module")
def campaign_id(command_line: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A campaign that has ended: sixty passes and a duplicate, ids that look like formulas."""
    path = tmp_path_factory.mktemp("export") / "members.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["external_id", "name", "points"])
        writer.writerows([f"=M{number}", f"Zoë {number}", number] for number in range(COUNT))
        writer.writerow(["=M0", "Again", 1])
    done = command_line.run("import", path, "--template", command_line.club.template_id, "--watch")
    assert f"succeeded  {COUNT}" in done.output, done
    return done.output.split()[0]


def test_results_in_every_format(
    command_line: CommandLine, campaign_id: str, tmp_path: Path
) -> None:
    """CSV, NDJSON and Parquet hold the same results in the file's order; a CSV cell is never a
    formula; nothing but the finished file is left in the folder."""
    for name in ("a.csv", "a.ndjson", "a.parquet"):
        done = command_line.run("export", campaign_id, "--output", tmp_path / name)
        assert done.status == 0, done.errors
    ids = [f"=M{number}" for number in range(COUNT)] + ["=M0"]
    text = (tmp_path / "a.csv").read_text(encoding="utf-8-sig")
    from_csv = list(csv.DictReader(text.splitlines()))
    assert [row["external_id"] for row in from_csv] == [f"'{each}" for each in ids]
    lines = (tmp_path / "a.ndjson").read_text().splitlines()
    from_ndjson = [json.loads(line) for line in lines]
    from_parquet = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["external_id"] for row in from_ndjson] == ids
    assert [row["external_id"] for row in from_parquet] == ids
    assert [row["pass_id"] for row in from_csv] == [row["pass_id"] or "" for row in from_parquet]
    assert {row["state"] for row in from_parquet[:-1]} == {"SUCCEEDED"}
    assert from_parquet[-1]["state"] == "DUPLICATE"
    assert len({row["reference_id"] for row in from_parquet[:-1]}) == COUNT
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.csv", "a.ndjson", "a.parquet"]
    to_output = command_line.run("export", campaign_id, "--output", "-", "--format", "ndjson")
    assert [json.loads(line) for line in to_output.output.splitlines()] == from_ndjson


def test_bundles_are_named_by_what_they_hold(
    command_line: CommandLine, campaign_id: str, tmp_path: Path
) -> None:
    """Each pass is a file whose name is its SHA-256, an independent unzip takes it, and the results
    name it; exported again it is the same files."""
    folder = tmp_path / "bundles"
    output = tmp_path / "a.ndjson"
    for _ in range(2):
        done = command_line.run(
            *("export", campaign_id, "--bundles", folder, "--output", output, "--concurrency", "4")
        )
        assert done.status == 0, done.errors
        rows = [json.loads(line) for line in output.read_text().splitlines()]
        names = [row["bundle"] for row in rows if row["state"] == "SUCCEEDED"]
        stored = sorted(each.relative_to(folder) for each in folder.rglob("*") if each.is_file())
        assert sorted(names) == [str(each) for each in stored]
        assert len(names) == COUNT
    for row in rows[:3]:
        path = folder / row["bundle"]
        assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
        document = json.loads(run("unzip", "-p", path, "pass.json"))
        assert document["serialNumber"] == row["serial_number"]


def test_an_interrupted_export_leaves_no_half_file(
    command_line: CommandLine, campaign_id: str, tmp_path: Path
) -> None:
    """Ctrl-C in the midst of an export ends it with status 130; the results' file is not there."""
    folder = tmp_path / "bundles"
    process = command_line.start(
        *("export", campaign_id, "--bundles", folder, "--output", tmp_path / "a.csv"),
        *("--concurrency", "1"),
    )
    while not folder.is_dir() or not any(folder.iterdir()):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    done = command_line.finish(process)
    assert done.status == 130, done
    assert "Traceback" not in done.errors
    assert [each.name for each in tmp_path.iterdir()] == ["bundles"]


def test_stores_that_do_not_take_bundles_are_told(
    command_line: CommandLine, campaign_id: str, tmp_path: Path
) -> None:
    """An unknown URL, or a folder that cannot be made, ends with status 1 and a line that says
    so."""
    (tmp_path / "file").touch()
    for url in ("nothing://bucket/x", tmp_path / "file"):
        done = command_line.run(
            "export", campaign_id, "--bundles", url, "--output", tmp_path / "a.csv"
        )
        assert done.status == 1, done
        assert str(url) in done.errors
        assert "Traceback" not in done.errors


def test_a_campaign_is_steered(command_line: CommandLine, campaign_id: str, tmp_path: Path) -> None:
    """list, show, watch, start, cancel and retry do what they say, and refusals are told."""
    path = tmp_path / "few.csv"
    path.write_text("external_id,name,points\nA,Ada,1\nB,Ben,2\n")
    command = ("import", path, "--template", command_line.club.template_id, "--no-start")
    draft = command_line.run(*command).output.strip()
    shown = json.loads(command_line.run("show", draft, "--json").output)
    assert (shown["state"], shown["total"]) == ("DRAFT", 2)
    assert draft in command_line.run("list").output
    listed = command_line.run("list", "--json").output.splitlines()
    assert draft in {json.loads(line)["campaign_id"] for line in listed}
    later = command_line.run("start", draft, "--at", "2099-01-01T00:00+00:00")
    assert "scheduled for 2099-01-01 00:00 UTC" in later.output, later
    cancelled = command_line.run("cancel", draft)
    assert cancelled.status == 0, cancelled.errors
    watched = command_line.run("watch", draft)
    assert "cancelled" in watched.output
    assert watched.status == 1
    assert "took" not in watched.output
    assert "succeeded" in command_line.run("watch", campaign_id).output
    again = command_line.run("start", campaign_id)
    assert again.status == 0, again
    assert "started before" in again.errors
    late = command_line.run("cancel", campaign_id, "--void-issued")
    assert late.status == 1
    assert f"create void --of-campaign {campaign_id}" in late.errors
    assert "Nobody is tried again" in command_line.run("retry", campaign_id).output
    refused = command_line.run("pause", campaign_id)
    assert refused.status == 1
    assert "CAMPAIGN_STATE" in refused.errors
    missing = command_line.run("show", "0192f3c4-0000-7000-8000-000000000000")
    assert "NOT_FOUND" in missing.errors


def test_output_may_be_cut_off(command_line: CommandLine, campaign_id: str) -> None:
    """A reader that goes away, as head does, is no traceback."""
    command = (sys.executable, "-m", "passmill", "campaign", "export", campaign_id)
    done = subprocess.run(
        ["sh", "-c", '"$@" | head -n 1', "sh", *command, "--output", "-"],
        env=command_line.environment,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("\ufeffexternal_id")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
