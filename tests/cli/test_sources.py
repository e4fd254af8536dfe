"""Files of every format, encoding and delimiter, whole and broken."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.cli.campaign.cells import BadCell, Reading, read_instant
from passmill.cli.campaign.csv_source import DELIMITERS, CsvSource
from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.ndjson_source import NdjsonSource
from passmill.cli.campaign.parquet_source import ParquetSource
from passmill.cli.campaign.rejects import RejectFile
from passmill.cli.campaign.sources import (
    MAX_LINE,
    Row,
    Source,
    Unreadable,
    find_encoding,
    find_format,
)

HEADER = ["external_id", "name", "points"]
ROWS = [["M1", "Zoë Ōtani", "5"], ["M2", 'Smith, "Jo"; a|b', "6"], ["M3", "王\r\n小明\t🌙", "7"]]


def write_csv(
    path: Path, rows: Sequence[Sequence[str]], *, encoding: str = "utf-8", delimiter: str = ","
) -> Path:
    """A CSV file as Python's own writer makes it."""
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def cells(source: Source, *wanted: str) -> list[list[object]]:
    """The cells of every row; fails at a row that is none."""
    found = []
    for row in source.rows(wanted or list(source.columns)):
        assert not isinstance(row.cells, Unreadable), row
        found.append(list(row.cells))
    return found


@pytest.mark.parametrize("delimiter", DELIMITERS.values())
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_csv_of_any_encoding_and_delimiter_is_found_out(
    tmp_path: Path, encoding: str, delimiter: str
) -> None:
    """Unicode with and without a byte order mark, and the four usual delimiters, need no option;
    quoted delimiters, quotes and line ends stay in their cell."""
    path = write_csv(tmp_path / "a.csv", [HEADER, *ROWS], encoding=encoding, delimiter=delimiter)
    source = CsvSource(path)
    assert source.columns == HEADER
    assert source.delimiter == delimiter
    assert cells(source) == ROWS
    assert cells(source, "points", "external_id") == [[row[2], row[0]] for row in ROWS]
    assert source.fraction() == 1.0


def test_a_named_encoding_is_taken_and_an_unknown_one_told(tmp_path: Path) -> None:
    """Windows' code pages cannot be told apart, so they are named; a wrong name is refused."""
    path = write_csv(tmp_path / "a.csv", [HEADER, ["M1", "Žofie", "5"]], encoding="cp1250")
    with pytest.raises(CommandFailed, match=r"Line 2 is not UTF-8.*--encoding cp1252"):
        CsvSource(path)
    assert cells(CsvSource(path, encoding="cp1250")) == [["M1", "Žofie", "5"]]
    with pytest.raises(CommandFailed, match="no encoding 'klingon'"):
        CsvSource(path, encoding="klingon")
    with pytest.raises(CommandFailed, match="is not ascii"):
        CsvSource(path, encoding="ascii")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
def test_utf8_is_always_found(text: str) -> None:
    """No text in UTF-8 is taken for anything else, and none in UTF-16 with a mark."""
    assert find_encoding(text.encode()) in {"utf-8", "utf-8-sig"}
    assert find_encoding(b"\xff\xfea\0" + text.encode("utf-16-le")) == "utf-16"


def test_bytes_behind_the_head_that_are_not_utf8_refuse_their_row_alone(tmp_path: Path) -> None:
    """One bad byte in a long file is one bad row, and the reject file holds the byte as it was."""
    path = tmp_path / "a.csv"
    lines = [f"M{number},Ada,5\n".encode() for number in range(100_000)]
    path.write_bytes(b"external_id,name,points\n" + b"".join(lines) + b"X,Zo\xeb,5\nY,Zoe,6\n")
    source = CsvSource(path)
    [bad] = [row for row in source.rows(["name"]) if not "".join(map(str, row.cells)).isascii()]
    assert bad.line == 100_002
    with RejectFile(tmp_path / "r.csv", raw_columns=source.raw_columns) as rejects:
        rejects.add(line=bad.line, reason="X", message="", cells=source.show(bad.raw))
    assert b"X,Zo\xeb,5" in (tmp_path / "r.csv").read_bytes()


