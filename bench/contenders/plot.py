"""Draws the rates against the size of the images, both axes logarithmic, as a PNG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

_SCALE: Final = 3  # drawn larger, then shrunk: smooth edges
_WIDTH, _HEIGHT = 1180, 760
_LEFT, _TOP, _RIGHT, _BOTTOM = 90, 92, 330, 74
_INK, _SOFT, _GRID, _PAPER = "#1d2430", "#5b6575", "#e3e7ed", "#ffffff"
_LABEL_GAP: Final = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A contender's line. `points`: size of the images in bytes, passes a second."""

    label: str
    color: str
    points: Sequence[tuple[int, float]]
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axes:
    """Where on the sheet a size and a rate lie."""

    sizes: tuple[float, float]
    rates: tuple[float, float]

    def x(self, size: float) -> float:
        low, high = (math.log10(each) for each in self.sizes)
        return _LEFT + (math.log10(size) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, rate: float) -> float:
        low, high = (math.log10(each) for each in self.rates)
        return (
            _HEIGHT - _BOTTOM - (math.log10(rate) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        )


class _Sheet:
    """A white sheet in points; each is drawn as `_SCALE` pixels."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (_WIDTH * _SCALE, _HEIGHT * _SCALE), _PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def line(self, points: Sequence[tuple[float, float]], color: str, width: float) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self._draw.line(scaled, fill=color, width=round(width * _SCALE), joint="curve")

    def dashes(self, points: Sequence[tuple[float, float]], color: str, width: float) -> None:
        for (x, y), (to_x, to_y) in itertools.pairwise(points):
            count = max(1, round(math.hypot(to_x - x, to_y - y) / 6))
            for step in range(0, count, 2):
                begin, end = step / count, min(1.0, (step + 1) / count)
                dash = [(x + (to_x - x) * at, y + (to_y - y) * at) for at in (begin, end)]
                self.line(dash, color, width)

    def dot(self, x: float, y: float, color: str, radius: float) -> None:
        box = [(x - radius) * _SCALE, (y - radius) * _SCALE]
        box += [(x + radius) * _SCALE, (y + radius) * _SCALE]
        self._draw.ellipse(box, fill=color, outline=_PAPER, width=_SCALE)

    def text(
        self, x: float, y: float, text: str, *, size: float = 14, color: str = _INK, at: str = "lm"
    ) -> None:
        font = ImageFont.load_default(size * _SCALE)
        self._draw.text((x * _SCALE, y * _SCALE), text, fill=color, font=font, anchor=at)


def draw_plot(
    path: Path, series: Sequence[Series], *, subtitle: str, sizes: Sequence[tuple[int, str]]
) -> None:
    """Writes the picture. `sizes`: the sizes measured, with how to call them."""
    rates = [rate for each in series for _, rate in each.points]
    axes = _Axes(
        sizes=(sizes[0][0] / 1.25, sizes[-1][0] * 1.12),
        rates=(10 ** math.floor(math.log10(min(rates))), 10 ** math.ceil(math.log10(max(rates)))),
    )
    sheet = _Sheet()
    _draw_frame(sheet, axes, sizes)
    sheet.text(_LEFT, 32, "Passes a second against the size of their images", size=22)
    sheet.text(_LEFT, 62, subtitle, color=_SOFT)
    for each in series:
        places = [(axes.x(size), axes.y(rate)) for size, rate in each.points]
        (sheet.dashes if each.dashed else sheet.line)(places, each.color, 2.6)
        for place in places:
            sheet.dot(*place, each.color, 4.5)
    _draw_labels(sheet, axes, series)
    path.parent.mkdir(parents=True, exist_ok=True)
    shrunk = sheet.image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
    shrunk.save(path, optimize=True)


def _draw_frame(sheet: _Sheet, axes: _Axes, sizes: Sequence[tuple[int, str]]) -> None:
    low, high = (round(math.log10(rate)) for rate in axes.rates)
    right = _WIDTH - _RIGHT
    for power in range(low, high + 1):
        y = axes.y(10**power)
        sheet.line([(_LEFT, y), (right, y)], _GRID, 1.4)
        sheet.text(_LEFT - 10, y, f"{10**power:,}", color=_SOFT, at="rm")
        for step in range(2, 10):
            if power < high:
                minor = axes.y(step * 10**power)
                sheet.line([(_LEFT, minor), (right, minor)], _GRID, 0.5)
    bottom = _HEIGHT - _BOTTOM
    for size, name in sizes:
        x = axes.x(size)
        sheet.line([(x, _TOP), (x, bottom)], _GRID, 1.4)
        sheet.text(x, bottom + 18, name, color=_SOFT, at="mm")
    sheet.line([(_LEFT, bottom), (right, bottom)], _SOFT, 1.2)
    sheet.text((_LEFT + right) / 2, bottom + 46, "PNG images in the pass, together", at="mm")


def _draw_labels(sheet: _Sheet, axes: _Axes, series: Sequence[Series]) -> None:
    """Names each line at its right end, moved apart where ends lie close."""
    ends = sorted(((axes.y(each.points[-1][1]), each) for each in series), key=lambda end: end[0])
    places = _apart([y for y, _ in ends])
    for place, (y, each) in zip(places, ends, strict=True):
        x = axes.x(each.points[-1][0])
        sheet.line([(x + 8, y), (x + 26, place)], each.color, 1)
        sheet.text(x + 32, place, f"{each.label}  {_rounded(each.points[-1][1])}", color=each.color)


def _apart(places: Sequence[float]) -> list[float]:
    """The same places from top to bottom, each at least a line below the one before, as little
    moved as that allows: neighbours that touch move as one group about their middle."""
    groups: list[list[float]] = []
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _top(groups[-1]) - _bottom(groups[-2]) < _LABEL_GAP:
            last = groups.pop()
            groups[-1].extend(last)
    return [_top(group) + _LABEL_GAP * step for group in groups for step in range(len(group))]


def _top(group: Sequence[float]) -> float:
    return sum(group) / len(group) - _LABEL_GAP * (len(group) - 1) / 2


def _bottom(group: Sequence[float]) -> float:
    return _top(group) + _LABEL_GAP * (len(group) - 1)


def _rounded(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"
