"""`passmill campaign create`: changes to passes chosen by a segment, against a whole service."""

from __future__ import annotations

from pathlib import Path

import pytest

from passmill_client import Pass
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
