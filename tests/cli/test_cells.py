"""Cells of files as typed values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.cli.campaign.cells import (
    BadCell,
    Reading,
    put_into_slot,
    read_boolean,
    read_decimal,
    read_instant,
    read_integer,
    read_money,
    read_text,
)
from passmill.domain.money import CURRENCY_DECIMALS, Money
from passmill_client import Value, messages, to_value

PLAIN = Reading()


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_every_64_bit_integer_is_read_from_text_number_and_decimal(number: int) -> None:
    """An integer comes out as it went in, however the file holds it."""
    assert read_integer(str(number)) == number
    assert read_integer(f" {number} ") == number
    assert read_integer(number) == number
    assert read_integer(Decimal(number)) == number


@pytest.mark.parametrize(
    "cell",
    ["1.5", "1,250", "1 250", "0x10", "1e3", "٣", "1_000", "", "9" * 19, "9" * 5000, True, 1.5, []],
)
def test_what_is_no_integer_is_refused(cell: object) -> None:
    """Separators, exponents, other digits, fractions and more than 64 bits are no integers."""
    with pytest.raises(BadCell):
        read_integer(cell)


def test_integers_that_a_spreadsheet_made_floats_are_integers_again() -> None:
    """5.0 of a float column is the whole number 5."""
    assert read_integer(5.0) == 5
    with pytest.raises(BadCell):
        read_integer(float("nan"))


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
    )
)
def test_decimals_keep_their_digits(number: Decimal) -> None:
    """A decimal keeps the digits it was written with, also with a comma, also as a number."""
    text = format(number, "f")
    assert read_decimal(text, PLAIN) == text
    assert read_decimal(text.replace(".", ","), Reading(decimal_comma=True)) == text
    assert Decimal(read_decimal(number, PLAIN)) == number


@pytest.mark.parametrize("cell", ["12,50", "1.2.3", "NaN", "1e5", ".5", "12.", float("inf"), False])
def test_what_is_no_decimal_is_refused(cell: object) -> None:
    """A comma is not guessed to be a point; exponents and infinities are none."""
    with pytest.raises(BadCell):
        read_decimal(cell, PLAIN)


@given(
    st.integers(-(10**14), 10**14),
    st.sampled_from(sorted(CURRENCY_DECIMALS)),
    st.sampled_from(["{0} {1}", "{1} {0}", "{0}{1}", "{1}{0}"]),
)
def test_money_is_read_as_it_is_written(minor_units: int, currency: str, form: str) -> None:
    """An amount in major units with its currency, before or behind it, becomes its minor units."""
    text = form.format(Money(minor_units=minor_units, currency=currency).major_text(), currency)
    assert read_money(text, PLAIN) == (minor_units, currency)


def test_money_takes_its_currency_from_the_command_or_the_slot() -> None:
    """A bare amount needs --currency, or a slot whose default has one."""
    with pytest.raises(BadCell, match="--currency"):
        read_money("12.5", PLAIN)
    assert read_money("12.5", Reading(currency="EUR")) == (1250, "EUR")
    assert read_money(Decimal("12.5"), Reading(currency="KWD")) == (12500, "KWD")
    assert read_money({"minor_units": 5, "currency_code": "JPY"}, PLAIN) == (5, "JPY")
    slot = messages.Slot(
        name="balance",
        type=messages.SLOT_TYPE_MONEY,
        default_value=Value(money=messages.Money(currency_code="USD")),
    )
    action = messages.UpdateAction()
    put_into_slot(slot, PLAIN)(action.values, "-0.05")
    assert action.values["balance"].money == messages.Money(minor_units=-5, currency_code="USD")


@pytest.mark.parametrize(
    "cell", ["12.505 EUR", "12 XYZ", "EUR 12 EUR", "12 €", "12.5 JPY", "EUR", []]
)
def test_money_that_is_not_exact_is_refused(cell: object) -> None:
    """Too many decimals, no listed currency, or none at all: nothing is rounded or guessed."""
    with pytest.raises(BadCell):
        read_money(cell, PLAIN)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - the zone follows
    st.integers(-18 * 60, 18 * 60),
)
def test_instants_keep_moment_and_offset(moment: datetime, minutes: int) -> None:
    """A time with an offset becomes the service's own form of it, without its fraction."""
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    value = to_value(aware.replace(microsecond=0)).instant
    expected = (value.at.seconds, minutes)
    assert read_instant(aware.isoformat(), PLAIN) == expected
    assert read_instant(aware, PLAIN) == expected


