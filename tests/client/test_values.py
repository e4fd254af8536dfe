"""Python's values as messages."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill_client import Money, PythonValue, from_value, pass_draft, to_value

OFFSETS = st.integers(-18 * 60, 18 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.decimals(allow_nan=False, allow_infinity=False, places=9),
    st.builds(
        Money,
        minor_units=st.integers(-(2**63), 2**63 - 1),
        currency_code=st.sampled_from(["EUR", "JPY", "KWD"]),
    ),
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=OFFSETS),  # noqa: DTZ001
)


@given(value=VALUES)
def test_round_trip(value: PythonValue) -> None:
    """A value put into a message and taken out again is the same, with its type and offset."""
    found = from_value(to_value(value))
    assert found == value
    assert type(found) is type(value)
    if isinstance(value, datetime) and isinstance(found, datetime):
        assert found.utcoffset() == value.utcoffset()


@pytest.mark.parametrize("digits", ["0.10", "12.50", "-3", "1E+3", "1E-9"])
def test_decimal_keeps_its_digits(digits: str) -> None:
    """A decimal travels as plain digits, zeros at its end included."""
    assert to_value(Decimal(digits)).decimal == format(Decimal(digits), "f")


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.5, TypeError, "float"),
        (None, TypeError, "NoneType"),
        (2**63, ValueError, "points"),
        (Decimal("NaN"), ValueError, "NaN"),
        (datetime(2026, 1, 1), ValueError, "offset"),  # noqa: DTZ001
        (datetime(2026, 1, 1, tzinfo=timezone(timedelta(seconds=1))), ValueError, "odd seconds"),
        ("\ud800", ValueError, "points"),
    ],
)
def test_impossible_values(value: PythonValue, error: type[Exception], text: str) -> None:
    """What no message can hold is refused with the slot's name before anything is sent."""
    with pytest.raises(error, match=text) as caught:
        pass_draft(values={"points": value})
    assert "points" in str(caught.value)


def test_draft() -> None:
    """A draft holds what was given and leaves out the rest."""
    draft = pass_draft(
        name="Ἑλένη",
        external_ids={"crm": "4711"},
        values={"points": 3},
        expire_time=datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC),
    )
    assert draft.holder.name == "Ἑλένη"
    assert dict(draft.holder.external_ids) == {"crm": "4711"}
    assert draft.values["points"].integer == 3
    assert draft.expire_time.ToJsonString() == "2027-01-02T03:04:05Z"
    assert not pass_draft().HasField("expire_time")
