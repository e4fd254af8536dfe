"""Slots and the values that fill them: types, checks, and the form in which values are stored.

A value is a plain Python object whose type is its tag: `str`, `int`, `Decimal`, `Money`, aware
`datetime` (a fixed offset, whole seconds) or `bool`.

Text rules (they hold for holder names and template texts as well):
- NFC-normalised, so that one name typed on two systems gives equal bytes.
- Control characters are refused, except the line feed; so are lone surrogates and U+FEFF.
- Bidirectional overrides and embeddings (U+202A-U+202E) are refused, for they can make a pass read
  other than it is. Isolates (U+2066-U+2069) stay when balanced within the text, marks (U+200E,
  U+200F, U+061C) always: right-to-left text needs them.
- Nothing is cut off or taken out: a text is kept, or refused with the reason.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias, assert_never
from urllib.parse import urlsplit

from passmill.domain.money import CURRENCY_DECIMALS, MAX_NUMBER_DIGITS, Money
from passmill.errors import FieldError

Value: TypeAlias = str | int | Decimal | Money | datetime | bool

DEFAULT_MAX_LENGTH = 512
MAX_LENGTH_LIMIT = 10_000
MAX_OFFSET = timedelta(hours=18)
_MINUTE = timedelta(minutes=1)

_INT64 = 1 << 63
_MAX_DECIMAL = Decimal(10) ** MAX_NUMBER_DIGITS
_MIN_EXPONENT = -4  # numbers below 0.0001 are written with an exponent by common JSON writers
_MAX_FRACTION_DIGITS = 9

# No isolate here: those are looked at only when one occurs.
_REFUSED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ufeff\ud800-\udfff]")
_ISOLATES = re.compile("[\u2066-\u2069]")
_POP_ISOLATE = "\u2069"
_NAMES_OF_CONTROLS = {
    "\x00": "NULL",
    "\t": "TAB",
    "\r": "CARRIAGE RETURN",
    "\x1b": "ESCAPE",
    "\x7f": "DELETE",
    "\ufeff": "BYTE ORDER MARK",
}


class SlotType(StrEnum):
    """What kind of value a slot takes, and the Python type that carries it."""

    TEXT = "text"  # str
    INTEGER = "integer"  # int, 64 bits
    DECIMAL = "decimal"  # Decimal
    MONEY = "money"  # Money
    INSTANT = "instant"  # aware datetime
    BOOLEAN = "boolean"  # bool
    URL = "url"  # str, an https address


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A named, typed gap of a template.

    `max_length` counts code points after NFC, for text and URLs; 0 means DEFAULT_MAX_LENGTH.
    """

    name: str
    type: SlotType
    required: bool = False
    default_value: Value | None = None
    max_length: int = 0
    description: str = ""

    @property
    def length_limit(self) -> int:
        """The greatest length of text in code points."""
        return self.max_length or DEFAULT_MAX_LENGTH

    @property
    def can_be_absent(self) -> bool:
        """Whether a pass may end up without a value for this slot."""
        return not self.required and self.default_value is None


class InvalidValue(ValueError):
    """A value that cannot be taken; the message says why, without the value."""


def describe_character(character: str) -> str:
    """`U+0007` with its name where it has one, for messages."""
    name = _NAMES_OF_CONTROLS.get(character) or unicodedata.name(character, "")
    if "\ud800" <= character <= "\udfff":
        name = "LONE SURROGATE"
    return f"U+{ord(character):04X} {name or 'CONTROL CHARACTER'}"


def normalise_text(text: str, *, max_length: int) -> str:
    """`text` in NFC, at most `max_length` code points. Raises InvalidValue."""
    if not (text.isascii() and text.isprintable()):
        # Before the costly steps, which a megabyte of text would make slow.
        if len(text) > 4 * max_length:
            raise InvalidValue(_too_long(len(text), max_length))
        if found := _REFUSED.search(text):
            raise InvalidValue(_refused_character(found))
        text = unicodedata.normalize("NFC", text)
        _require_balanced_isolates(text)
    if len(text) > max_length:
        raise InvalidValue(_too_long(len(text), max_length))
    return text