def test_rows_know_their_lines_and_broken_ones_do_not_stop_the_rest(tmp_path: Path) -> None:
    """Line numbers count lines of the file, not rows; short, long and endless rows are told; empty
    lines, and lines of empty cells, are none; empty cells too many are let pass; a quotation mark
    that is wrong refuses its line, which the reject file shows whole."""
    path = tmp_path / "a.csv"
    path.write_text(
        'external_id,name,points\nM1,"two\nlines",5\n\nM2,short\nM3,a,b,c\nM4,fine,6,,\n'
        'M5,"a "b" c",7\n,,\n   \nM6,"never closed,7\n'
    )
    source = CsvSource(path)
    rows = list(source.rows(["external_id"]))
    told = {row.line: row.cells for row in rows}
    assert told[2] == ("M1",)
    assert told[5] == Unreadable("has 2 cells, and the header 3")
    assert told[6] == Unreadable("has 4 cells, and the header 3")
    assert told[7] == ("M4",)
    assert told[8] == Unreadable(
        "has a quotation mark inside a cell that begins with one: write it twice there"
    )
    assert source.show(rows[4].raw) == ('M5,"a "b" c",7',)
    assert isinstance(told[11], Unreadable)
    assert "none that closes it" in told[11].message
    assert source.show(rows[5].raw) == ('M6,"never closed,7',)
    assert len(rows) == 6


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ('O1,ok,1\nO2,"Bob,2\nO3,"Al",3\nO4,ok,4\n', 4),
        ('O1,1,ok\nO2,2,"Bob\nO3,3,Al\nO4,4,Ann\n', 5),
        ('O1,ok,1\nO2,"say "hi",\nevil,line,7\n",2\n', 3),
        ('O1,ok,1\nO2,"' + "evil,line,7\n" * 400_000 + '",2\nO3,ok,3\n', 349_528),
        ('O1,ok,1\nO2,"\n' + "x" * (MAX_LINE + 1) + '",2\nO3,ok,3\n', 4),
    ],
)
def test_a_cell_of_several_lines_that_breaks_ends_the_reading(
    tmp_path: Path, text: str, last: int
) -> None:
    """A quotation mark that is missing or too many swallows no row, and the inside of a cell never
    becomes one: reading ends, and the lines are named."""
    path = tmp_path / "a.csv"
    path.write_text("external_id,name,points\n" + text)
    found: list[Row] = []
    with pytest.raises(CommandFailed, match=f"cell of line 3 begins .* up to line {last} none"):
        found.extend(CsvSource(path).rows(["external_id"]))
    assert [row.cells for row in found] == [("O1",)]


def test_a_long_cell_of_many_lines_is_a_cell(tmp_path: Path) -> None:
    """What is quoted as it should be is one cell, however long: none of its lines is a row."""
    inside = "evil,line,7\n" * 20_000
    rows = [["M1", inside, "2"], ["M2", "x" * 3_000_000, "3"]]
    path = write_csv(tmp_path / "a.csv", [HEADER, *rows])
    assert cells(CsvSource(path)) == rows


def test_a_line_without_end_is_refused_by_itself(tmp_path: Path) -> None:
    """A line longer than any row is told, with its beginning in the reject file; the next is
    read."""
    long = "x" * (2 * MAX_LINE)
    path = tmp_path / "a.csv"
    path.write_text(f"external_id\nM1\n{long}\nM2\n")
    source = CsvSource(path)
    rows = list(source.rows(["external_id"]))
    assert [row.line for row in rows] == [2, 3, 4]
    assert rows[1].cells == Unreadable("is longer than 4,194,304 characters")
    assert source.show(rows[1].raw) == (long[:1000],)
    assert rows[2].cells == ("M2",)
    path.write_text(f'{{"external_id": "M1"}}\n{long}\n{{"external_id": "M2"}}\n')
    rows = list(NdjsonSource(path).rows(["external_id"]))
    assert rows[1].cells == Unreadable("is longer than 4,194,304 characters")
    assert rows[2].cells == ["M2"]


