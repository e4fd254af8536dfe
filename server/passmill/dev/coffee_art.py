"""The coffee club's pictures: a cup in the evening sun, beans, a badge. Drawn here, in code."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin

from passmill.dev.canvas import Canvas, Point, curve, ellipse, rectangle, stroke
from passmill.dev.png import write_png

ESPRESSO = "#3b2116"
MAHOGANY = "#6f3d23"
CARAMEL = "#d98b46"
HONEY = "#f0b56a"
APRICOT = "#f7cf95"
CREAM = "#fff4e3"
MILK = "#f1dfc8"
SHADE = "#d9bfa0"
COFFEE = "#4a2818"
CREMA = "#a8663a"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bean:
    x: float
    y: float
    size: float
    turn: float


# Where the strip's beans lie: below the cup and, smaller and dimmer, towards the text.
_NEAR_BEANS = (
    _Bean(x=205, y=124, size=10, turn=0.5),
    _Bean(x=229, y=131, size=8.5, turn=2.3),
    _Bean(x=182, y=133, size=7.5, turn=-0.4),
    _Bean(x=345, y=126, size=10, turn=-0.7),
    _Bean(x=365, y=115, size=8, turn=0.9),
    _Bean(x=322, y=134, size=7.5, turn=0.2),
)
_FAR_BEANS = (
    _Bean(x=150, y=26, size=8, turn=0.8),
    _Bean(x=176, y=58, size=6, turn=-0.9),
    _Bean(x=118, y=118, size=6.5, turn=0.3),
    _Bean(x=22, y=20, size=6, turn=-0.5),
    _Bean(x=60, y=128, size=7.5, turn=-0.3),
    _Bean(x=350, y=24, size=7, turn=0.4),
)


def draw_strip(scale: int) -> bytes:
    """The picture behind the primary field of a store card, 375 by 144 points, as PNG. Its left
    stays calm and dark, for white text."""
    canvas = Canvas(375, 144, scale)
    canvas.fill_downwards([rectangle(0, 0, 375, 144)], "#7d452a", "#4d2817")
    for radius, color, opacity in (
        (118, "#b9683a", 0.35),
        (96, "#c97a43", 0.55),
        (74, CARAMEL, 0.9),
        (58, HONEY, 0.9),
    ):
        canvas.fill([ellipse(272, 84, radius, radius)], color, opacity)
    for bean in _FAR_BEANS:
        _draw_bean(canvas, bean, opacity=0.35)
    canvas.fill([ellipse(275, 133, 92, 11)], ESPRESSO, 0.35)
    _draw_cup(canvas, 272, 84, 1.0)
    for bean in _NEAR_BEANS:
        canvas.fill([ellipse(bean.x + 1, bean.y + bean.size * 0.7, bean.size, 2.5)], ESPRESSO, 0.4)
        _draw_bean(canvas, bean)
    return write_png(canvas.pixels())


def draw_logo(scale: int) -> bytes:
    """The club's badge for the card's top left, 50 by 50 points, clear around it, as PNG."""
    canvas = Canvas(50, 50, scale)
    canvas.fill_downwards([ellipse(25, 25, 24, 24)], HONEY, CARAMEL)
    canvas.fill([ellipse(25, 25, 20.5, 20.5), ellipse(25, 25, 19.5, 19.5)[::-1]], CREAM, 0.8)
    _draw_bean(canvas, _Bean(x=25, y=25, size=13, turn=-0.75))
    return write_png(canvas.pixels())


def draw_icon(scale: int) -> bytes:
    """The picture on the lock screen, 38 by 38 points, as PNG."""
    canvas = Canvas(38, 38, scale)
    canvas.fill_downwards([rectangle(0, 0, 38, 38)], HONEY, CARAMEL)
    canvas.fill([ellipse(19, 40, 26, 13)], MAHOGANY)
    _draw_cup(canvas, 18.3, 22.5, 0.27)
    return write_png(canvas.pixels())


def _draw_cup(canvas: Canvas, x: float, y: float, size: float) -> None:
    """A cup on its saucer with steam; (x, y) is the middle of the bowl, `size` 1 is 76 points
    wide."""

    def at(dx: float, dy: float) -> Point:
        return x + dx * size, y + dy * size

    def oval(dx: float, dy: float, rx: float, ry: float) -> list[Point]:
        return ellipse(*at(dx, dy), rx * size, ry * size)

    # Saucer, with its rim in the light.
    canvas.fill([oval(0, 47, 66, 9.5)], SHADE)
    canvas.fill([oval(0, 45, 66, 9.5)], CREAM)
    canvas.fill([oval(0, 45.5, 52, 6.5)], MILK)
    canvas.fill([oval(0, 45, 30, 4)], SHADE, 0.8)
    # Handle.
    canvas.fill([oval(42, 8, 17, 18), oval(41, 8, 9.5, 10.5)[::-1]], MILK)
    canvas.fill([oval(42, 9.5, 16, 16.5), oval(41.5, 8.5, 11.5, 12.5)[::-1]], CREAM)
    # Bowl.
    bowl = [
        *curve(at(-40, -20), at(-40, 16), at(-28, 38), at(-16, 42)),
        *curve(at(-16, 42), at(-8, 45), at(8, 45), at(16, 42)),
        *curve(at(16, 42), at(28, 38), at(40, 16), at(40, -20)),
    ]
    canvas.fill([bowl[::-1]], CREAM)
    shade = [
        *curve(at(40, -20), at(40, 16), at(28, 38), at(16, 42)),
        *curve(at(16, 42), at(10, 44), at(2, 44.5), at(-4, 44)),
        *curve(at(-4, 44), at(18, 34), at(27, 8), at(27, -18)),
    ]
    canvas.fill([shade], SHADE, 0.55)
    # Rim, coffee, and its foam.
    canvas.fill([oval(0, -20, 40, 9)], MILK)
    canvas.fill([oval(0, -19.5, 37, 7.4)], COFFEE)
    canvas.fill([oval(0, -18.2, 33.5, 5.4)], CREMA)
    canvas.fill([oval(-3, -18.4, 22, 3.3)], HONEY, 0.75)
    canvas.fill([oval(-6, -18.6, 10, 1.6)], APRICOT)
    for shift, top, width in ((-15, -58, 4.6), (1, -68, 5.6), (17, -57, 4.6)):
        steam = [
            at(shift + 5 * sin(step / 30 * 2 * pi), -30 + (top + 30) * step / 30)
            for step in range(31)
        ]
        outlines = stroke(steam, lambda share, w=width: size * w * (0.12 + sin(pi * share)))  # type: ignore[misc]
        canvas.fill(outlines, CREAM, 0.75)


def _draw_bean(canvas: Canvas, bean: _Bean, opacity: float = 1.0) -> None:
    """A coffee bean with its slit."""

    def at(along: float, across: float) -> Point:
        a, b = along * bean.size, across * bean.size
        return (
            bean.x + a * cos(bean.turn) - b * sin(bean.turn),
            bean.y + a * sin(bean.turn) + b * cos(bean.turn),
        )

    canvas.fill([ellipse(bean.x, bean.y, bean.size, bean.size * 0.68, bean.turn)], COFFEE, opacity)
    lit = ellipse(*at(-0.04, -0.12), bean.size * 0.86, bean.size * 0.48, bean.turn)
    canvas.fill([lit], MAHOGANY, opacity)
    slit = curve(at(-0.95, 0.06), at(-0.35, -0.5), at(0.35, 0.5), at(0.95, -0.06))
    canvas.fill(
        stroke(slit, lambda share: bean.size * (0.06 + 0.16 * sin(pi * share))), ESPRESSO, opacity
    )