def test_times_without_an_offset_need_a_zone() -> None:
    """A local time is refused, or told in the zone given: summer time in summer."""
    berlin = Reading(zone=ZoneInfo("Europe/Berlin"))
    for cell in ("2026-07-01", "2026-07-01T00:00", date(2026, 7, 1)):
        with pytest.raises(BadCell, match="--time-zone"):
            read_instant(cell, PLAIN)
        assert read_instant(cell, berlin) == (
            int(datetime(2026, 6, 30, 22, tzinfo=UTC).timestamp()),
            120,
        )
    for wrong in ("soon", "01.07.2026", 5, "2026-13-01"):
        with pytest.raises(BadCell):
            read_instant(wrong, berlin)


def test_booleans_and_texts() -> None:
    """The usual words for true and false; numbers are text where text is wanted, lists are not."""
    assert [read_boolean(cell) for cell in ("TRUE", "y", "1", 1, True)] == [True] * 5
    assert [read_boolean(cell) for cell in ("no", "F", "0", 0, False)] == [False] * 5
    assert [read_text(cell) for cell in ("a", 4711, 4711.0, Decimal("1.50"))] == [
        *("a", "4711", "4711", "1.50")
    ]
    for cell in ("maybe", 2, None):
        with pytest.raises(BadCell):
            read_boolean(cell)
    nothing: tuple[object, ...] = ([], {}, True, 1.5)
    for no_text in nothing:
        with pytest.raises(BadCell):
            read_text(no_text)


def test_every_slot_type_is_known() -> None:
    """Each type of the protocol has its reader, and what it reads is a value of that type."""
    cells = {
        messages.SLOT_TYPE_TEXT: ("a", "text"),
        messages.SLOT_TYPE_URL: (" https://example.com ", "text"),
        messages.SLOT_TYPE_INTEGER: ("5", "integer"),
        messages.SLOT_TYPE_DECIMAL: ("5.0", "decimal"),
        messages.SLOT_TYPE_MONEY: ("5 EUR", "money"),
        messages.SLOT_TYPE_INSTANT: ("2026-07-01T00:00Z", "instant"),
        messages.SLOT_TYPE_BOOLEAN: ("yes", "boolean"),
    }
    assert set(cells) == set(messages.SlotType.values()[1:])
    for slot_type, (cell, kind) in cells.items():
        action = messages.UpdateAction()
        put_into_slot(messages.Slot(name="x", type=slot_type), PLAIN)(action.values, cell)
        assert action.values["x"].WhichOneof("kind") == kind


def test_a_point_is_no_decimal_comma() -> None:
    """Where numbers are written 1.234,50 a point may be of thousands: 1.234 is refused, not taken
    for a little more than one."""
    german = Reading(decimal_comma=True, currency="EUR")
    for text in ("1.234", "1.234,50", "12.50"):
        with pytest.raises(BadCell, match="has a point"):
            read_decimal(text, german)
        with pytest.raises(BadCell, match="has a point"):
            read_money(text, german)
    assert read_money("1234,50", german) == (123450, "EUR")


@pytest.mark.parametrize(
    ("cell", "minor_units"),
    [(Decimal("1.500"), 150), (Decimal("2.000"), 200), (Decimal("100"), 10_000), (1.5, 150)],
)
def test_zeros_of_a_columns_type_are_no_decimals(cell: object, minor_units: int) -> None:
    """A column of numbers has as many decimals as its type; what counts is the number. Text that
    somebody wrote is taken at its word."""
    assert read_money(cell, Reading(currency="USD")) == (minor_units, "USD")
    with pytest.raises(BadCell, match="more decimals"):
        read_money("1.500", Reading(currency="USD"))
    with pytest.raises(BadCell, match="more decimals"):
        read_money(Decimal("1.505"), Reading(currency="USD"))


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (True, "true or false"),
        (1.5, "a number with a fraction"),
        (datetime(2026, 5, 3, tzinfo=UTC), "a time"),
        (date(2026, 5, 3), "a date"),
        (["a"], "a list"),
    ],
)
def test_what_is_no_text_is_named(cell: object, kind: str) -> None:
    """A cell of a type that is no text is refused with what it is, and what to do."""
    with pytest.raises(BadCell, match=f"is {kind}, and this takes text"):
        read_text(cell)
