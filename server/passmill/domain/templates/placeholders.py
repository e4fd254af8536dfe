"""Template text: fixed text with placeholders in braces.

    Hello {holder.name}, you have {points} points {{so far}}

A placeholder names a slot or one of the built-ins below; `{{` and `}}` stand for braces. Parsing is
strict: a lone brace is an error, not text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

HOLDER_NAME: Final = "holder.name"
HOLDER_PHONE: Final = "holder.phone"
SERIAL_NUMBER: Final = "pass.serial_number"
REFERENCE_ID: Final = "pass.reference_id"
BARCODE: Final = "pass.barcode"

BUILT_INS: Final = frozenset({HOLDER_NAME, HOLDER_PHONE, SERIAL_NUMBER, REFERENCE_ID, BARCODE})
# Built-ins that a pass may lack: not every holder is known by name or number.
OPTIONAL_BUILT_INS: Final = frozenset({HOLDER_NAME, HOLDER_PHONE})

SLOT_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PIECE = re.compile(r"([^{}]+)|(\{\{)|(\}\})|\{([^{}]{0,200})\}|([{}])")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A gap in a text, to be filled from the slot or built-in called `name`."""

    name: str


Part: TypeAlias = str | Placeholder


class BadTemplateText(ValueError):
    """A text whose braces are not right; the message says where and what to do."""


def parse_text(text: str) -> tuple[Part, ...]:
    """The fixed texts and placeholders of a template text in order; no two fixed texts in a row.

    Raises BadTemplateText.
    """
    if "{" not in text and "}" not in text:
        return (text,) if text else ()
    parts: list[Part] = []
    fixed = ""
    for found in _PIECE.finditer(text):
        plain, opening, closing, name, lone = found.groups()
        if lone is not None:
            raise BadTemplateText(
                f"has a lone {lone} at character {found.start() + 1}; write {lone}{lone} for one"
            )
        if name is not None:
            if name not in BUILT_INS and not SLOT_NAME.fullmatch(name):
                raise BadTemplateText(
                    f"has a placeholder with a bad name at character {found.start() + 1}; "
                    "names are lower-case letters, digits and _; write {{ and }} for braces"
                )
            if fixed:
                parts.append(fixed)
            parts.append(Placeholder(name))
            fixed = ""
        else:
            fixed += plain or ("{" if opening else "}" if closing else "")
    if fixed:
        parts.append(fixed)
    return tuple(parts)


def placeholder_names(parts: Sequence[Part]) -> list[str]:
    """The names of all placeholders in order."""
    return [part.name for part in parts if isinstance(part, Placeholder)]


def escape_text(text: str) -> str:
    """The template text that stands for `text` literally."""
    return text.replace("{", "{{").replace("}", "}}")
