"""Draws small PNG images with nothing but zlib, for tests that need real ones."""

import struct
import zlib


def draw_png(width: int, height: int, color: str) -> bytes:
    """An image of `width` by `height` pixels: `color` (#rrggbb) with a darker frame and a disc."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    plain = bytes((red, green, blue))
    dark = bytes((red // 2, green // 2, blue // 2))
    radius = min(width, height) / 4
    rows = []
    for y in range(height):
        row = bytearray(plain * width)
        row[:3] = row[-3:] = dark
        if y in {0, height - 1}:
            row[:] = dark * width
        reach = radius**2 - (y - height / 2) ** 2
        if reach > 0:
            half = int(reach**0.5)
            left, right = max(0, width // 2 - half), min(width, width // 2 + half)
            row[3 * left : 3 * right] = dark * (right - left)
        rows.append(b"\x00" + bytes(row))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(rows), 9)
    chunks = [_chunk(b"IHDR", header), _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def read_png_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack_from(">II", data, 16)
    return int(width), int(height)


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
