"""CSV (RFC 4180 and its many kin): a header line, and a delimiter found or given.

Quotation marks are taken at their word. Where one is not as it should be, its row is refused if it
is surely of one line. Where it may be of several, nobody can tell which of them are rows and which
are inside a cell, so reading ends there: a wrong guess would issue passes to the inside of a cell,
or leave rows out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Final, TextIO

from passmill.cli.campaign.cells import Cell
from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.rejects import (
    LEADING_COLUMNS,
    REJECTS_BEGIN,
    ROW_COLUMN,
    unguard,
)
from passmill.cli.campaign.sources import (
    MAX_LINE,
    LineReader,
    LineTooLong,
    Row,
    TextFile,
    Unreadable,
    fraction_read,
    open_text,
)
from passmill.cli.campaign.words import counted

DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_SAMPLE_ROWS: Final = 50
_AT_END: Final = "unexpected end"  # as csv words it


class CsvSource:
    """A file of comma separated values, or another delimiter's."""

    is_open_ended = False

    def __init__(
        self, path: Path, *, encoding: str | None = None, delimiter: str | None = None
    ) -> None:
        """CommandFailed when the file has no header, or is not clear."""
        text = TextFile.inspect(path, encoding)
        self._path = path
        self._encoding = text.encoding
        if text.head.startswith(REJECTS_BEGIN):
            delimiter = ","  # whatever the file had whose rejects these are
        self.delimiter = delimiter or _find_delimiter(text.head)
        csv.field_size_limit(MAX_LINE)  # of the process; lines are held to the same
        try:
            header = next(_reader(_lines(text.head), self.delimiter), [])
        except csv.Error as error:
            raise CommandFailed(f"{path}: the header line {_told(error)}.") from None
        self.columns: Sequence[str] = [column.strip() for column in header]
        if not any(self.columns):
            raise CommandFailed(f"{path} has no header line that names its columns.")
        self._is_rejects = tuple(self.columns[: len(LEADING_COLUMNS)]) == LEADING_COLUMNS
        self._size = path.stat().st_size
        self._file: TextIO | None = None

    @property
    def description(self) -> str:
        """Format, encoding, delimiter."""
        name = {char: name for name, char in DELIMITERS.items()}.get(self.delimiter, self.delimiter)
        return f"CSV, {self._encoding}, delimiter {name}"

    @property
    def holds_json(self) -> bool:
        """Whether these are rejects of NDJSON or Parquet: a row in one cell."""
        return self._is_rejects and self.raw_columns == [ROW_COLUMN]

    @property
    def raw_columns(self) -> Sequence[str]:
        """Those of the file, but for what an earlier reject file put before them."""
        return self.columns[len(LEADING_COLUMNS) :] if self._is_rejects else self.columns

    def show(self, raw: object) -> Sequence[str]:
        """The row's cells; of a line that could not be cut into cells, all of it as one."""
        if isinstance(raw, str):
            return (raw.rstrip("\r\n"),)
        cells = raw if isinstance(raw, list) else []
        return cells[len(LEADING_COLUMNS) :] if self._is_rejects else cells

    def fraction(self) -> float:
        """By bytes."""
        return 0.0 if self._file is None else fraction_read(self._file, self._size)

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        """Rows; empty lines are none, nor are those of empty cells alone, which spreadsheets leave
        behind. CommandFailed when a cell of several lines is not closed as it should be."""
        choose = _chooser([self.columns.index(column) for column in wanted])
        count = len(self.columns)
        with open_text(self._path, self._encoding, newline="") as self._file:
            lines = LineReader(self._file, self._encoding)
            reader = _reader(lines, self.delimiter)
            next(reader, None)
            while True:
                line = lines.line + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except (csv.Error, LineTooLong) as error:
                    if lines.line > line or _may_go_on(lines.text, error):
                        raise CommandFailed(self._broken(line, lines.line)) from None
                    yield Row(line, Unreadable(_told(error)), lines.text)
                    continue
                if len(cells) == count:
                    if self._is_rejects:
                        cells = [unguard(cell) for cell in cells]
                    if any(cells):
                        yield Row(line, choose(cells), cells)
                elif any(cell.strip() for cell in cells):
                    extra = cells[count:]
                    if extra and not any(extra):  # what spreadsheets leave behind
                        yield Row(line, choose(cells), cells)
                        continue
                    problem = f"has {counted(len(cells), 'cell')}, and the header {count}"
                    yield Row(line, Unreadable(_spanning(line, lines.line, problem)), cells)

    def _broken(self, first: int, last: int) -> str:
        return (
            f"{self._path}: a cell of line {first} begins with a quotation mark, and up to line"
            f" {last} none closes it as it should. Is one missing there, or one inside the cell not"
            " written twice? Nobody can tell which lines are rows, so nothing is started: mend the"
            " file and import it again."
        )


def _reader(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    return csv.reader(lines, delimiter=delimiter, strict=True)


def _may_go_on(line: str, error: Exception) -> bool:
    """Whether a cell that breaks in its only line may be meant to end in a later one."""
    return isinstance(error, csv.Error) and _AT_END not in str(error) and line.count('"') % 2 == 1


def _told(error: Exception) -> str:
    """What is wrong with a line, in words that need no knowledge of Python."""
    message = str(error)
    if "expected after" in message:
        return "has a quotation mark inside a cell that begins with one: write it twice there"
    if _AT_END in message:
        return "has a quotation mark that opens a cell, and none that closes it"
    return message


def _lines(text: str) -> Iterator[str]:
    # Not splitlines: it takes other characters than line ends for line ends.
    return iter(io.StringIO(text, newline=""))


def _spanning(first: int, last: int, problem: str) -> str:
    if last <= first:
        return problem
    return (
        f"{problem}; it goes on to line {last}, as a quotation mark was opened: is one missing?"
        " Everything up to there was left out"
    )


def _chooser(places: Sequence[int]) -> Callable[[Sequence[str]], Sequence[Cell]]:
    if len(places) == 1:
        [place] = places
        return lambda cells: (cells[place],)
    return itemgetter(*places)


def _find_delimiter(head: str) -> str:
    """The delimiter that cuts the first rows into the same number of cells, and most of them."""
    lines = list(islice(_lines(head), _SAMPLE_ROWS + 1))
    best: list[tuple[int, str]] = []
    for delimiter in DELIMITERS.values():
        try:
            rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        if not rows or len(rows[0]) < 2:
            continue
        # The last row may be cut off.
        even = sum(len(row) == len(rows[0]) for row in rows)
        if even >= 0.8 * len(rows) - 1:
            best.append((len(rows[0]), delimiter))
    if not best:
        return ","
    best.sort(reverse=True)
    if len(best) > 1 and best[0][0] == best[1][0]:
        raise CommandFailed(
            "More than one character could be the delimiter: give --delimiter"
            f" {{{','.join(DELIMITERS)}}}."
        )
    return best[0][1]