def test_files_that_are_not_rows_are_refused(tmp_path: Path) -> None:
    """Nothing, binary data, no header, a broken one, and a name that says nothing."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"")
    with pytest.raises(CommandFailed, match="is empty"):
        find_format(path, None)
    path.write_bytes(bytes(range(256)) * 100)
    with pytest.raises(CommandFailed, match="binary"):
        CsvSource(path)
    path.write_text("\n1,2\n")
    with pytest.raises(CommandFailed, match="no header"):
        CsvSource(path)
    path.write_text('external_id,"name\n1,2\n')
    with pytest.raises(CommandFailed, match="header line has a quotation mark that opens"):
        CsvSource(path)
    path = tmp_path / "recipients"
    path.write_text("external_id\n")
    with pytest.raises(CommandFailed, match="--format"):
        find_format(path, None)
    assert find_format(path, "csv") == "csv"
    with pytest.raises(CommandFailed, match="is not a Parquet file"):
        find_format(path, "parquet")


def test_a_delimiter_that_is_not_clear_must_be_given(tmp_path: Path) -> None:
    """Two that cut alike are told; a single column needs none."""
    path = tmp_path / "a.csv"
    path.write_text("a,b;c\n1,2;3\n")
    with pytest.raises(CommandFailed, match="--delimiter"):
        CsvSource(path)
    assert CsvSource(path, delimiter=";").columns == ["a,b", "c"]
    path.write_text("external_id\nM1\n")
    assert cells(CsvSource(path)) == [["M1"]]


def test_ndjson_keeps_digits_and_finds_nested_cells(tmp_path: Path) -> None:
    """Numbers keep their digits; slots may stand in `values`; each bad line is told by itself."""
    path = tmp_path / "a.ndjson"
    lines = [
        '{"external_id": "M1", "values": {"points": 5, "price": 12.50},'
        ' "external_ids": {"crm": "1"}}',
        "",
        '{"external_id": "M2", "points": 6}',
        "{broken",
        "[1]",
        '{"external_id": NaN}',
        '{"external_id": "M3", "values.points": 7}',
        "[" * 100_000,
    ]
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    source = NdjsonSource(path)
    assert {"external_id", "values.points", "values.price", "points"} <= set(source.columns)
    rows = list(source.rows(["external_id", "values.points", "values.price", "external_ids"]))
    assert rows[0].cells == ["M1", 5, Decimal("12.50"), {"crm": "1"}]
    assert rows[0].cells[2].as_tuple().exponent == -2
    assert [row.line for row in rows] == [1, 3, 4, 5, 6, 7, 8]
    assert [isinstance(row.cells, Unreadable) for row in rows] == [
        *(False, False, True, True, True, False, True)
    ]
    assert rows[5].cells == ["M3", 7, None, None]
    assert source.show(rows[2].raw) == ("{broken",)


def test_a_json_array_is_told_how_to_become_ndjson(tmp_path: Path) -> None:
    """One array is no NDJSON; the message says what makes it so."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"external_id": "M1"}]))
    with pytest.raises(CommandFailed, match=r"jq -c"):
        NdjsonSource(path)


def test_parquet_of_every_type_is_read_in_batches(tmp_path: Path) -> None:
    """Numbers, times finer than Python's, decimals, dictionaries, structs, missing and NaN cells
    come as Python's own; rows are numbered."""
    count = 5_000
    moment = datetime(2026, 5, 3, 9, tzinfo=UTC)
    table = pa.table(
        {
            "external_id": pa.array([f"M{number}" for number in range(count)]).dictionary_encode(),
            "since": pa.array([moment] * count, pa.timestamp("ns", "Europe/Berlin")),
            "price": pa.array([Decimal("12.50")] * count, pa.decimal128(9, 2)),
            "points": pa.array([float("nan")] + [5.0] * (count - 1)),
            "values": pa.array([{"tier": "Gold"}] * count),
            "external_ids": pa.array([[("crm", "1")]] * count, pa.map_(pa.string(), pa.string())),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1_500)
    assert find_format(tmp_path / "a.parquet", None) == "parquet"
    source = ParquetSource(tmp_path / "a.parquet")
    assert "values.tier" in source.columns
    rows = list(source.rows(["external_id", "since", "price", "points", "values.tier"]))
    assert [row.line for row in rows] == list(range(1, count + 1))
    assert list(rows[0].cells) == ["M0", moment, Decimal("12.50"), None, "Gold"]
    assert list(rows[-1].cells) == ["M4999", moment, Decimal("12.50"), 5.0, "Gold"]
    [shown] = source.show(rows[1].raw)
    assert json.loads(shown)["external_id"] == "M1"
    assert source.fraction() == 1.0


def test_broken_parquet_is_told(tmp_path: Path) -> None:
    """A cut-off file is refused in words."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"external_id": ["M1"]}), buffer)
    path = tmp_path / "a.parquet"
    path.write_bytes(buffer.getvalue()[:-20])
    with pytest.raises(CommandFailed, match="cannot be read as Parquet"):
        ParquetSource(path)


def test_parquet_with_times_beyond_all_years_refuses_these_alone(tmp_path: Path) -> None:
    """A time that Python cannot hold is a bad cell, not the end; nor does it become another
    time. Bytes are text."""
    far = pa.array([0, 253_402_300_800_000, 1 << 62, None], pa.timestamp("ms", "UTC"))
    names = pa.array(["Zoë".encode(), b"Zo\xeb", None, b""], pa.binary())
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"since": far, "name": names}), path)
    source = ParquetSource(path)
    rows = list(source.rows(["since", "name"]))
    assert rows[0].cells == (datetime(1970, 1, 1, tzinfo=UTC), "Zoë")
    for row in rows[1:3]:
        assert not isinstance(row.cells, Unreadable)
        with pytest.raises(BadCell, match="is no time"):
            read_instant(row.cells[0], Reading())
        assert source.show(row.raw)
    assert [list(row.cells)[1] for row in rows[1:]] == ["Zo\udceb", None, ""]
    assert next(iter(rows[3].cells)) is None
