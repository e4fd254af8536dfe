"""What differs between two contents of a pass, and what a phone's lock screen says of it.

Wallet tells of a field whose value is another than before, if the field has a change message, by
that message with the new value in the place of `%@`
(https://developer.apple.com/documentation/walletpasses/passfieldcontent). How it writes numbers and
dates depends on the phone; here they are written plainly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from passmill.domain.apple import names
from passmill.domain.money import CURRENCY_DECIMALS
from passmill.domain.templates.formats import format_decimal

_NONE: Final = "PKDateStyleNone"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownChange:
    """A field that is new, gone or another. `lock_screen_message` is empty where a phone says
    nothing."""

    key: str
    lock_screen_message: str


def compare_fields(before: bytes, after: bytes) -> list[ShownChange]:
    """The fields that differ between two pass.json of one pass, in the order of the later one; what
    is gone stands last."""
    old, new = _fields(before), _fields(after)
    changes = [
        ShownChange(key=key, lock_screen_message=_message(old.get(key), field))
        for key, field in new.items()
        if field != old.get(key)
    ]
    return changes + [ShownChange(key=key, lock_screen_message="") for key in old if key not in new]


def _fields(pass_json: bytes) -> dict[str, dict[str, Any]]:
    content = json.loads(pass_json, parse_float=Decimal)
    return {
        field["key"]: field
        for style in names.STYLE_KEYS.values()
        for position in names.POSITION_KEYS.values()
        for field in content.get(style, {}).get(position, ())
    }


def _message(old: dict[str, Any] | None, new: dict[str, Any]) -> str:
    message = str(new.get("changeMessage", ""))
    if not message or (old is not None and old["value"] == new["value"]):
        return ""
    return message.replace("%@", _shown(new))


def _shown(field: dict[str, Any]) -> str:
    value = field["value"]
    if isinstance(value, int | Decimal):
        return _number(Decimal(value), field)
    if "dateStyle" in field or "timeStyle" in field:
        return _date(str(value), field)
    return str(value)


def _number(value: Decimal, field: dict[str, Any]) -> str:
    currency = field.get("currencyCode")
    if currency is not None:
        return f"{value:.{CURRENCY_DECIMALS.get(currency, 2)}f} {currency}"
    if field.get("numberStyle") == "PKNumberStylePercent":
        return f"{format_decimal((value * 100).normalize())}%"
    return format_decimal(value)


def _date(value: str, field: dict[str, Any]) -> str:
    moment = datetime.fromisoformat(value)
    parts: list[str] = []
    if field.get("dateStyle", _NONE) != _NONE:
        parts.append(moment.date().isoformat())
    if field.get("timeStyle", _NONE) != _NONE:
        parts.append(moment.time().isoformat("minutes"))
    return " ".join(parts)
