"""Draws texts with Pillow and the font inside it, where Pillow is installed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnText:
    """A text as it covers pixels: a byte each, row after row."""

    width: int
    height: int
    coverage: bytes


class Lettering:
    """Draws texts at some pixels a point."""

    def __init__(self, image_font: ModuleType, scale: int) -> None:
        self._image_font = image_font
        self._scale = scale

    def draw(self, text: str, size: int) -> DrawnText:
        """A text in letters of `size` points."""
        font = self._image_font.load_default(size * self._scale)
        mask, (_, down) = font.getmask2(text, mode="L")
        width, height = mask.size
        return DrawnText(
            width=width, height=height + down, coverage=bytes(width * down) + bytes(mask)
        )


def find_lettering(scale: int) -> Lettering | None:
    """None where Pillow is not installed: a production install does without."""
    try:
        from PIL import ImageFont  # noqa: PLC0415 - may be missing
    except ImportError:
        return None
    return Lettering(ImageFont, scale)
