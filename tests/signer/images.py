"""PNG images made of their chunks, right or wrong. [PNG specification, section 5]"""

import struct
import zlib


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png_header(width: int, height: int) -> bytes:
    """Signature and IHDR of an RGBA image of 8 bits a channel."""
    return b"\x89PNG\r\n\x1a\n" + _chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    )


def png(width: int, height: int, *, padding: bytes = b"") -> bytes:
    """A whole, transparent image; `padding` goes into a private chunk."""
    rows = b"\0" * ((width * 4 + 1) * height)
    extra = _chunk(b"paDd", padding) if padding else b""
    return (
        png_header(width, height)
        + _chunk(b"IDAT", zlib.compress(rows))
        + extra
        + _chunk(b"IEND", b"")
    )
