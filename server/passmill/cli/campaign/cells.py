"""Cells of a file as what they are to become: typed by the template's slots.

A cell is text (CSV), or what JSON and Parquet hold. Nothing is guessed: a text that is not plainly
of its slot's type is refused. Fractions of a second are cut off, as passes hold whole ones.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Final, TypeAlias

from passmill.domain.money import CURRENCY_DECIMALS
from passmill_client import Money, Value, messages

Cell: TypeAlias = object

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_MONEY = re.compile(r"([A-Z]{3})? ?([+-]?[0-9]+)(?:\.([0-9]+))? ?([A-Z]{3})?", re.ASCII)
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0"})
_KINDS: Final[Sequence[tuple[type, str]]] = (
    (bool, "true or false"),
    (float, "a number with a fraction"),
    (datetime, "a time"),
    (date, "a date"),
    (time, "a time of day"),
    (timedelta, "a duration"),
    (list, "a list"),
    (dict, "an object"),
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class BadCell(ValueError):
    """A cell that is not what its target takes; the message says why, without the cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How cells are read where they do not say it themselves.

    `zone`: of times without an offset; None refuses them. `currency`: of amounts without one.
    `decimal_comma`: numbers are written 12,50.
    """

    zone: tzinfo | None = None
    currency: str = ""
    decimal_comma: bool = False


def read_text(cell: Cell) -> str:
    """Text as it is; whole numbers are text too, such as ids that a file holds as numbers."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, (int, Decimal)) and not isinstance(cell, bool):
        return str(cell)
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    kind = next((words for kind, words in _KINDS if isinstance(cell, kind)), "of another type")
    raise BadCell(f"is {kind}, and this takes text: make it text in the file")


def read_integer(cell: Cell) -> int:
    """A whole number of at most 64 bits."""
    if isinstance(cell, str):
        text = cell.strip()
        if not _INTEGER.fullmatch(text) or len(text) > 20:
            raise BadCell("is no whole number of at most 64 bits, written in digits alone")
        number = int(text)
    elif isinstance(cell, (int, float, Decimal)) and not isinstance(cell, bool):
        if not math.isfinite(cell) or cell != int(cell):
            raise BadCell("is no whole number")
        number = int(cell)
    else:
        raise BadCell("is no whole number")
    if not -(1 << 63) <= number < 1 << 63:
        raise BadCell("does not fit into 64 bits")
    return number


def read_decimal(cell: Cell, reading: Reading) -> str:
    """A decimal number, its digits as they are written."""
    if isinstance(cell, str):
        text = _with_point(cell, reading)
    elif isinstance(cell, (int, Decimal)) and not isinstance(cell, bool):
        text = format(cell, "f") if isinstance(cell, Decimal) else str(cell)
    elif isinstance(cell, float):
        text = format(Decimal(repr(cell)), "f")
    else:
        raise BadCell("is no decimal number")
    if not _DECIMAL.fullmatch(text):
        raise BadCell("is no decimal number such as 12.50")
    return text


def read_money(cell: Cell, reading: Reading) -> tuple[int, str]:
    """An amount in minor units and its currency, from "12.50 EUR", "EUR 12.50", a number with
    the currency that `reading` names, or an object with minor_units and currency_code."""
    if isinstance(cell, dict):
        if not set(cell) <= {"minor_units", "currency_code"}:
            raise BadCell("is no object with minor_units and currency_code")
        return read_integer(cell.get("minor_units")), read_text(cell.get("currency_code"))
    if isinstance(cell, str):
        found = _MONEY.fullmatch(_with_point(cell, reading))
    else:
        text = read_decimal(cell, reading)
        # How many zeros follow is a matter of the column's type.
        found = _MONEY.fullmatch(text.rstrip("0").rstrip(".") if "." in text else text)
    if found is None or (found[1] and found[4]):
        raise BadCell("is no amount such as 12.50 EUR")
    whole, fraction = found[2], found[3] or ""
    currency = found[1] or found[4] or reading.currency
    if not currency:
        raise BadCell("has no currency: write 12.50 EUR, or give --currency")
    decimals = CURRENCY_DECIMALS.get(currency)
    if decimals is None:
        raise BadCell("has a currency that ISO 4217 does not list")
    if len(fraction) > decimals:
        raise BadCell(f"has more decimals than {currency}, which has {decimals}")
    if len(whole) > 18:
        raise BadCell("is too large an amount")
    return int(whole + fraction.ljust(decimals, "0")), currency