def _too_long(length: int, max_length: int) -> str:
    return f"has {length} characters, at most {max_length} are allowed"


def _refused_character(found: re.Match[str]) -> str:
    what = describe_character(found.group())
    return f"holds {what} at character {found.start() + 1}, which no pass may hold; remove it"


def _require_balanced_isolates(text: str) -> None:
    depth = 0
    for found in _ISOLATES.finditer(text):
        depth += -1 if found.group() == _POP_ISOLATE else 1
        if depth < 0:
            break
    if depth != 0:
        raise InvalidValue(
            "holds bidirectional isolates (U+2066 to U+2069) that are not closed in pairs"
        )


def normalise_url(text: str, *, max_length: int) -> str:
    """An absolute https address, as given. Raises InvalidValue."""
    normalise_text(text, max_length=max_length)
    if not text.isascii() or re.search(r"[\s\"<>\\^`{|}]", text):
        raise InvalidValue("holds characters that an address cannot; percent-encode them")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidValue("is not a web address") from error
    if parts.scheme != "https" or not host:
        raise InvalidValue("must be an address that begins with https://")
    return text


def require_decimal(number: Decimal) -> Decimal:
    """The number as given, if a pass can show it exactly. Raises InvalidValue."""
    parts = number.as_tuple()
    exponent = parts.exponent
    if not isinstance(exponent, int):
        raise InvalidValue("must be a finite number")
    if abs(number) >= _MAX_DECIMAL:
        raise InvalidValue(f"has more than {MAX_NUMBER_DIGITS} digits")
    if -exponent > _MAX_FRACTION_DIGITS:
        raise InvalidValue(f"has more than {_MAX_FRACTION_DIGITS} digits after the point")
    significant = "".join(map(str, parts.digits)).strip("0")
    if len(significant) > MAX_NUMBER_DIGITS:
        raise InvalidValue(f"has more than {MAX_NUMBER_DIGITS} significant digits")
    if significant and number.adjusted() < _MIN_EXPONENT:
        raise InvalidValue("is closer to zero than 0.0001")
    return number


def require_instant(moment: datetime) -> datetime:
    """The instant as given: aware, whole seconds, offset of whole minutes. Raises InvalidValue."""
    offset = moment.utcoffset()
    if offset is None:
        raise InvalidValue("must have an offset from UTC")
    if moment.microsecond:
        raise InvalidValue("has a fraction of a second; passes hold whole seconds")
    if offset and (offset % _MINUTE or abs(offset) > MAX_OFFSET):
        raise InvalidValue("must have an offset from UTC of whole minutes, at most 18 hours")
    return moment


def require_money(money: Money) -> Money:
    """The amount as given, if its currency is in ISO 4217 and a pass can show it exactly."""
    if money.currency not in CURRENCY_DECIMALS:
        raise InvalidValue(f"has a currency that ISO 4217 does not list: {money.currency!r:.12}")
    if abs(money.minor_units) >= 10**MAX_NUMBER_DIGITS:
        raise InvalidValue(f"has more than {MAX_NUMBER_DIGITS} digits")
    return money


def require_integer(number: int) -> int:
    """The number as given, if it fits 64 bits."""
    if not -_INT64 <= number < _INT64:
        raise InvalidValue("does not fit into 64 bits")
    return number


def admit_value(slot: Slot, value: Value) -> Value:  # noqa: PLR0911 - one return a type
    """The value to keep for `slot`: of its type, normalised. Raises InvalidValue."""
    if type(value) is not _PYTHON_TYPES[slot.type]:
        raise InvalidValue(f"expected {_WANTED[slot.type]}, got {_name_type(value)}")
    match value:
        case bool():
            return value
        case str() if slot.type is SlotType.URL and value:
            return normalise_url(value, max_length=slot.length_limit)
        case str():
            return normalise_text(value, max_length=slot.length_limit)
        case int():
            return require_integer(value)
        case Decimal():
            return require_decimal(value)
        case Money():
            return require_money(value)
        case datetime():
            return require_instant(value)


