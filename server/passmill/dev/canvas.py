"""A small rasteriser: shapes with smooth edges on an image, in plain Python.

Coverage is exact: each edge adds its signed area to the cells it crosses, and a running
sum along the row says how much of each pixel is inside, as in FreeType's rasteriser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import ceil, cos, floor, hypot, pi, sin
from typing import TypeAlias

from passmill.dev.png import Pixels

Point: TypeAlias = tuple[float, float]
Outline: TypeAlias = Sequence[Point]
"""A closed line of points. Clockwise on the screen fills; the other way round makes a hole."""

_OPAQUE = 255
_FINE = 0.35  # points between the corners that stand for a curve


class Canvas:
    """An image to draw on, clear at first. Positions are in points; `scale`: pixels a point."""

    def __init__(self, width: float, height: float, scale: float) -> None:
        self._scale = scale
        self.width = round(width * scale)
        self.height = round(height * scale)
        # Red, green, blue multiplied by alpha, and alpha: a row of bytes for each line of each.
        self._planes = [[bytearray(self.width) for _ in range(self.height)] for _ in range(4)]

    def fill(self, outlines: Iterable[Outline], color: str, opacity: float = 1.0) -> None:
        """Fills what the outlines enclose together with a colour (#rrggbb)."""
        self.fill_downwards(outlines, color, color, opacity)

    def fill_downwards(
        self, outlines: Iterable[Outline], top: str, bottom: str, opacity: float = 1.0
    ) -> None:
        """Fills with colours that go from the shape's top to its bottom."""
        rows = self._coverage(outlines)
        if not rows:
            return
        first, last = min(rows), max(rows)
        start, end = _rgb(top), _rgb(bottom)
        for y, cells in rows.items():
            share = (y - first) / max(1, last - first)
            color = [round(a + (b - a) * share) for a, b in zip(start, end, strict=True)]
            self._blend_row(y, cells, color, opacity)

    def mask(self, x: float, y: float, size: tuple[int, int], mask: bytes, color: str) -> None:
        """Colours pixels by a mask of one byte each (a drawn text), its top left at (x, y)."""
        left, top = round(x * self._scale), round(y * self._scale)
        width, height = size
        rgb = _rgb(color)
        for line in range(height):
            row = mask[line * width : (line + 1) * width]
            for column, amount in enumerate(row):
                if amount and 0 <= left + column < self.width and 0 <= top + line < self.height:
                    self._blend(top + line, left + column, left + column + 1, rgb, amount)

    def image(self, x: float, y: float, pixels: Pixels) -> None:
        """Lays an image, pixel for pixel, with its top left at (x, y)."""
        left, top = round(x * self._scale), round(y * self._scale)
        for line, row in enumerate(pixels.rows):
            for column in range(pixels.width):
                pixel = row[column * pixels.channels : (column + 1) * pixels.channels]
                amount = pixel[3] if pixels.channels == len(self._planes) else _OPAQUE
                if amount:
                    at = left + column
                    self._blend(top + line, at, at + 1, pixel[:3], amount)

    def pixels(self) -> Pixels:
        """The image: with alpha only where something of it is clear."""
        is_opaque = all(min(row) == _OPAQUE for row in self._planes[3])
        channels = 3 if is_opaque else 4
        rows = [self._row(y, channels) for y in range(self.height)]
        return Pixels(width=self.width, height=self.height, channels=channels, rows=rows)

    def _row(self, y: int, channels: int) -> bytes:
        row = bytearray(self.width * channels)
        for channel in range(channels):
            row[channel::channels] = self._planes[channel][y]
        if channels == len(self._planes):
            for x, alpha in enumerate(self._planes[3][y]):
                if 0 < alpha < _OPAQUE:
                    at = x * channels
                    for place in range(at, at + 3):
                        row[place] = min(_OPAQUE, round(row[place] * _OPAQUE / alpha))
        return bytes(row)

    def _coverage(self, outlines: Iterable[Outline]) -> dict[int, dict[int, float]]:
        rows: dict[int, dict[int, float]] = {}
        for outline in outlines:
            points = [(x * self._scale, y * self._scale) for x, y in outline]
            for start, end in zip(points, [*points[1:], *points[:1]], strict=True):
                self._add_edge(rows, start, end)
        return rows

    def _add_edge(self, rows: dict[int, dict[int, float]], start: Point, end: Point) -> None:
        (x0, y0), (x1, y1) = start, end
        if y0 == y1:
            return
        sign = 1.0
        if y0 > y1:
            x0, y0, x1, y1, sign = x1, y1, x0, y0, -1.0
        slope = (x1 - x0) / (y1 - y0)
        if y0 < 0:
            x0, y0 = x0 - y0 * slope, 0.0
        for y in range(floor(y0), min(ceil(y1), self.height)):
            height = min(y + 1, y1) - max(y, y0)
            following = x0 + slope * height
            left, right = sorted((self._clip(x0), self._clip(following)))
            _spread(rows.setdefault(y, {}), left, right, sign * height)
            x0 = following

    def _clip(self, x: float) -> float:
        return min(max(x, 0.0), float(self.width))

    def _blend_row(
        self, y: int, cells: dict[int, float], color: Sequence[int], opacity: float
    ) -> None:
        inside = 0.0
        places = sorted(cells)
        for x, following in zip(places, [*places[1:], self.width], strict=True):
            inside += cells[x]
            amount = round(min(abs(inside), 1.0) * opacity * _OPAQUE)
            if amount and x < self.width:
                self._blend(y, x, following, color, amount)

    def _blend(self, y: int, start: int, end: int, color: Sequence[int], amount: int) -> None:
        for plane, target in zip(self._planes, (*color, _OPAQUE), strict=True):
            row = plane[y]
            row[start:end] = row[start:end].translate(_towards(target, amount))


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> list[Point]:
    """An ellipse about (x, y), turned by `turn` radians."""
    steps = max(16, ceil(2 * pi * max(rx, ry) / _FINE))
    angles = (2 * pi * step / steps for step in range(steps))
    return [
        (
            x + rx * cos(angle) * cos(turn) - ry * sin(angle) * sin(turn),
            y + rx * cos(angle) * sin(turn) + ry * sin(angle) * cos(turn),
        )
        for angle in angles
    ]


def rectangle(x: float, y: float, width: float, height: float, radius: float = 0) -> list[Point]:
    """A rectangle from its top left, with round corners."""
    if radius == 0:
        return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    corners = [
        (x + width - radius, y + height - radius, 0.0),
        (x + radius, y + height - radius, pi / 2),
        (x + radius, y + radius, pi),
        (x + width - radius, y + radius, 3 * pi / 2),
    ]
    steps = max(4, ceil(radius * pi / 2 / _FINE))
    return [
        (
            cx + radius * cos(start + pi / 2 * step / steps),
            cy + radius * sin(start + pi / 2 * step / steps),
        )
        for cx, cy, start in corners
        for step in range(steps + 1)
    ]


def curve(start: Point, first: Point, second: Point, end: Point, steps: int = 24) -> list[Point]:
    """A cubic Bézier curve's points, without its end."""

    def at(share: float, axis: int) -> float:
        rest = 1 - share
        return (
            rest**3 * start[axis]
            + 3 * rest**2 * share * first[axis]
            + 3 * rest * share**2 * second[axis]
            + share**3 * end[axis]
        )

    return [(at(step / steps, 0), at(step / steps, 1)) for step in range(steps)]


def stroke(line: Sequence[Point], width: Callable[[float], float]) -> list[list[Point]]:
    """The outlines of a line with round ends; `width` gives its width from its start (0) to its
    end (1)."""
    outlines: list[list[Point]] = []
    last = len(line) - 1
    for place, ((x0, y0), (x1, y1)) in enumerate(pairwise(line)):
        length = hypot(x1 - x0, y1 - y0) or 1.0
        r0, r1 = width(place / last) / 2, width((place + 1) / last) / 2
        dx, dy = (y1 - y0) / length, -(x1 - x0) / length
        outlines.append(
            [
                (x0 + dx * r0, y0 + dy * r0),
                (x1 + dx * r1, y1 + dy * r1),
                (x1 - dx * r1, y1 - dy * r1),
                (x0 - dx * r0, y0 - dy * r0),
            ]
        )
    outlines.extend(
        ellipse(x, y, width(place / last) / 2, width(place / last) / 2)
        for place, (x, y) in enumerate(line)
    )
    return outlines


def _spread(cells: dict[int, float], left: float, right: float, amount: float) -> None:
    """Adds an edge that crosses one row from `left` to `right` to the row's cells."""
    first, last = floor(left), ceil(right)
    if last <= first + 1:
        beside = (left + right) / 2 - first
        cells[first] = cells.get(first, 0.0) + amount * (1 - beside)
        cells[first + 1] = cells.get(first + 1, 0.0) + amount * beside
        return
    covered = 0.0
    for x in range(first, last):
        # How much of the cell is to the right of the edge, and of all cells before it.
        into, out = max(left, x), min(right, x + 1)
        share = (out - into) / (right - left)
        total = share * (x + 1 - (into + out) / 2) + max(0.0, (into - left) / (right - left))
        cells[x] = cells.get(x, 0.0) + amount * (total - covered)
        covered = total
    cells[last] = cells.get(last, 0.0) + amount * (1 - covered)


@lru_cache(maxsize=8192)
def _towards(target: int, amount: int) -> bytes:
    """For each byte, the byte that is `amount` of 255 nearer to `target`."""
    kept = _OPAQUE - amount
    return bytes((value * kept + target * amount + 127) // _OPAQUE for value in range(256))


def _rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return red, green, blue