def read_instant(cell: Cell, reading: Reading) -> tuple[int, int]:
    """Seconds since 1970 and the offset from UTC in minutes, from RFC 3339 text or a time."""
    moment: datetime
    if isinstance(cell, str):
        try:
            moment = datetime.fromisoformat(cell.strip())
        except ValueError:
            raise BadCell("is no time such as 2026-05-03T09:00:00+02:00") from None
    elif isinstance(cell, datetime):
        moment = cell
    elif isinstance(cell, date):
        moment = datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001 - its zone follows
    else:
        raise BadCell("is no time")
    offset = moment.utcoffset()
    if offset is None:
        if reading.zone is None:
            raise BadCell("has no offset from UTC: write one, or give --time-zone")
        moment = moment.replace(tzinfo=reading.zone)
        offset = moment.utcoffset() or timedelta()
    minutes, rest = divmod(offset, _MINUTE)
    if rest:
        raise BadCell("has an offset of odd seconds")
    return (moment - _EPOCH) // _SECOND, minutes


def read_boolean(cell: Cell) -> bool:
    """True or false: true, t, yes, y, 1, or their opposites, in any case."""
    if isinstance(cell, bool):
        return cell
    if isinstance(cell, (str, int)):
        text = str(cell).strip().lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
    raise BadCell("is neither true nor false")


Put: TypeAlias = Callable[[Mapping[str, Value], Cell], None]
"""Puts a cell into a message's map of values."""


def put_into_slot(slot: messages.Slot, reading: Reading) -> Put:
    """How cells become values of a slot. Raises BadCell at cells that do not."""
    name = slot.name
    if slot.default_value.HasField("money") and not reading.currency:
        reading = Reading(
            zone=reading.zone,
            currency=slot.default_value.money.currency_code,
            decimal_comma=reading.decimal_comma,
        )

    def put_text(values: Mapping[str, Value], cell: Cell) -> None:
        values[name].text = read_text(cell)

    def put_url(values: Mapping[str, Value], cell: Cell) -> None:
        values[name].text = read_text(cell).strip()

    def put_integer(values: Mapping[str, Value], cell: Cell) -> None:
        values[name].integer = read_integer(cell)

    def put_decimal(values: Mapping[str, Value], cell: Cell) -> None:
        values[name].decimal = read_decimal(cell, reading)

    def put_money(values: Mapping[str, Value], cell: Cell) -> None:
        minor_units, currency = read_money(cell, reading)
        values[name].money.CopyFrom(Money(minor_units=minor_units, currency_code=currency))

    def put_instant(values: Mapping[str, Value], cell: Cell) -> None:
        seconds, minutes = read_instant(cell, reading)
        instant = values[name].instant
        instant.at.seconds = seconds
        instant.utc_offset_minutes = minutes

    def put_boolean(values: Mapping[str, Value], cell: Cell) -> None:
        values[name].boolean = read_boolean(cell)

    puts: Mapping[messages.SlotType.ValueType, Put] = {
        messages.SLOT_TYPE_TEXT: put_text,
        messages.SLOT_TYPE_URL: put_url,
        messages.SLOT_TYPE_INTEGER: put_integer,
        messages.SLOT_TYPE_DECIMAL: put_decimal,
        messages.SLOT_TYPE_MONEY: put_money,
        messages.SLOT_TYPE_INSTANT: put_instant,
        messages.SLOT_TYPE_BOOLEAN: put_boolean,
    }
    put = puts.get(slot.type)
    if put is None:
        raise ValueError(f"the slot {name} has a type that this version does not know")
    return put


def is_empty(cell: Cell) -> bool:
    """Whether a cell holds nothing."""
    return cell is None or cell == ""


def as_json(cells: Cell) -> str:
    """Cells as JSON; what JSON does not know as text."""
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":"), default=str)


def _with_point(text: str, reading: Reading) -> str:
    text = text.strip()
    if not reading.decimal_comma:
        return text
    if "." in text:  # of thousands, or of fractions: nobody can tell
        raise BadCell("has a point, and numbers are written 1234,50 as --decimal-comma says")
    return text.replace(",", ".")