_PYTHON_TYPES = {
    SlotType.TEXT: str,
    SlotType.INTEGER: int,
    SlotType.DECIMAL: Decimal,
    SlotType.MONEY: Money,
    SlotType.INSTANT: datetime,
    SlotType.BOOLEAN: bool,
    SlotType.URL: str,
}
_WANTED = {
    SlotType.TEXT: "text",
    SlotType.INTEGER: "an integer",
    SlotType.DECIMAL: "a decimal",
    SlotType.MONEY: "money",
    SlotType.INSTANT: "an instant",
    SlotType.BOOLEAN: "a boolean",
    SlotType.URL: "text with an https address",
}


def slot_type_of(value: Value) -> SlotType:
    """A type of slot that takes values like this one: TEXT for text."""
    return next(kind for kind, python in _PYTHON_TYPES.items() if python is type(value))


def _name_type(value: Value) -> str:
    match value:
        case bool():
            return "a boolean"
        case str():
            return "text"
        case int():
            return "an integer"
        case Decimal():
            return "a decimal"
        case Money():
            return "money"
        case datetime():
            return "an instant"
        case _:
            assert_never(value)


def check_text(text: str, *, path: str, max_length: int) -> tuple[str, list[FieldError]]:
    """For texts that are no slot's, such as a holder's name: the normalised text, what is wrong."""
    try:
        return normalise_text(text, max_length=max_length), []
    except InvalidValue as error:
        return text, [FieldError(path=path, message=str(error))]


def values_to_json(values: Mapping[str, Value]) -> str:
    """The canonical stored form: one compact JSON object, names sorted, exact.

    Text and URL as string, integer as number, boolean as such, decimal as string with its digits,
    instant as RFC 3339 string with offset, money as `[minor units, currency]`.
    """
    return json.dumps(
        {name: value_to_json(value) for name, value in values.items()},
        ensure_ascii=False,
        separators=(",", ":"),
        sort_keys=True,
    )


def value_to_json(value: Value) -> str | int | bool | list[str | int]:
    """One value in the stored form, as what `json` writes."""
    match value:
        case bool() | str() | int():
            return value
        case Decimal():
            return str(value)
        case Money():
            return [value.minor_units, value.currency]
        case datetime():
            return value.isoformat(timespec="seconds")
        case _:
            assert_never(value)


def values_from_json(slots: Iterable[Slot], text: str) -> dict[str, Value]:
    """The values that `values_to_json` wrote, by the slots of the same template revision.

    Raises ValueError when the text is not one of that revision.
    """
    types = {slot.name: slot.type for slot in slots}
    stored = json.loads(text)
    if not isinstance(stored, dict) or not stored.keys() <= types.keys():
        raise ValueError("stored values do not belong to these slots")
    return {name: value_from_json(types[name], raw) for name, raw in stored.items()}


def value_from_json(kind: SlotType, raw: object) -> Value:
    """One value from its stored form. Raises ValueError when `raw` is not of that type."""
    match kind, raw:
        case ((SlotType.TEXT | SlotType.URL), str()):
            return raw
        case SlotType.BOOLEAN, bool():
            return raw
        case SlotType.INTEGER, int() if not isinstance(raw, bool):
            return raw
        case SlotType.DECIMAL, str():
            return Decimal(raw)
        case SlotType.INSTANT, str():
            return datetime.fromisoformat(raw)
        case SlotType.MONEY, [int(minor_units), str(currency)]:
            return Money(minor_units=minor_units, currency=currency)
    raise ValueError(f"stored value is not {_WANTED[kind]}")
