"""A file of recipients, whatever its format: its columns, its rows, and how far it is read."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self, TextIO

from passmill.cli.campaign.cells import Cell
from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.rejects import REJECTS_BEGIN

HEAD_BYTES: Final = 1 << 20
"""How much of a file is looked at before anything is decided."""
MAX_LINE: Final = 4 << 20
_LINE_ENDS: Final = ("\n", "\r")
_SHOWN: Final = 1_000
FORMATS: Final = ("csv", "ndjson", "parquet")
_SUFFIXES: Final = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_PARQUET_MAGIC: Final = b"PAR1"
# Longest first: UTF-32's mark begins with UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Unreadable(NamedTuple):
    """Instead of cells: why there are none."""

    message: str


class Row(NamedTuple):
    """A row. `line`: where it begins in the file, from 1. `cells`: those wanted, in the order they
    were wanted. `raw`: what its source shows the row from, should it be refused."""

    line: int
    cells: Sequence[Cell] | Unreadable
    raw: object


class Source(Protocol):
    """A file that can be read any number of times."""

    @property
    def description(self) -> str:
        """What was found out about the file."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """The columns found."""
        ...

    @property
    def is_open_ended(self) -> bool:
        """Whether later rows may have other columns than those found."""
        ...

    @property
    def raw_columns(self) -> Sequence[str]:
        """The columns of the reject file."""
        ...

    def show(self, raw: object) -> Sequence[str]:
        """A row for the reject file, from its `Row.raw`."""
        ...

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        """Row after row. CommandFailed when the file cannot be read on."""
        ...

    def fraction(self) -> float:
        """How much of the file is read, 0 to 1."""
        ...


def content_hash(path: Path) -> str:
    """SHA-256 of the whole file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_format(path: Path, given: str | None) -> str:
    """The format of a file by its first bytes and its name. CommandFailed when it is not clear."""
    with path.open("rb") as file:
        head = file.read(len(_PARQUET_MAGIC))
    if not head:
        raise CommandFailed(f"{path} is empty.")
    if given is None and head == _PARQUET_MAGIC:
        return "parquet"
    found = given or _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise CommandFailed(
            f"{path}: what is it? Give --format {{{','.join(FORMATS)}}}, or a name that ends so."
        )
    if (found == "parquet") != (head == _PARQUET_MAGIC):
        is_or_not = "is not" if found == "parquet" else "is"
        raise CommandFailed(f"{path} {is_or_not} a Parquet file, whatever its name says.")
    return found


def find_encoding(head: bytes) -> str:
    """The encoding that a file's first bytes tell of: a byte order mark, UTF-16 without one, or
    UTF-8. CommandFailed for others, which cannot be told from each other."""
    if marked := _marked(head):
        return marked
    sample = head[:4096]
    # Latin letters, digits and commas in UTF-16 have every other byte zero.
    for name, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[0::2])):
        if zeros and zeros.count(0) > len(zeros) // 3 and sample.count(0) == zeros.count(0):
            return name
    if 0 in sample:
        raise CommandFailed("It holds binary data: it is neither CSV nor NDJSON.")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError as error:
        line = head.count(b"\n", 0, error.start) + 1
        raise CommandFailed(
            f"Line {line} is not UTF-8. Say which encoding it is, for instance --encoding cp1252"
            " (Windows in the Americas and Western Europe), cp1250, cp1251 or shift_jis; or save"
            " the file as UTF-8."
        ) from None
    return "utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file of text, and what it is written in."""

    path: Path
    encoding: str
    head: str

    @classmethod
    def inspect(cls, path: Path, encoding: str | None) -> TextFile:
        """Looks at the beginning of a file. A byte order mark says more than `encoding`, which may
        be that of the file whose rejects these are. CommandFailed when the encoding is not known,
        or not the file's."""
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        name = _marked(head) or (encoding if encoding and not _is_reject_file(head) else "")
        name = name or find_encoding(head)
        try:
            text = codecs.getincrementaldecoder(name)(_errors_of(name)).decode(head)
        except LookupError:
            raise CommandFailed(f"There is no encoding {name!r}.") from None
        except UnicodeDecodeError as error:
            raise CommandFailed(f"{path} is not {name}: {error.reason}.") from None
        return cls(path=path, encoding=name, head=text.removeprefix("\ufeff"))


class LineTooLong(Exception):
    """A line of more than `MAX_LINE` characters; the lines behind it can be read."""


class LineReader:
    """The lines of an open file of text, none of them endless: `next` raises LineTooLong at one
    that is, CommandFailed at bytes that are not of the encoding."""

    def __init__(self, file: TextIO, encoding: str) -> None:
        self._file = file
        self._encoding = encoding
        self.line = 0
        """The number of the line given last."""
        self.text = ""
        """The line given last; of one that was too long the beginning."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        readline = self._file.readline
        try:
            text = readline(MAX_LINE)
            if not text:
                raise StopIteration
            self.line += 1
            if len(text) == MAX_LINE and not text.endswith(_LINE_ENDS):
                self.text = text[:_SHOWN]
                while (text := readline(MAX_LINE)) and not text.endswith(_LINE_ENDS):
                    pass
                raise LineTooLong(f"is longer than {MAX_LINE:,} characters")
        except UnicodeDecodeError as error:
            raise CommandFailed(
                f"Behind line {self.line} the file is not {self._encoding}: {error.reason}."
                " Give the right --encoding."
            ) from None
        self.text = text.removeprefix("\ufeff") if self.line == 1 else text
        return self.text


def open_text(path: Path, encoding: str, *, newline: str) -> TextIO:
    """The file opened for reading. Bytes that are not UTF-8 come as lone surrogates, so that one
    bad row is told by its line; other encodings end with UnicodeDecodeError."""
    return path.open(encoding=encoding, errors=_errors_of(encoding), newline=newline)


def fraction_read(file: TextIO, size: int) -> float:
    """How much of a file was read; all when it is closed."""
    return min(1.0, file.buffer.tell() / size) if size and not file.closed else 1.0


def _marked(head: bytes) -> str:
    """What a byte order mark says; empty without one."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), "")


def _is_reject_file(head: bytes) -> bool:
    """Whether this is a reject file as it was written, but for its byte order mark, which editors
    take away."""
    if not head.startswith(REJECTS_BEGIN.encode()):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD_BYTES)
    except UnicodeDecodeError:
        return False
    return True


def _errors_of(encoding: str) -> str:
    is_utf8 = codecs.lookup(encoding).name in {"utf-8", "utf-8-sig"}
    return "surrogateescape" if is_utf8 else "strict"
