"""NDJSON: a JSON object a line (https://github.com/ndjson/ndjson-spec)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO

from passmill.cli.campaign.cells import Cell
from passmill.cli.campaign.csv_source import CsvSource
from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.mapping import EXTERNAL_IDS, VALUES
from passmill.cli.campaign.rejects import ROW_COLUMN
from passmill.cli.campaign.sources import (
    LineReader,
    LineTooLong,
    Row,
    TextFile,
    Unreadable,
    fraction_read,
    open_text,
)

_SAMPLE_LINES: Final = 1_000


class NdjsonSource:
    """A file of JSON objects. Slots and external ids may stand in objects of their own: `values`
    and `external_ids`."""

    is_open_ended = True
    raw_columns = (ROW_COLUMN,)

    def __init__(self, path: Path, *, encoding: str | None = None) -> None:
        """CommandFailed when the beginning is not JSON objects."""
        text = TextFile.inspect(path, encoding)
        self._path = path
        self._encoding = text.encoding
        self._size = path.stat().st_size
        self._file: TextIO | None = None
        lines = text.head.split("\n")[:_SAMPLE_LINES]
        if lines[0].lstrip().startswith("["):
            raise CommandFailed(
                f"{path} is one JSON array. It should be an object a line:"
                f" jq -c '.[]' {path.name} > recipients.ndjson makes it so."
            )
        self.columns: Sequence[str] = list(dict.fromkeys(_names(lines)))
        if not self.columns:
            raise CommandFailed(f"{path} does not begin with JSON objects, one a line.")

    @property
    def description(self) -> str:
        """Format and encoding."""
        return f"NDJSON, {self._encoding}"

    def show(self, raw: object) -> Sequence[str]:
        """The line."""
        return (str(raw).rstrip("\r\n"),)

    def fraction(self) -> float:
        """By bytes."""
        return 0.0 if self._file is None else fraction_read(self._file, self._size)

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        """Rows; empty lines are none."""
        read = _reader(wanted)
        with open_text(self._path, self._encoding, newline="\n") as self._file:
            lines = LineReader(self._file, self._encoding)
            while True:
                try:
                    text = next(lines)
                except StopIteration:
                    return
                except LineTooLong as error:
                    yield Row(lines.line, Unreadable(str(error)), lines.text)
                    continue
                if text.isspace():
                    continue
                yield Row(lines.line, read(text), text)


class RejectedJson:
    """Rejects of NDJSON or Parquet, mended: CSV whose one column of its own holds JSON objects."""

    is_open_ended = True
    raw_columns = (ROW_COLUMN,)

    def __init__(self, source: CsvSource) -> None:
        """CommandFailed when the beginning is not JSON objects."""
        self._source = source
        beginning = islice(source.rows([ROW_COLUMN]), _SAMPLE_LINES)
        texts = [row.cells[0] for row in beginning if not isinstance(row.cells, Unreadable)]
        self.columns: Sequence[str] = list(dict.fromkeys(_names(map(str, texts))))
        if not self.columns:
            raise CommandFailed(f"No cell of the column {ROW_COLUMN!r} is a JSON object.")

    @property
    def description(self) -> str:
        """Format and encoding."""
        return f"{self._source.description}, rows of JSON"

    def show(self, raw: object) -> Sequence[str]:
        """The object."""
        return self._source.show(raw)

    def fraction(self) -> float:
        """By bytes."""
        return self._source.fraction()

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        """Rows."""
        read = _reader(wanted)
        for row in self._source.rows([ROW_COLUMN]):
            if isinstance(row.cells, Unreadable):
                yield row
            else:
                yield row._replace(cells=read(str(row.cells[0])))


def _reader(wanted: Sequence[str]) -> Callable[[str], Sequence[Cell] | Unreadable]:
    """How an object becomes the cells that are wanted of it."""
    getters = [_getter(name) for name in wanted]
    parse = _decoder()

    def read(text: str) -> Sequence[Cell] | Unreadable:
        try:
            found = parse(text)
        except (ValueError, RecursionError) as error:
            return Unreadable(f"is no JSON object: {error}")
        if found.__class__ is dict:
            return [get(found) for get in getters]
        return Unreadable("is no JSON object")

    return read


def _decoder() -> Callable[[str], Any]:
    # Digits stay as they are written.
    return json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant).decode


def _names(texts: Iterable[str]) -> Iterator[str]:
    parse = _decoder()
    for text in texts:
        try:
            found = parse(text)
        except (ValueError, RecursionError):
            continue  # it is told when its turn comes
        for name, cell in found.items() if isinstance(found, dict) else ():
            if name in {VALUES, EXTERNAL_IDS} and isinstance(cell, dict):
                yield from (f"{name}.{key}" for key in cell)
            else:
                yield name


def _getter(name: str) -> Callable[[Mapping[str, Any]], Cell]:
    """How a cell is found in an object: by its name, or in an object of `values`."""
    outer, _, inner = name.partition(".")
    if not inner:
        return lambda found: found.get(name)

    def get(found: Mapping[str, Any]) -> Cell:
        cell = found.get(name)
        if cell is None:
            within = found.get(outer)
            return within.get(inner) if isinstance(within, dict) else None
        return cell

    return get


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
