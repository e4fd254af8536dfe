"""What a value looks like in the middle of a text: plain, exact, and the same everywhere.

Devices know the reader's language only for whole numbers and dates, so a value that should be
shown by local custom stands alone in its field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

from passmill.domain.money import Money
from passmill.domain.values import SlotType


def format_decimal(number: Decimal) -> str:
    """The digits as given, without an exponent."""
    return format(number, "f")


def format_money(money: Money) -> str:
    """`12.50 EUR`."""
    return f"{money.major_text()} {money.currency}"


def format_instant(moment: datetime) -> str:
    """`2027-03-01 18:30`, in the instant's own offset."""
    return moment.isoformat(" ", "minutes")[:16]


def format_boolean(value: bool) -> str:
    """`true` or `false`."""
    return "true" if value else "false"


# The argument is the slot type's Python type.
FORMATS: Mapping[SlotType, Callable[..., str]] = {
    SlotType.TEXT: str,
    SlotType.URL: str,
    SlotType.INTEGER: str,
    SlotType.DECIMAL: format_decimal,
    SlotType.MONEY: format_money,
    SlotType.INSTANT: format_instant,
    SlotType.BOOLEAN: format_boolean,
}
