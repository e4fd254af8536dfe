"""Rows that were refused, here or by the service: a CSV file that can be mended and imported."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

LEADING_COLUMNS: Final = ("reject_line", "reject_reason", "reject_message")
"""What stands before the row's own columns."""
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
    """Written beside the file imported. Without rejects there is none."""

    def __init__(self, path: Path, *, raw_columns: Sequence[str]) -> None:
        """What an earlier run left at `path` is replaced: each run finds all rejects anew."""
        self.path = path
        self.count = 0
        self._columns = raw_columns
        self._file: TextIO | None = None
        self._writer: Any = None

    def add(self, *, line: int, reason: str, message: str, cells: Sequence[str]) -> None:
        """Writes a row with why it was refused."""
        if self._file is None:
            # Bytes that are not UTF-8 come and go as lone surrogates.
            self._file = self.path.open(
                "w", encoding="utf-8-sig", errors="surrogateescape", newline=""
            )
            self._writer = csv.writer(self._file)
            self._writer.writerow([*LEADING_COLUMNS, *map(guard, self._columns)])
        self.count += 1
        self._writer.writerow([line, reason, guard(message), *map(guard, cells)])

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
