"""`passmill campaign import --claim-links` and what `export` gives of it, against a whole
service."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from passmill_client import AdminClient, messages
from tests.cli.conftest import PUBLIC_URL, CommandLine

pytestmark = pytest.mark.timeout(180)

COUNT = 40


def members(path: Path) -> Path:
    """A file of members."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["external_id", "name", "points"])
        writer.writerows([f"M{number}", f"Zoë {number}", number] for number in range(COUNT))
        writer.writerow(["M0", "Again", 1])
    return path


def test_links_from_the_file_to_the_file(command_line: CommandLine, tmp_path: Path) -> None:
    """One command makes passes with links, another writes the links beside the recipients in each
    format, the same each time; each is of its recipient's pass and good once."""
    path = members(tmp_path / "members.csv")
    done = command_line.run(
        *("import", path, "--template", command_line.club.template_id, "--watch"),
        *("--claim-links", "--claim-days", "90", "--claim-source", "sms"),
    )
    assert f"succeeded  {COUNT}" in done.output, done
    campaign_id = done.output.split()[0]
    assert f"passmill campaign export {campaign_id}" in done.errors
    for name in ("a.csv", "a.ndjson", "a.parquet"):
        exported = command_line.run("export", campaign_id, "--output", tmp_path / name)
        assert exported.status == 0, exported.errors
        assert "scope issue" not in exported.errors
    text = (tmp_path / "a.csv").read_text(encoding="utf-8-sig")
    links = {row["pass_id"]: row["claim_url"] for row in csv.DictReader(text.splitlines())}
    assert links.pop("") == ""  # the duplicate
    assert len(set(links.values())) == COUNT
    lines = [json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    assert {line["pass_id"]: line["claim_url"] for line in lines[:-1]} == links
    assert "claim_url" not in lines[-1]
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert {row["pass_id"]: row["claim_url"] for row in rows[:-1]} == links
    assert rows[-1]["claim_url"] is None
    # Not another campaign of the same file, which would issue everything twice.
    without = command_line.run("import", path, "--template", command_line.club.template_id)
    assert (without.status, "--run NAME" in without.errors) == (1, True)
    with command_line.client() as client:
        plan = client.get_campaign(campaign_id).action.issue.claim_links
        assert plan == messages.CampaignLinks(max_uses=1, lifetime_days=90, source="sms")
        for line in lines[:3]:
            token = line["claim_url"].removeprefix(f"{PUBLIC_URL}/p/")
            claimed = client.claim_pass(token, claim_key="k" * 22)
            assert claimed.state == messages.CLAIM_STATE_CLAIMED
            assert claimed.reference_id == line["reference_id"]
            again = client.claim_pass(token, claim_key="l" * 22)
            assert again.state == messages.CLAIM_STATE_CLAIMED_ELSEWHERE


def test_a_key_that_only_reads_is_told_so(command_line: CommandLine, tmp_path: Path) -> None:
    """Exported with a key that may not issue, the column is empty and a line says why."""
    path = members(tmp_path / "few.csv")
    template = ("--template", command_line.club.template_id, "--claim-links", "--watch")
    done = command_line.run("import", path, *template, "--run", "for reports")
    assert done.status == 0, done.errors
    service, tenant_id = command_line.service, command_line.club.tenant_id
    with AdminClient(service.admin_address, service.operator_key) as admin:
        reads = admin.create_api_key(
            "reports", scopes=[messages.API_SCOPE_READ], tenant_id=tenant_id
        )
    key_file = tmp_path / "key"
    key_file.write_text(reads.secret_key)
    key_file.chmod(0o600)
    exported = command_line.run(
        *("export", done.output.split()[0], "--output", "-", "--format", "ndjson"),
        *("--api-key-file", key_file),
    )
    assert exported.status == 0, exported.errors
    assert "scope issue" in exported.errors
    lines = [json.loads(line) for line in exported.output.splitlines()]
    assert len(lines) == COUNT + 1
    assert not any("claim_url" in line for line in lines)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--claim-days", "3"), "--claim-links"),
        (("--claim-source", "sms"), "--claim-links"),
        (("--claim-links", "--action", "update"), "--action issue"),
    ],
)
def test_links_that_make_no_sense_are_told(
    command_line: CommandLine, tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    """Options that do not go together are refused before anything is made."""
    path = members(tmp_path / "members.csv")
    done = command_line.run("import", path, "--template", command_line.club.template_id, *options)
    assert done.status == 1
    assert told in done.errors
    assert not done.output
