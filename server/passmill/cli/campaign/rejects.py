"""Rows that were refused, here or by the service: a CSV file that can be mended and imported."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from hashlib import blake2b
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

LEADING_COLUMNS: Final = ("reject_line", "reject_reason", "reject_message")
"""What stands before the row's own columns."""
ROW_COLUMN: Final = "row"
"""The one column of rows that are JSON."""
REJECTS_BEGIN: Final = ",".join(LEADING_COLUMNS) + ","
"""How the file begins behind its byte order mark."""
_GUARD: Final = "'"
# What makes a spreadsheet take a cell for a formula: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def guard(text: str) -> str:
    """`text` so that no spreadsheet takes it for a formula: with an apostrophe before it where it
    begins like one."""
    return _GUARD + text if text.startswith(_FORMULA_STARTS) else text


def unguard(text: str) -> str:
    """What `guard` was given."""
    is_guarded = text.startswith(_GUARD) and text[1:].startswith(_FORMULA_STARTS)
    return text[1:] if is_guarded else text


class RejectFile:
    """Written beside the file imported, and there under its name when the import ends. Without
    rejects there is none."""

    def __init__(self, path: Path, *, raw_columns: Sequence[str]) -> None:
        """What an earlier run left at `path` is replaced, as each run finds all rejects anew; but
        if it holds a line that this run does not write, somebody mended it, and it is kept beside
        it: `FILE.bak`, `FILE.bak2` and so on."""
        self.path = path
        self.count = 0
        self.kept: Path | None = None
        """Where a file that was mended by hand is now; known at the end."""
        self._columns = raw_columns
        self._partial = path.with_name(f".{path.name}.part")
        self._file: TextIO | None = None
        self._writer: Any = None

    def add(self, *, line: int, reason: str, message: str, cells: Sequence[str]) -> None:
        """Writes a row with why it was refused."""
        if self._file is None:
            # Bytes that are not UTF-8 come and go as lone surrogates.
            self._file = self._partial.open(
                "w", encoding="utf-8-sig", errors="surrogateescape", newline=""
            )
            self._writer = csv.writer(self._file)
            self._writer.writerow([*LEADING_COLUMNS, *map(guard, self._columns)])
        self.count += 1
        self._writer.writerow([line, reason, guard(message), *map(guard, cells)])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self.path.exists():
            if _lines(self.path) <= (_lines(self._partial) if self._file else set()):
                self.path.unlink()
            else:
                self.kept = _free(self.path)
                self.path.rename(self.kept)
        if self._file is not None:
            self._partial.replace(self.path)


def _lines(path: Path) -> set[bytes]:
    """Hashes of the lines: there may be many, and long ones."""
    with path.open("rb") as file:
        return {blake2b(line, digest_size=16).digest() for line in file}


def _free(path: Path) -> Path:
    return next(
        free
        for number in count(1)
        if not (free := path.with_name(f"{path.name}.bak{number if number > 1 else ''}")).exists()
    )
