"""What a scanner or a person at the till types, made into a way to name a pass.

Scanners that are keyboards give more than the code: an identifier of the symbology before it (AIM,
ISO/IEC 15424), an address around it, spaces and hyphens for the eye. What the code says is for the
service to read; here it is only told which kind it is.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

LONGEST_SCAN: Final = 2048
"""Characters; no barcode of a pass holds as many."""

_AIM_IDENTIFIER: Final = re.compile(r"\][A-Za-z][0-9A-Za-z]")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_PHONE: Final = re.compile(r"\+[0-9][0-9 ()./-]{4,30}", re.ASCII)
# What the service writes into barcodes: a signed token, a handle, a serial number.
_BARCODE: Final = re.compile(
    r"P\.[A-Za-z0-9_-]{127}|[A-Za-z0-9_-]{21}[AQgw]|(?i:[0-9A-HJKMNP-TV-Z]{26})", re.ASCII
)
# Crockford's base 32 with the letters that are taken for its digits; eight of them, punctuated.
_REFERENCE_SYMBOLS: Final = re.compile(r"[0-9A-TV-Z]{8}", re.ASCII)
_REFERENCE_LENGTH: Final = 24


class NamedBy(enum.StrEnum):
    """The kinds of names; each a field of the protocol's ScanRef."""

    BARCODE = "barcode"
    SERIAL_NUMBER = "serial_number"
    REFERENCE_ID = "reference_id"
    PHONE = "phone"
    PASS_ID = "pass_id"  # noqa: S105 - a field's name


@dataclass(frozen=True, slots=True, kw_only=True)
class PassName:
    """A way to name a pass. `text`: may be a telephone number, so it is in no `repr`."""

    by: NamedBy
    text: str = field(repr=False)


def read_scan(scanned: str, *, by: NamedBy | None = None) -> PassName:
    """The name in one scan or one line of typing; its kind is seen by its form unless `by` says it.
    ValueError when there is nothing in it, or far too much."""
    text = "".join(c for c in scanned if c.isprintable() or c.isspace()).strip()
    if len(text) > LONGEST_SCAN:
        raise ValueError("is too long for the name of a pass")
    if by not in (None, NamedBy.BARCODE):
        return _name(by, text)
    text = _AIM_IDENTIFIER.sub("", text, count=1) if _AIM_IDENTIFIER.match(text) else text
    if _URL.match(text):
        text = _unwrap(text)
    kind = NamedBy.BARCODE if by is not None else _kind(text)
    return _name(kind, "".join(text.split()) if kind is NamedBy.BARCODE else text)


def _name(by: NamedBy, text: str) -> PassName:
    if not text:
        raise ValueError("names no pass")
    return PassName(by=by, text=text)


def _kind(text: str) -> NamedBy:
    if _UUID.fullmatch(text):
        return NamedBy.PASS_ID
    if _PHONE.fullmatch(text):
        return NamedBy.PHONE
    return NamedBy.REFERENCE_ID if _is_reference_id(text) else NamedBy.BARCODE


def _is_reference_id(text: str) -> bool:
    if len(text) > _REFERENCE_LENGTH:
        return False
    upper = unicodedata.normalize("NFKC", text).upper()
    return bool(_REFERENCE_SYMBOLS.fullmatch("".join(c for c in upper if c.isalnum())))


def _unwrap(address: str) -> str:
    """What an address is wrapped around: its part that looks like a code, else its last."""
    parts = [part for part in _parts(address) if part]
    for part in parts:
        if _BARCODE.fullmatch(part) or _UUID.fullmatch(part) or _is_reference_id(part):
            return part
    return parts[-1] if parts else address


def _parts(address: str) -> Iterator[str]:
    try:
        split = urlsplit(address)
    except ValueError:
        return
    yield from (unquote(pair.partition("=")[2]) for pair in split.query.split("&"))
    yield unquote(split.fragment)
    segments = split.path.split("/")
    yield from (unquote(segment) for segment in reversed(segments))
