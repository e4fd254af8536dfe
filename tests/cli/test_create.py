"""`passmill campaign create`: changes to passes chosen by a segment, against a whole service."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from passmill_client import Pass, Value, messages
from tests.cli.conftest import CommandLine

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def campaign_id(command_line: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A campaign that issued ten passes, with 0 to 9 points."""
    path = tmp_path_factory.mktemp("create") / "members.csv"
    lines = [f"S{number},Ada {number},{number},t{number} all" for number in range(10)]
    path.write_text("\n".join(["external_id,name,points,tags", *lines]))
    done = command_line.run("import", path, "--template", command_line.club.template_id, "--watch")
    assert done.status == 0, done
    return done.output.split()[0]


def passes(command_line: CommandLine, campaign_id: str) -> list[Pass]:
    """The campaign's passes as they are now, in the order of its file."""
    with command_line.client() as client:
        return [
            client.get_pass(pass_id=result.pass_id) for result in client.export_results(campaign_id)
        ]


def test_passes_are_previewed_changed_taken_back_and_voided(
    command_line: CommandLine, campaign_id: str, tmp_path: Path
) -> None:
    """An update of a segment is shown first and changes nothing until it is started; it changes
    the passes that its conditions choose, is taken back by one command, and void voids."""
    template = ("--template", command_line.club.template_id, "--of-campaign", campaign_id)
    update = ("create", "update", *template, "--set", "level=Gold", "--where", "points>=7")
    shown = command_line.run(*update)
    assert shown.status == 0, shown.errors
    assert "recipients 3" in shown.output
    assert "level on 3" in shown.output
    levels = [each.values["level"].text for each in passes(command_line, campaign_id)]
    assert "Gold" not in levels
    changed = command_line.run(*update, "--where", "points<9", "--start", "--watch")
    assert "succeeded  2" in changed.output, changed
    levels = [each.values["level"].text for each in passes(command_line, campaign_id)]
    assert [number for number, level in enumerate(levels) if level == "Gold"] == [7, 8]
    back = command_line.run("rollback", changed.output.split()[0], "--watch")
    assert "succeeded  2" in back.output, back
    twice = command_line.run("rollback", changed.output.split()[0], "--watch")
    assert twice.output == back.output
    assert "taken back already" in twice.errors
    levels = [each.values["level"].text for each in passes(command_line, campaign_id)]
    assert "Gold" not in levels
    chosen = ("--where", "points=1", "--where", "points=2", "--reason", "lost")
    voided = command_line.run("create", "void", *template, *chosen, "--start", "--watch")
    assert "succeeded  2" in voided.output, voided
    states = [each.state == Pass.STATE_VOIDED for each in passes(command_line, campaign_id)]
    assert [number for number, is_voided in enumerate(states) if is_voided] == [1, 2]
    by_tag = ("--with-tag", "t4", "--with-tag", "t5", "--seen-before", "2020-01-01T00:00Z")
    voided = command_line.run("create", "void", *template, *by_tag, "--start", "--watch")
    assert "succeeded  0" in voided.output, voided
    never = (*by_tag, "--never-seen", "--start", "--watch")
    assert "succeeded  2" in command_line.run("create", "void", *template, *never).output
    path = tmp_path / "points.csv"
    named = passes(command_line, campaign_id)[3].reference_id
    path.write_text(f"reference_id,points\n{named},77\n")
    loaded = command_line.run(
        *("import", path, *template[:2], "--action", "update", "--number-rows", "--watch")
    )
    assert loaded.status == 0, loaded
    assert passes(command_line, campaign_id)[3].values["points"].integer == 77


def test_what_cannot_be_chosen_is_told(command_line: CommandLine) -> None:
    """A segment of everything, an unknown slot or tier, a value of another type and a condition
    that is none are refused before anything is made."""
    template = ("--template", command_line.club.template_id)
    for arguments, told in [
        (("void", "--reason", "x"), "every pass there is"),
        (("update",), "--template"),
        (("notify", *template), "--slot"),
        (("update", *template, "--where", "beans>=7"), "has no slot 'beans'"),
        (("update", *template, "--in-tier", "gold"), "no program has a tier of this name"),
        (("update", *template, "--where", "points>=many"), "no whole number"),
        (("update", *template, "--where", "points"), "SLOT>=VALUE"),
        (("update", *template, "--set", "level=Gold", "--where", "points>7"), "SLOT>=VALUE"),
    ]:
        done = command_line.run("create", *arguments)
        assert done.status == 1, done
        assert told in done.errors
        assert "Traceback" not in done.errors


def test_ctrl_c_while_watching_says_that_the_campaign_goes_on(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """A campaign that pauses while it is watched names the ways on; Ctrl-C ends the watching, and
    says how to come back and how to stop the campaign."""
    path = tmp_path / "canary.csv"
    path.write_text("external_id,points\nC1,1\nC2,2\n")
    process = command_line.start(
        *("import", path, "--template", command_line.club.template_id),
        *("--canary", "50", "--watch"),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "lets it go on" in line:
            break
    process.send_signal(signal.SIGINT)
    stopped = command_line.finish(process)
    assert stopped.status == 130, stopped
    assert "The campaign goes on" in stopped.errors
    assert f"passmill campaign pause {stopped.output.split()[0]}" in stopped.errors


def test_holders_named_by_a_file_are_notified(command_line: CommandLine, tmp_path: Path) -> None:
    """A file that names passes, with columns of other things beside, shows these holders a message,
    and no others."""
    with command_line.owner() as client:
        shown = client.get_template(command_line.club.template_id)
        content = client.get_template_revision(shown.template_id).content
        content.slots.add(
            name="news", type=messages.SLOT_TYPE_TEXT, default_value=Value(text="None yet")
        )
        content.fields.add(
            key="news",
            position=messages.FIELD_POSITION_BACK,
            label="News",
            value="{news}",
            change_message="%@",
        )
        made = client.create_template(shown.program_id, display_name="News", content=content)
        template_id = made.template.template_id
        client.publish_template(template_id, etag=made.template.etag)
        issued = [client.issue_pass(template_id, values={"points": number}) for number in range(3)]
        path = tmp_path / "winners.csv"
        lines = [f"W{number},{issued[number].reference_id},Ada,x" for number in range(2)]
        path.write_text("\n".join(["external_id,reference_id,name,points", *lines]))
        done = command_line.run(
            *("import", path, "--action", "notify", "--template", template_id, "--watch"),
            *("--slot", "news", "--message", "You have won"),
        )
        assert done.status == 0, done
        assert "succeeded  2" in done.output
        news = [client.get_pass(pass_id=each.pass_id).values["news"].text for each in issued]
    assert news == ["You have won", "You have won", ""]
