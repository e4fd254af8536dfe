"""CSV (RFC 4180 and its many kin): a header line, and a delimiter found or given."""

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
from passmill.cli.campaign.rejects import LEADING_COLUMNS, unguard
from passmill.cli.campaign.sources import (
    LineReader,
    Row,
    TextFile,
    Unreadable,
    fraction_read,
    open_text,
)

DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_SAMPLE_ROWS: Final = 50


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
        self.delimiter = delimiter or _find_delimiter(text.head)
        header = next(csv.reader(_lines(text.head), delimiter=self.delimiter), [])
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
    def raw_columns(self) -> Sequence[str]:
        """Those of the file, but for what an earlier reject file put before them."""
        return self.columns[len(LEADING_COLUMNS) :] if self._is_rejects else self.columns

    def show(self, raw: object) -> Sequence[str]:
        """The row's cells."""
        cells = raw if isinstance(raw, list) else []
        return cells[len(LEADING_COLUMNS) :] if self._is_rejects else cells

    def fraction(self) -> float:
        """By bytes."""
        return 0.0 if self._file is None else fraction_read(self._file, self._size)

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        """Rows; empty lines are none."""
        choose = _chooser([self.columns.index(column) for column in wanted])
        count = len(self.columns)
        with open_text(self._path, self._encoding, newline="") as self._file:
            lines = LineReader(self._file, self._encoding)
            reader = csv.reader(lines, delimiter=self.delimiter)
            next(reader, None)
            while True:
                line = lines.line + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield Row(line, Unreadable(_spanning(line, lines.line, str(error))), [])
                    continue
                if len(cells) == count:
                    if self._is_rejects:
                        cells = [unguard(cell) for cell in cells]
                    yield Row(line, choose(cells), cells)
                elif cells:
                    extra = cells[count:]
                    if extra and not any(extra):  # what spreadsheets leave behind
                        yield Row(line, choose(cells), cells)
                        continue
                    problem = f"has {len(cells)} cells, and the header {count}"
                    yield Row(line, Unreadable(_spanning(line, lines.line, problem)), cells)


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
