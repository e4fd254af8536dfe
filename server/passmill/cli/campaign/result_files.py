"""Results of a campaign as a file: CSV, NDJSON or Parquet."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.rejects import guard

COLUMNS: Final = (
    "external_id",
    "state",
    "pass_id",
    "reference_id",
    "serial_number",
    "reason",
    "message",
    "bundle",
    "claim_url",
)
FORMATS: Final = ("csv", "ndjson", "parquet")
STDOUT: Final = "-"
_PARQUET_ROWS: Final = 10_000


class ResultWriter(Protocol):
    """Takes row after row."""

    def write(self, row: Mapping[str, str]) -> None:
        """Writes a row: the texts of `COLUMNS`."""
        ...


class CsvResults:
    """UTF-8 with a byte order mark, which spreadsheets look for; no cell is taken for a formula."""

    def __init__(self, file: TextIO) -> None:
        file.write("\ufeff")
        self._writer = csv.writer(file)
        self._writer.writerow(COLUMNS)

    def write(self, row: Mapping[str, str]) -> None:
        """Writes a row."""
        self._writer.writerow([guard(row[column]) for column in COLUMNS])


class NdjsonResults:
    """An object a line, without what is empty."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: Mapping[str, str]) -> None:
        """Writes a row."""
        filled = {column: row[column] for column in COLUMNS if row[column]}
        self._file.write(json.dumps(filled, ensure_ascii=False) + "\n")


class ParquetResults:
    """Text columns, null where empty, a row group each ten thousand rows."""

    def __init__(self, path: Path) -> None:
        """CommandFailed when pyarrow is not there."""
        try:
            import pyarrow as pa  # noqa: PLC0415 - an extra, needed only here
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ModuleNotFoundError:
            raise CommandFailed(
                "Parquet needs pyarrow: pip install 'passmill[campaign]', or choose another format."
            ) from None
        self._arrow: Any = pa
        self._schema = pa.schema([(column, pa.string()) for column in COLUMNS])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[Mapping[str, str | None]] = []

    def write(self, row: Mapping[str, str]) -> None:
        """Writes a row, with those before and after it."""
        self._rows.append({column: row[column] or None for column in COLUMNS})
        if len(self._rows) == _PARQUET_ROWS:
            self._flush()

    def close(self) -> None:
        """Writes the rest."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
            self._rows = []


def find_format(output: str, given: str | None) -> str:
    """The format given, or that of the file's name; CSV otherwise."""
    suffix = Path(output).suffix.lower().removeprefix(".")
    found = given or ("ndjson" if suffix in {"json", "jsonl"} else suffix)
    if found == "parquet" and output == STDOUT:
        raise CommandFailed("Parquet needs a file: give --output FILE.parquet.")
    return found if found in FORMATS else "csv"


@contextmanager
def open_results(output: str, format_name: str) -> Iterator[ResultWriter]:
    """A file that is there under its name once it is complete, and not before."""
    if output == STDOUT:
        yield CsvResults(sys.stdout) if format_name == "csv" else NdjsonResults(sys.stdout)
        sys.stdout.flush()
        return
    path = Path(output)
    partial = path.with_name(f".{path.name}.part")
    try:
        if format_name == "parquet":
            results = ParquetResults(partial)
            try:
                yield results
            finally:
                results.close()
        else:
            with partial.open("w", encoding="utf-8", newline="") as file:
                yield CsvResults(file) if format_name == "csv" else NdjsonResults(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
