"""What is the same import, and what another one: against a whole service, by the passes issued."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from passmill.cli.campaign.destination import Destination, Wanted
from passmill.cli.campaign.identity import ImportIdentity
from passmill.cli.campaign.sources import content_hash
from passmill_client import Campaign, messages
from tests.cli.conftest import CommandLine

pytestmark = pytest.mark.timeout(300)


def write(path: Path, *lines: str) -> Path:
    """A CSV file of these lines."""
    path.write_text("\n".join(lines) + "\n")
    return path


def campaigns(command_line: CommandLine, name: str) -> list[Campaign]:
    """The campaigns of this name."""
    with command_line.client() as client:
        return [each for each in client.list_campaigns() if each.display_name == name]


def issued(command_line: CommandLine, name: str) -> list[str]:
    """The external id of every pass that campaigns of this name issued."""
    with command_line.client() as client:
        return sorted(
            result.external_id
            for campaign in campaigns(command_line, name)
            for result in client.export_results(campaign.campaign_id)
            if result.pass_id
        )


def test_an_option_that_rows_lacked_makes_no_second_campaign_of_the_file(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """The option that the reject file asks for is refused with the whole file, as it would issue
    everybody a second pass; with the reject file it issues the rows that were refused."""
    path = write(
        tmp_path / "zones.csv",
        "external_id,name,points,member_since",
        "TZ1,Ann,1,2024-03-01T09:00:00+01:00",
        "TZ2,Bob,2,2024-03-01",
    )
    command = ("import", path, "--template", command_line.club.template_id, "--watch")
    done = command_line.run(*command)
    assert done.status == 3, done.errors
    zone = ("--time-zone", "Europe/Berlin")
    for options in (zone, ("--decimal-comma",), ("--currency", "EUR"), ("--map", "name=level")):
        refused = command_line.run(*command, *options)
        assert refused.status == 1, refused
        assert "import the reject file with the options given now" in refused.errors
    assert issued(command_line, "zones.csv") == ["TZ1"]
    again = command_line.run(*command)
    assert again.status == 3
    rejects = tmp_path / "zones.csv.rejects.csv"
    mended = command_line.run("import", rejects, *command[2:], *zone)
    assert mended.status == 0, mended
    assert issued(command_line, rejects.name) == ["TZ2"]
    assert len(campaigns(command_line, "zones.csv")) == 1


def test_options_can_be_mended_while_nothing_was_loaded(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """When every row was refused for want of an option, the command with it goes on in the same
    campaign, which starts."""
    path = write(
        tmp_path / "none.csv",
        "external_id,points,member_since",
        "N1,1,2024-03-01",
        "N2,2,2024-04-01",
    )
    command = ("import", path, "--template", command_line.club.template_id, "--watch")
    refused = command_line.run(*command)
    assert refused.status == 1, refused
    assert "All 2 rows were refused" in refused.errors
    done = command_line.run(*command, "--time-zone", "Europe/Berlin")
    assert done.status == 0, done
    assert issued(command_line, "none.csv") == ["N1", "N2"]
    assert len(campaigns(command_line, "none.csv")) == 1


def test_a_stream_that_other_options_opened_in_vain_stops_nothing(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """As after Ctrl-C before the first row went out: the stream that stands open is closed, and
    the command with other options goes on in the same campaign."""
    path = write(tmp_path / "open.csv", "external_id,points", "O1,1")
    template_id = command_line.club.template_id
    identity = ImportIdentity(
        content=content_hash(path), action="issue", template_id=template_id, run="", reading=["x"]
    )
    wanted = Wanted(
        name=path.name,
        action=messages.IssueAction(template_id=template_id),
        priority=Campaign.PRIORITY_NORMAL,
        rollout=None,
    )
    with command_line.client() as client:
        destination = Destination(client, identity, wanted)
        campaign, is_new = destination.campaign()
        opened = destination.stream(campaign, is_new=is_new)
        done = command_line.run("import", path, "--template", template_id, "--watch")
        assert done.status == 0, done
        assert done.output.split()[0] == campaign.campaign_id
        assert issued(command_line, "open.csv") == ["O1"]
        closed = client.get_recipient_stream(opened.stream_id)
        assert closed.state == messages.RecipientStream.STATE_FINALIZED


def test_a_new_revision_does_not_keep_an_import_from_going_on(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """A revision published meanwhile, with a slot that the file lacks, changes nothing for an
    import that was begun: its campaign has the revision that it was made with."""
    with command_line.owner() as client:
        content = client.get_template_revision(command_line.club.template_id).content
        program_id = client.get_template(command_line.club.template_id).program_id
        made = client.create_template(program_id, display_name="Card", content=content).template
        client.publish_template(made.template_id, etag=made.etag)
        path = write(tmp_path / "pinned.csv", "external_id,name,points", "P1,Ann,1", "P2,Bob,x")
        command = ("import", path, "--template", made.template_id)
        first = command_line.run(*command, "--no-start")
        assert first.status == 3, first
        content.slots.add(name="seat", type=messages.SLOT_TYPE_TEXT, required=True)
        content.fields.add(
            key="seat", position=messages.FIELD_POSITION_BACK, label="Seat", value="{seat}"
        )
        changed = client.update_template(
            made.template_id, update_mask=["content"], content=content
        ).template
        client.publish_template(made.template_id, etag=changed.etag)
        again = command_line.run(*command, "--watch")
        assert again.status == 3, again
        assert again.output.split()[0] == first.output.strip()
        assert issued(command_line, "pinned.csv") == ["P1"]
        other = write(tmp_path / "other.csv", "external_id,name,points", "P3,Ann,1")
        refused = command_line.run("import", other, *command[2:])
        assert "--map COLUMN=seat" in refused.errors
        refused = command_line.run(*command, "--revision", "1")
        assert refused.status == 1
        assert "another name, revision, message, priority or plan" in refused.errors
        assert issued(command_line, "pinned.csv") == ["P1"]


def test_a_file_whose_campaign_was_cancelled_is_told_so(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """Importing it again fails and says how to import it anew, rather than to do nothing."""
    path = write(tmp_path / "cancelled.csv", "external_id,points", "X1,1")
    command = ("import", path, "--template", command_line.club.template_id)
    first = command_line.run(*command, "--no-start")
    assert command_line.run("cancel", first.output.strip()).status == 0
    again = command_line.run(*command)
    assert again.status == 1
    assert "was cancelled" in again.errors
    assert "--run NAME" in again.errors
    assert issued(command_line, "cancelled.csv") == []


def test_a_file_without_rows_makes_nothing(command_line: CommandLine, tmp_path: Path) -> None:
    """A header alone, or empty lines below it, is no import."""
    path = write(tmp_path / "header.csv", "external_id,points", ",", "")
    done = command_line.run("import", path, "--template", command_line.club.template_id)
    assert done.status == 1
    assert "has no rows" in done.errors
    assert campaigns(command_line, "header.csv") == []


def test_what_does_not_go_together_is_called_wrong(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """void takes no template, as rows may name passes of any; a start that is not wanted takes no
    time; a reason is of void."""
    path = write(
        tmp_path / "void.csv", "external_id,pass_id", "V1,0192f3c4-0000-7000-8000-000000000000"
    )
    template = ("--template", "x")
    for arguments, told in [
        (("--action", "void", *template), "of whatever template"),
        ((), "--template is needed"),
        ((*template, "--reason", "lost"), "--action void"),
        ((*template, "--no-start", "--watch"), "--no-start does not go with"),
        ((*template, "--no-start", "--at", "2030-01-01T00:00Z"), "--no-start does not go with"),
    ]:
        done = command_line.run("import", path, *arguments)
        assert done.status == 2, done
        assert told in done.errors


def test_void_takes_passes_by_their_ids(command_line: CommandLine, tmp_path: Path) -> None:
    """A file of pass ids voids these passes, with no word of their template."""
    path = write(tmp_path / "issue.csv", "external_id,points", "V1,1", "V2,2")
    done = command_line.run("import", path, "--template", command_line.club.template_id, "--watch")
    with command_line.client() as client:
        results = list(client.export_results(done.output.split()[0]))
        path = tmp_path / "lost.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["external_id", "pass_id"], ["V1", results[0].pass_id]])
        voided = command_line.run("import", path, "--action", "void", "--reason", "x", "--watch")
        assert voided.status == 0, voided
        states = [client.get_pass(pass_id=each.pass_id).state for each in results]
    assert states == [messages.Pass.STATE_VOIDED, messages.Pass.STATE_ACTIVE]
