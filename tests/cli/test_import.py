"""`passmill campaign import` against a whole service: files of every format, bad rows, and runs
that are interrupted, killed, repeated and doubled."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from passmill_client import Campaign, messages
from tests.cli.conftest import CommandLine

pytestmark = pytest.mark.timeout(180)

HEADER = ["external_id", "name", "phone", "points", "balance", "level", "member_since"]


def member(number: int) -> list[str]:
    """A row that fits the club's card."""
    return [
        *(f"M{number:06}", f"Zoë {number}", "+12065550123", str(number % 2000)),
        *(f"{number % 90}.50 USD", "Gold", "2024-03-01T09:00:00+01:00"),
    ]


def write(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """A CSV file of these rows below the header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def campaign_of(command_line: CommandLine, campaign_id: str) -> Campaign:
    """A campaign as it is now."""
    with command_line.client() as client:
        return client.get_campaign(campaign_id.strip())


def loading(command_line: CommandLine, name: str) -> Campaign:
    """The newest campaign, once it has this name and its first rows."""
    end = time.monotonic() + 60
    with command_line.client() as client:
        while time.monotonic() < end:
            campaign = next(iter(client.list_campaigns(page_size=1)), None)
            if campaign and campaign.display_name == name and campaign.progress.total:
                return campaign
            time.sleep(0.02)
    raise AssertionError(f"{name} was not begun")


def as_csv(path: Path) -> Path:
    """Three rows as CSV in UTF-16 with tabs."""
    path = path.with_suffix(".csv")
    lines = ["\t".join(row) for row in [HEADER, *map(member, range(3))]]
    path.write_text("\n".join(lines), encoding="utf-16")
    return path


def as_ndjson(path: Path) -> Path:
    """Three rows as NDJSON with nested values and money as an object."""
    path = path.with_suffix(".ndjson")
    lines = [
        json.dumps(
            {
                "external_id": f"M{number:06}",
                "name": f"Zoë {number}",
                "phone": "+12065550123",
                "external_ids": {"crm": f"C{number}"},
                "values": {
                    "points": number,
                    "balance": {"minor_units": number * 100 + 50, "currency_code": "USD"},
                    "level": "Gold",
                    "member_since": "2024-03-01T09:00:00+01:00",
                },
            }
        )
        for number in range(3)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def as_parquet(path: Path) -> Path:
    """Three rows as Parquet, columns of its own types."""
    path = path.with_suffix(".parquet")
    rows = [member(number) for number in range(3)]
    columns = {name: [row[place] for row in rows] for place, name in enumerate(HEADER)}
    table = pa.table(columns | {"points": [0, 1, 2]})
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("make", [as_csv, as_ndjson, as_parquet])
def test_each_format_issues_the_same_passes(
    command_line: CommandLine, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    """A file of any format is loaded, started and watched to its end with one command, and the
    passes hold what the rows say."""
    path = make(tmp_path / "members")
    done = command_line.run(
        *("import", path, "--template", command_line.club.template_id, "--watch", "--run", path)
    )
    assert done.status == 0, done.errors
    assert "succeeded  3" in done.output
    assert not (tmp_path / f"{path.name}.rejects.csv").exists()
    campaign_id = done.output.split()[0]
    with command_line.client() as client:
        results = list(client.export_results(campaign_id))
        assert [result.external_id for result in results] == ["M000000", "M000001", "M000002"]
        wallet_pass = client.get_pass(pass_id=results[1].pass_id)
    assert wallet_pass.holder.name == "Zoë 1"
    assert wallet_pass.values["points"].integer == 1
    assert wallet_pass.values["balance"].money == messages.Money(
        minor_units=150, currency_code="USD"
    )
    assert wallet_pass.values["member_since"].instant.utc_offset_minutes == 60


def test_bad_rows_are_told_and_the_rest_is_issued(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """Rows that are bad here and rows that the service refuses stand in the reject file with line,
    reason and cells; mended there and imported, they are issued; and the first command run again
    writes the same reject file."""
    rows = [member(number) for number in range(1000)]
    rows[100][3] = "many"  # no number
    rows[200] = rows[200][:3]  # too short
    rows[300][5] = "Gold\u202e"  # the service refuses it: no pass may hold it
    rows[400][0] = "M\x7f"  # nor an id with a control character
    path = write(tmp_path / "members.csv", rows)
    command = ("import", path, "--template", command_line.club.template_id, "--no-start")
    done = command_line.run(*command)
    assert done.status == 3, done.errors
    rejects = path.with_name("members.csv.rejects.csv")
    found = rejects.read_text(encoding="utf-8-sig")
    table = {row["reject_line"]: row for row in csv.DictReader(found.splitlines())}
    assert {line: row["reject_reason"] for line, row in table.items()} == {
        "102": "INVALID_VALUES",
        "202": "UNREADABLE_ROW",
        "302": "INVALID_VALUES",
        "402": "INVALID_FIELD",
    }
    assert "points: is no whole number" in table["102"]["reject_message"]
    assert "level" in table["302"]["reject_message"]
    assert table["302"]["external_id"] == "M000300"
    campaign = campaign_of(command_line, done.output)
    assert campaign.progress.total == 998
    assert campaign.progress.invalid == 2
    again = command_line.run(*command)
    assert again.status == 3
    assert again.output == done.output
    assert sorted(rejects.read_text(encoding="utf-8-sig").splitlines()) == sorted(
        found.splitlines()
    )
    mended = tmp_path / "mended.csv"
    text = found.replace("many", "5").replace("\u202e", "").replace("M\x7f", "M000400")
    lines = [line for line in text.splitlines() if "UNREADABLE" not in line]
    mended.write_text("\n".join(lines), encoding="utf-8-sig")
    done = command_line.run(
        "import", mended, "--template", command_line.club.template_id, "--watch"
    )
    assert done.status == 0, done.errors
    assert "succeeded  3" in done.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_import_that_was_stopped_goes_on(
    command_line: CommandLine, tmp_path: Path, number: signal.Signals
) -> None:
    """Interrupted or killed in its midst and run again, an import is one campaign with each row
    once, and the reject file of the second run has what the service refused in the first."""
    count = 40_000
    rows = [member(each) for each in range(count)]
    rows[10][5] = "Gold\u202e"
    path = write(tmp_path / f"members-{number}.csv", rows)
    template_id = command_line.club.template_id
    # The same rows twice are the same import, unless it is told apart.
    command = ("import", path, "--template", template_id, "--no-start", "--run", number.name)
    process = command_line.start(*command)
    campaign = loading(command_line, path.name)
    process.send_signal(number)
    stopped = command_line.finish(process)
    assert campaign.progress.total < count
    if number == signal.SIGINT:
        assert stopped.status == 130
        assert "goes on" in stopped.errors
        assert "Traceback" not in stopped.errors
    done = command_line.run(*command)
    assert done.status == 3, done.errors
    assert "going on:" in done.errors
    assert done.output.strip() == campaign.campaign_id
    campaign = campaign_of(command_line, done.output)
    assert campaign.progress.total == count
    assert campaign.progress.invalid == 1
    rejects = path.with_name(f"{path.name}.rejects.csv").read_text(encoding="utf-8-sig")
    assert [row["external_id"] for row in csv.DictReader(rejects.splitlines())] == ["M000010"]
    with command_line.client() as client:
        ids = [each.external_id for each in client.export_results(campaign.campaign_id)]
    assert ids == [row[0] for row in rows]


def test_a_service_that_dies_meanwhile_costs_no_row_and_no_reject(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """While its process is killed and started again the import waits and goes on: each row is
    there once, and each refused one once in the reject file, though its answer may be lost."""
    count = 30_000
    rows = [member(number) for number in range(count)]
    for number in range(0, count, 20):
        rows[number][5] = "Gold\u202e"
    path = write(tmp_path / "killed.csv", rows)
    process = command_line.start(
        "import", path, "--template", command_line.club.template_id, "--no-start"
    )
    campaign = loading(command_line, path.name)
    for process_id in command_line.service.api_process_ids:
        os.kill(process_id, signal.SIGKILL)
    done = command_line.finish(process)
    assert campaign.progress.total < count
    assert done.status == 3, done.errors
    campaign = campaign_of(command_line, done.output)
    assert campaign.progress.total == count
    assert campaign.progress.invalid == count // 20
    rejects = path.with_name("killed.csv.rejects.csv").read_text(encoding="utf-8-sig")
    ids = [row["external_id"] for row in csv.DictReader(rejects.splitlines())]
    assert sorted(ids) == [row[0] for row in rows[::20]]


def test_two_imports_of_one_file_are_one_campaign(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """Two commands at once: one writes, the other is told that it lost; no row is there twice."""
    path = write(tmp_path / "both.csv", [member(number) for number in range(20_000)])
    command = ("import", path, "--template", command_line.club.template_id, "--no-start")
    processes = [command_line.start(*command) for _ in range(2)]
    ended = [command_line.finish(process) for process in processes]
    assert 0 in {each.status for each in ended}, ended
    for each in ended:
        if each.status:
            assert "Another import of this file" in each.errors
    [winner, *_] = [each for each in ended if each.status == 0]
    assert campaign_of(command_line, winner.output).progress.total == 20_000


def test_what_is_wrong_is_said_before_anything_is_made(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """A wrong file, column, template, key or address ends with status 1 and a line that says what
    to do; no campaign is made, and no traceback shown."""
    path = write(tmp_path / "members.csv", [member(1)])
    bad = tmp_path / "bad.csv"
    bad.write_text("external_id,name\nM1,Ada\n")
    template = command_line.club.template_id
    with command_line.client() as client:
        before = len(list(client.list_campaigns()))
    for arguments, told in [
        ((tmp_path / "none.csv", "--template", template), "There is no file"),
        ((bad, "--template", template), "--map COLUMN=points"),
        ((path, "--template", "nothing"), "NOT_FOUND"),
        ((path, "--template", template, "--revision", "9"), "No template revision"),
        ((path, "--template", template, "--map", "x=points"), "There are: external_id"),
    ]:
        done = command_line.run("import", *arguments)
        assert done.status == 1, done
        assert told in done.errors
        assert "Traceback" not in done.errors
    keyless = tmp_path / "key"
    keyless.write_text("pmk_wrong")
    done = command_line.run("import", path, "--template", template, "--api-key-file", keyless)
    assert "UNAUTHENTICATED" in done.errors
    assert "--api-key-file" in done.errors
    assert command_line.run("import", path).status == 2
    with command_line.client() as client:
        assert len(list(client.list_campaigns())) == before


def test_other_options_for_the_same_file_are_not_taken_for_the_same_import(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """Another name is refused with what to do; --run makes another campaign of the same file."""
    path = write(tmp_path / "members.csv", [member(number) for number in range(7)])
    template = ("--template", command_line.club.template_id, "--no-start")
    first = command_line.run("import", path, *template)
    assert first.status == 0, first.errors
    refused = command_line.run("import", path, *template, "--name", "Spring")
    assert refused.status == 1
    assert "--run NAME" in refused.errors
    other = command_line.run("import", path, *template, "--name", "Spring", "--run", "2")
    assert other.status == 0, other.errors
    assert other.output != first.output
