"""What operators call things."""

from __future__ import annotations

from typing import Final

from passmill.domain.values import InvalidValue, normalise_text
from passmill.errors import invalid_field

MAX_DISPLAY_NAME: Final = 100


def admit_display_name(name: str, *, path: str) -> str:
    """`name` in NFC: one line of at most 100 characters, not all blank.

    AppError INVALID_FIELD naming `path`.
    """
    try:
        admitted = normalise_text(name, max_length=MAX_DISPLAY_NAME)
    except InvalidValue as error:
        raise invalid_field(path, str(error)) from None
    if not admitted.strip():
        raise invalid_field(path, "is empty; give it a name")
    if "\n" in admitted:
        raise invalid_field(path, "holds a line break; a name is one line")
    return admitted
