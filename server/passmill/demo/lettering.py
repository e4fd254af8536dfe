"""Draws texts with Pillow, where it is installed: in the font inside it, or, for what it lacks, in
one that many machines have."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

# Looked for in the system's font folders. The one inside Pillow has ASCII and little else.
_SYSTEM_FONTS: Final = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
)
_NO_CHARACTER: Final = "\ue000"  # for private use: a font shows its sign for what it lacks
_TRIED_POINTS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnText:
    """A text as it covers pixels: a byte each, row after row."""

    width: int
    height: int
    coverage: bytes


class Lettering:
    """Draws texts at some pixels a point. Needs Pillow."""

    def __init__(self, scale: int) -> None:
        self._scale = scale

    def draw(self, text: str, size: int) -> DrawnText:
        """A text in letters of `size` points; what no font here has is shown as its sign for that,
        most often a box."""
        fonts = self._fonts(size)
        font = next((each for each in fonts if _has(each, text)), next(self._fonts(size)))
        mask, (_, down) = font.getmask2(text, mode="L")
        width, height = mask.size
        return DrawnText(
            width=width, height=height + down, coverage=bytes(width * down) + bytes(mask)
        )

    def can_draw(self, text: str) -> bool:
        """Whether a font here has the whole text, in a script that is written letter by letter
        from left to right: what joins or stacks letters takes more than a font."""
        return all(_stands_alone(character) for character in text) and any(
            _has(font, text) for font in self._fonts(_TRIED_POINTS)
        )

    def _fonts(self, size: int) -> Iterator[FreeTypeFont]:
        from PIL import ImageFont  # noqa: PLC0415 - may be missing

        pixels = size * self._scale
        inside = ImageFont.load_default(pixels)
        if isinstance(inside, ImageFont.FreeTypeFont):
            yield inside
        for name in _SYSTEM_FONTS:
            try:
                yield ImageFont.truetype(name, pixels)
            except OSError:
                continue


def find_lettering(scale: int) -> Lettering | None:
    """None where Pillow, or FreeType in it, is missing."""
    try:
        from PIL import features  # noqa: PLC0415 - may be missing
    except ImportError:
        return None
    return Lettering(scale) if features.check("freetype2") else None


def _has(font: FreeTypeFont, text: str) -> bool:
    """Whether a font has every character of a text."""
    missing = _picture(font, _NO_CHARACTER)
    return all(_picture(font, character) != missing for character in set(text))


def _picture(font: FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask, _ = font.getmask2(character, mode="L")
    return mask.size, bytes(mask)


def _stands_alone(character: str) -> bool:
    is_mark = unicodedata.category(character)[0] in "MC"
    return not is_mark and unicodedata.bidirectional(character) not in {"R", "AL"}
