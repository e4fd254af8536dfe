"""Telephone numbers as passes have them: E.164, with the country code."""

from __future__ import annotations

import re
from typing import Final

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_PUNCTUATION: Final = re.compile(r"[\s().\-/]")


def without_punctuation(text: str) -> str:
    """A number as people write it, without what they put between its digits."""
    return _PUNCTUATION.sub("", text)


def is_e164(number: str) -> bool:
    """Whether it is "+", country code and number, seven to fifteen digits (ITU-T E.164)."""
    return _E164.fullmatch(number) is not None
