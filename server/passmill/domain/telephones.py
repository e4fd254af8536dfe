"""Telephone numbers as passes have them: E.164, with the country code."""

from __future__ import annotations

import re
from typing import Final

import phonenumbers

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_PUNCTUATION: Final = re.compile(r"[\s().\-/]")


def without_punctuation(text: str) -> str:
    """A number as people write it, without what they put between its digits."""
    return _PUNCTUATION.sub("", text)


def is_e164(number: str) -> bool:
    """Whether it is "+", country code and number, seven to fifteen digits (ITU-T E.164)."""
    return _E164.fullmatch(number) is not None


def read_number(text: str, *, region: str) -> str | None:
    """A number as people write it, in E.164; '' for no text, None for what is no number. `region`:
    the country (ISO 3166, "CH") of numbers without country code, '' for none.

    Whether somebody has the number it cannot know: it is possible there, that is all.
    """
    if not text.strip():
        return ""
    try:
        number = phonenumbers.parse(text, region or None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number) or number.extension:
        return None
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return written if is_e164(written) else None
