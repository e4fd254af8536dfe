"""Draws the front of a store card from the files of its pass, as a phone would: colours, pictures,
texts and barcode, and reads the barcode back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import segno
import zxingcpp

from passmill.demo.console import DemoFailed
from passmill.demo.lettering import Lettering, find_lettering
from passmill.dev.canvas import Canvas, rectangle
from passmill.dev.png import Pixels, read_png, write_png

_SCALE = 2
_MARGIN = 28.0
_WIDTH, _HEIGHT = 375.0, 540.0
_SIDE = 14.0
_STRIP_TOP = 68.0
_CODE_SIZE = 164.0  # with the four modules of quiet that its standard asks for
_QUIET = 4
_TABLE = "#efe7dd"
_FIELD_POINTS = 20
_NAME_WIDTH = 240.0


def draw_card(files: Mapping[str, bytes], path: Path) -> None:
    """Writes the card's front as PNG. DemoFailed when the barcode in the file, read by zxing-cpp,
    does not say what the pass says."""
    document = json.loads(files["pass.json"])
    card = _Card(
        document=document,
        canvas=Canvas(_WIDTH + 2 * _MARGIN, _HEIGHT + 2 * _MARGIN, _SCALE),
        lettering=find_lettering(_SCALE),
    )
    card.draw(
        logo=read_png(files[f"logo@{_SCALE}x.png"]), strip=read_png(files[f"strip@{_SCALE}x.png"])
    )
    path.write_bytes(write_png(card.canvas.pixels()))
    _read_back(path, document["barcodes"][0]["message"])


def can_draw_name(name: str) -> bool:
    """Whether the letters of a name can be drawn on this machine, and fit beside the level."""
    lettering = find_lettering(_SCALE)
    if lettering is None or not lettering.can_draw(name):
        return False
    return lettering.draw(name, _FIELD_POINTS).width <= _NAME_WIDTH * _SCALE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    """A card being drawn. `lettering`: None where there is no font; pictures and code are drawn
    all the same."""

    document: Mapping[str, Any]
    canvas: Canvas
    lettering: Lettering | None

    def draw(self, *, logo: Pixels, strip: Pixels) -> None:
        """Draws everything, from the table up."""
        canvas = self.canvas
        canvas.fill([rectangle(0, 0, _WIDTH + 2 * _MARGIN, _HEIGHT + 2 * _MARGIN)], _TABLE)
        for spread in range(8, 0, -1):
            shadow = rectangle(
                _MARGIN - spread,
                _MARGIN + 3 - spread,
                _WIDTH + 2 * spread,
                _HEIGHT + 2 * spread,
                12 + spread,
            )
            canvas.fill([shadow], "#3b2116", 0.03)
        canvas.fill(
            [rectangle(_MARGIN, _MARGIN, _WIDTH, _HEIGHT, 12)], _hex(self._color("background"))
        )
        canvas.image(_MARGIN + _SIDE, _MARGIN + 9, logo)
        canvas.image(_MARGIN, _MARGIN + _STRIP_TOP, strip)
        self._draw_fields()
        self._draw_code()

    def _draw_fields(self) -> None:
        fields = self.document["storeCard"]
        left, right = _SIDE, _WIDTH - _SIDE
        title = self.document["logoText"]
        self._text(title, left + 60, 23, 19, "foreground")
        for field in fields["headerFields"]:
            self._field(field, right, 14, 22, is_right=True)
        [primary] = fields["primaryFields"]
        self._text(_shown(primary), left, _STRIP_TOP + 34, 42, "foreground")
        self._text(primary["label"], left + 1, _STRIP_TOP + 88, 13, "foreground")
        for top, position in ((226, "secondaryFields"), (276, "auxiliaryFields")):
            first, second = fields[position]
            self._field(first, left, top, _FIELD_POINTS, is_right=False)
            self._field(second, right, top, _FIELD_POINTS, is_right=True)

    def _field(
        self, field: Mapping[str, Any], x: float, y: float, size: int, *, is_right: bool
    ) -> None:
        self._text(field["label"], x, y, 11, "label", is_right=is_right)
        self._text(_shown(field), x, y + 14, size, "foreground", is_right=is_right)

    def _text(
        self, text: str, x: float, y: float, size: int, color: str, *, is_right: bool = False
    ) -> None:
        if self.lettering is None:
            return
        drawn = self.lettering.draw(text, size)
        left = x - drawn.width / _SCALE if is_right else x
        self.canvas.mask(
            _MARGIN + left,
            _MARGIN + y,
            (drawn.width, drawn.height),
            drawn.coverage,
            _hex(self._color(color)),
        )

    def _draw_code(self) -> None:
        barcode = self.document["barcodes"][0]
        rows = segno.make_qr(barcode["message"], error="m").matrix
        left = _MARGIN + (_WIDTH - _CODE_SIZE) / 2
        top = _MARGIN + _HEIGHT - _CODE_SIZE - 34
        self.canvas.fill([rectangle(left, top, _CODE_SIZE, _CODE_SIZE + 14, 8)], "#ffffff")
        # Whole pixels a module: a code with smeared edges is read worse.
        module = _CODE_SIZE * _SCALE // (len(rows) + 2 * _QUIET) / _SCALE
        indent = round((_CODE_SIZE - module * len(rows)) / 2 * _SCALE) / _SCALE
        squares = [
            rectangle(left + indent + x * module, top + indent + y * module, module, module)
            for y, row in enumerate(rows)
            for x, is_dark in enumerate(row)
            if is_dark
        ]
        self.canvas.fill(squares, "#000000")
        if self.lettering is not None:
            drawn = self.lettering.draw(barcode["altText"], 14)
            middle = left + (_CODE_SIZE - drawn.width / _SCALE) / 2
            self.canvas.mask(
                middle,
                top + _CODE_SIZE - 8,
                (drawn.width, drawn.height),
                drawn.coverage,
                "#333333",
            )

    def _color(self, name: str) -> str:
        color: str = self.document[f"{name}Color"]
        return color


def _read_back(path: Path, message: str) -> None:
    pixels = read_png(path.read_bytes())
    green = b"".join(row[1 :: pixels.channels] for row in pixels.rows)
    found = zxingcpp.read_barcode(memoryview(green).cast("B", (pixels.height, pixels.width)))
    if found is None:
        raise DemoFailed(f"zxing-cpp finds no barcode in {path}")
    if found.text != message:
        raise DemoFailed(f"the barcode in {path} says {found.text!r}, the pass {message!r}")


def _shown(field: Mapping[str, Any]) -> str:
    """A field's value as a phone in English would write it."""
    value = field["value"]
    if "currencyCode" in field:
        return f"${value:,.2f}"
    if "dateStyle" in field:
        moment = datetime.fromisoformat(value)
        return f"{moment:%b} {moment.day}, {moment.year}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _hex(color: str) -> str:
    """`rgb(1, 2, 3)` as #010203."""
    red, green, blue = (int(part) for part in color.removeprefix("rgb(").rstrip(")").split(","))
    return f"#{red:02x}{green:02x}{blue:02x}"
