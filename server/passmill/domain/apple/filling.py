"""How values are written into holes."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Final, TypeAlias, cast
from urllib.parse import quote

from passmill.domain.apple.nodes import Form, Hole
from passmill.domain.money import Money
from passmill.domain.templates.formats import FORMATS, format_decimal
from passmill.domain.values import SlotType, Value

Sources: TypeAlias = Mapping[str, Value | None]
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_.~-]*", re.ASCII).fullmatch

Writer: TypeAlias = Callable[[Value], str]


def trim_number(digits: str) -> str:
    """Decimal digits without needless zeros, as JSON numbers are written here: `12.5`, `1250`."""
    if "." not in digits:
        return digits if digits != "-0" else "0"
    trimmed = digits.rstrip("0").rstrip(".")
    return trimmed if trimmed != "-0" else "0"


def percent_encode(text: str) -> str:
    """The text as one component of an address (RFC 3986): only unreserved characters stand."""
    return text if _UNRESERVED(text) else quote(text, safe="")


def _write_text(text: Value) -> str:
    # Without the quotes, for it may stand beside other text.
    return encode_basestring(cast("str", text))[1:-1]


def _write_integer(number: Value) -> str:
    return str(number)


def _write_decimal(number: Value) -> str:
    return trim_number(format_decimal(cast("Decimal", number)))


def _write_money_number(money: Value) -> str:
    return trim_number(cast("Money", money).major_text())


def _write_money_object(money: Value) -> str:
    amount = cast("Money", money)
    return f'{{"amount":"{amount.major_text()}","currencyCode":"{amount.currency}"}}'


def _write_currency(money: Value) -> str:
    return cast("Money", money).currency


def _write_date(moment: Value) -> str:
    return cast("datetime", moment).isoformat(timespec="seconds")


def _write_boolean(value: Value) -> str:
    return "true" if value else "false"


_NUMBERS: Mapping[SlotType, Writer] = {
    SlotType.INTEGER: _write_integer,
    SlotType.DECIMAL: _write_decimal,
    SlotType.MONEY: _write_money_number,
}


_FIXED: Mapping[Form, Writer] = {
    Form.DATE: _write_date,
    Form.CURRENCY: _write_currency,
    Form.BOOLEAN: _write_boolean,
    Form.MONEY_OBJECT: _write_money_object,
}


def writer(hole: Hole) -> Writer:
    """What turns the value of a hole's one source into a piece of pass.json.

    The value is of `hole.type`: rendering trusts what `ValueRules.check` admitted.
    """
    formatted = FORMATS[hole.type]
    match hole.form:
        case Form.TEXT:
            # Only these can hold what needs escaping.
            return _write_text if hole.type in {SlotType.TEXT, SlotType.URL} else formatted
        case Form.URL_COMPONENT:
            return lambda value: percent_encode(formatted(value))
        case Form.HTML:
            return lambda value: _write_text(html.escape(formatted(value)))
        case Form.NUMBER:
            return _NUMBERS[hole.type]
        case Form.ENCODING:
            raise ValueError("an encoding is written by barcode_encoding")
        case _:
            return _FIXED[hole.form]


def barcode_encoding(texts: list[str]) -> str:
    """The encoding for a barcode that holds `texts`: ISO 8859-1 if it can, else UTF-8."""
    for text in texts:
        if not text.isascii() and max(text) > "\xff":
            return "utf-8"
    return "iso-8859-1"
