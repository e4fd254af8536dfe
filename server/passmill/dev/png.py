"""Writes and reads the PNG files that this project draws itself (https://www.w3.org/TR/png-3/):
8 bits, RGB or RGBA, unfiltered rows. Nothing but zlib."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _RGBA = 2, 6
_CHANNELS = {_RGB: 3, _RGBA: 4}


class NotOurPng(ValueError):
    """A PNG of another kind than those that this project draws."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """An image: `channels` (3 or 4) bytes a pixel, row after row."""

    width: int
    height: int
    channels: int
    rows: Sequence[bytes]


def write_png(pixels: Pixels) -> bytes:
    """The file of an image."""
    kind = _RGB if pixels.channels == _CHANNELS[_RGB] else _RGBA
    header = struct.pack(">IIBBBBB", pixels.width, pixels.height, 8, kind, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in pixels.rows), 9)
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, body) for name, body in chunks)


def read_png(file: bytes) -> Pixels:
    """The image in a file that `write_png` made; NotOurPng for any other."""
    if not file.startswith(_SIGNATURE):
        raise NotOurPng("no PNG signature")
    chunks = dict(_chunks(file))
    width, height, bits, kind, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if bits != 8 or kind not in _CHANNELS:
        raise NotOurPng(f"{bits} bits of kind {kind}")
    channels = _CHANNELS[kind]
    content = zlib.decompress(chunks[b"IDAT"])
    length = 1 + width * channels
    rows = [content[start : start + length] for start in range(0, height * length, length)]
    if any(row[0] for row in rows):
        raise NotOurPng("filtered rows")
    return Pixels(width=width, height=height, channels=channels, rows=[row[1:] for row in rows])


def _chunk(name: bytes, body: bytes) -> bytes:
    check = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", check)


def _chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(_SIGNATURE)
    while place < len(file):
        (length,) = struct.unpack_from(">I", file, place)
        yield file[place + 4 : place + 8], file[place + 8 : place + 8 + length]
        place += 12 + length
