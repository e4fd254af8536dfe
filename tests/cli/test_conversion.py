"""Rows as recipients, and rows that are none."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.cli.campaign.cells import Reading
from passmill.cli.campaign.conversion import NOT_READABLE, BadRow, Conversion
from passmill.cli.campaign.csv_source import CsvSource
from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.mapping import ColumnMapping
from passmill.cli.campaign.ndjson_source import NdjsonSource, RejectedJson
from passmill.cli.campaign.rejects import RejectFile, guard, unguard
from passmill_client import Recipient, messages, pass_draft

SLOTS = [
    messages.Slot(name="points", type=messages.SLOT_TYPE_INTEGER, required=True),
    messages.Slot(name="tier", type=messages.SLOT_TYPE_TEXT),
]
COLUMNS = ["external_id", "name", "phone", "external_ids.crm", "points", "tier"]


def conversion(*columns: str, numbered: bool = False, wants_refs: bool = False) -> Conversion:
    """How rows of these columns are converted."""
    mapping = ColumnMapping(
        slots=SLOTS, numbered=numbered, wants_refs=wants_refs, needs_slots=not wants_refs
    )
    mapped = mapping.resolve(list(columns))
    return Conversion(mapped.columns, slots=SLOTS, reading=Reading(), has_draft=not wants_refs)


def test_a_row_becomes_what_the_client_would_make_of_it() -> None:
    """A row of texts is the recipient that passmill_client.pass_draft makes; what is empty is not
    set."""
    row = ["M1", "Zoë Ōtani", " +12065550123 ", "4711", "5", ""]
    assert conversion(*COLUMNS).recipient(2, row) == Recipient(
        external_id="M1",
        draft=pass_draft(
            name="Zoë Ōtani",
            phone="+12065550123",
            external_ids={"crm": "4711"},
            values={"points": 5},
        ),
    )


def test_tags_come_as_words_or_as_a_list() -> None:
    """Words between commas, semicolons, bars or spaces are tags, each once; so is a list."""
    tags = conversion("external_id", "points", "tags")
    for cell in (" vip, berlin;vip |x", ["vip", "berlin", None, "x"]):
        assert list(tags.recipient(2, ["M1", 5, cell]).draft.tags) == ["vip", "berlin", "x"]
    assert list(tags.recipient(2, ["M1", 5, ""]).draft.tags) == []


def test_passes_are_named_for_changes() -> None:
    """A row that changes a pass names it and has no draft when it changes nothing."""
    converted = conversion("reference_id", "tier", numbered=True, wants_refs=True)
    assert converted.recipient(9, ["k7m3 q8tx", ""]) == Recipient(
        external_id="row-9", ref=messages.PassRef(reference_id="k7m3 q8tx")
    )


def test_every_bad_cell_of_a_row_is_told_at_once() -> None:
    """All problems of a row stand in one message, by column, and no cell is repeated in it."""
    columns = ["external_id", "points", "tier"]
    with pytest.raises(BadRow) as caught:
        conversion(*columns).recipient(2, ["M1", "secret", "a\udcebb"])
    assert caught.value.reason == NOT_READABLE
    assert "points: is no whole number" in caught.value.message
    assert "tier: holds bytes" in caught.value.message
    assert "secret" not in caught.value.message
    with pytest.raises(BadRow, match="external_id: is empty"):
        conversion(*columns).recipient(2, ["", "5", ""])
    with pytest.raises(BadRow, match="larger than 1 MiB"):
        conversion(*columns).recipient(2, ["M1", "5", "x" * (1 << 20)])


@given(st.text())
def test_the_guard_against_formulas_is_undone(text: str) -> None:
    """A guarded cell never begins like a formula, and unguarding gives the cell back, unless it
    already looked guarded."""
    guarded = guard(text)
    assert not guarded.startswith(("=", "+", "-", "@", "\t", "\r"))
    if unguard(text) == text:
        assert unguard(guarded) == text


def test_a_reject_file_is_imported_as_the_rows_it_holds(tmp_path: Path) -> None:
    """Rejects mended in place are rows again: the columns put before them are no part of them, and
    cells guarded against formulas are as they were."""
    first = tmp_path / "members.csv"
    row = ["M1", "=Ada", "+12065550123", "4711", "x", "-"]
    with first.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, row])
    source = CsvSource(first)
    [found] = source.rows(COLUMNS)
    path = tmp_path / "members.csv.rejects.csv"
    with RejectFile(path, raw_columns=source.raw_columns) as rejects:
        rejects.add(
            line=found.line, reason="INVALID_VALUES", message="=1", cells=source.show(found.raw)
        )
    text = path.read_text(encoding="utf-8-sig")
    assert "'=Ada,'+12065550123" in text
    assert "2,INVALID_VALUES,'=1," in text
    again = CsvSource(path)
    [read] = again.rows(COLUMNS)
    assert list(read.cells) == row
    assert again.show(read.raw) == row
    assert again.raw_columns == COLUMNS
    # Its own rejects hold its rows, not the columns put before them a second time.
    with RejectFile(path, raw_columns=COLUMNS):
        pass
    assert not path.exists()


@pytest.mark.parametrize("mark", [True, False])
def test_rejects_are_read_as_they_were_written_whatever_the_file_was(
    tmp_path: Path, mark: bool
) -> None:
    """The options of the file whose rejects these are do no harm: a reject file is UTF-8 with
    commas, with its byte order mark or without, and its guarded cells come as they were."""
    first = tmp_path / "members.csv"
    row = ["M1", "Zoë Müller", "+12065550123", "4711", "viele", "-"]
    with first.open("w", encoding="cp1252", newline="") as file:
        csv.writer(file, delimiter=";").writerows([COLUMNS, row])
    source = CsvSource(first, encoding="cp1252", delimiter=";")
    [found] = source.rows(COLUMNS)
    path = tmp_path / "members.csv.rejects.csv"
    with RejectFile(path, raw_columns=source.raw_columns) as rejects:
        rejects.add(line=2, reason="X", message="", cells=source.show(found.raw))
    if not mark:
        path.write_bytes(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    [read] = CsvSource(path, encoding="cp1252", delimiter=";").rows(COLUMNS)
    assert list(read.cells) == row
    # Saved anew by a spreadsheet, in its own encoding: then what is given holds.
    path.write_bytes(path.read_text(encoding="utf-8-sig").encode("cp1252"))
    [read] = CsvSource(path, encoding="cp1252").rows(COLUMNS)
    assert list(read.cells) == row


def refuse(path: Path, *names: str) -> RejectFile:
    """Writes a reject file with these rows."""
    with RejectFile(path, raw_columns=["name"]) as rejects:
        for name in names:
            rejects.add(line=2, reason="X", message="", cells=[name])
    return rejects


def test_a_reject_file_mended_by_hand_is_kept(tmp_path: Path) -> None:
    """Rejects replace those of an earlier run, which they hold again; but a line that somebody
    wrote is never lost: the file is beside the new one."""
    path = tmp_path / "a.csv.rejects.csv"
    refuse(path, "Ada")
    assert refuse(path, "Ada", "Zoe").kept is None
    path.write_text(path.read_text(encoding="utf-8-sig").replace("Zoe", "Zoë"), encoding="utf-8")
    mended = path.read_bytes()
    kept = refuse(path, "Ada", "Zoe").kept
    assert kept == tmp_path / "a.csv.rejects.csv.bak"
    assert kept.read_bytes() == mended
    assert "Zoe" in path.read_text()
    path.write_text("mine")
    kept = refuse(path).kept
    assert kept == tmp_path / "a.csv.rejects.csv.bak2"
    assert kept.read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "a.csv.rejects.csv.bak",
        "a.csv.rejects.csv.bak2",
    ]


def test_rejects_of_json_are_rows_again(tmp_path: Path) -> None:
    """Rejects of NDJSON, and so of Parquet, hold each row as an object in one cell: mended there,
    they are read as objects, and refused again they stand as they were."""
    first = tmp_path / "a.ndjson"
    objects = [
        '{"external_id": "M1", "values": {"points": "x"}}',
        '{"external_id": "M2", "tier": 1}',
    ]
    first.write_text("\n".join(objects))
    source = NdjsonSource(first)
    path = tmp_path / "a.ndjson.rejects.csv"
    with RejectFile(path, raw_columns=source.raw_columns) as rejects:
        for row in source.rows(["external_id"]):
            rejects.add(line=row.line, reason="X", message="", cells=source.show(row.raw))
    path.write_text(path.read_text(encoding="utf-8-sig").replace('""x""', "5"), encoding="utf-8")
    written = CsvSource(path)
    assert written.holds_json
    again = RejectedJson(written)
    assert list(again.columns) == ["external_id", "values.points", "tier"]
    rows = list(again.rows(["external_id", "values.points"]))
    assert [row.cells for row in rows] == [["M1", 5], ["M2", None]]
    assert list(again.show(rows[1].raw)) == [objects[1]]
    path.write_text("reject_line,reject_reason,reject_message,row\n2,X,,{broken\n")
    with pytest.raises(CommandFailed, match="No cell of the column 'row' is a JSON object"):
        RejectedJson(CsvSource(path))


def test_half_a_character_is_told_as_such(tmp_path: Path) -> None:
    """A surrogate that JSON may write is no matter of the file's encoding."""
    path = tmp_path / "a.ndjson"
    path.write_text('{"external_id": "M1", "points": 1, "name": "\\ud800"}\n')
    [row] = NdjsonSource(path).rows(["external_id", "points", "name"])
    with pytest.raises(BadRow, match="name: holds half a character"):
        conversion("external_id", "points", "name").recipient(1, list(row.cells))
