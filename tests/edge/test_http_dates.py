"""HTTP dates: the three forms, and what is none."""

from datetime import UTC, datetime, timedelta, timezone
from wsgiref.handlers import format_date_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.edge.http_dates import format_http_date, parse_http_date

NOW = datetime(2026, 11, 22, tzinfo=UTC)
EXAMPLE = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)

moments = st.integers(min_value=0, max_value=250_000_000_000).map(
    lambda seconds: datetime.fromtimestamp(seconds, UTC)
)


@given(moments)
def test_written_as_others_write_it(moment: datetime) -> None:
    """The form written is that of another writer, and is read back as it was."""
    text = format_http_date(moment)
    assert text == format_date_time(moment.timestamp())
    assert parse_http_date(text, now=NOW) == moment


def test_written_in_utc() -> None:
    """A time of another zone is written in UTC."""
    moment = EXAMPLE.astimezone(timezone(timedelta(hours=5)))
    assert format_http_date(moment) == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_the_forms_of_the_standard(text: str) -> None:
    """RFC 9110's own examples, all of one moment."""
    assert parse_http_date(text, now=NOW) == EXAMPLE


def test_short_years() -> None:
    """A year of two digits is at most fifty years ahead."""
    for year, meant in (("76", 2076), ("77", 1977), ("26", 2026), ("00", 2000)):
        read = parse_http_date(f"Monday, 01-Jan-{year} 00:00:00 GMT", now=NOW)
        assert read is not None
        assert read.year == meant
    assert parse_http_date("Monday, 29-Feb-00 00:00:00 GMT", now=NOW) is not None


def test_leap_seconds() -> None:
    """A leap second is the one before; a later one is none."""
    read = parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT", now=NOW)
    assert read == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert parse_http_date("Sat, 31 Dec 2016 23:59:61 GMT", now=NOW) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "1700000000",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, ٠٦ Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT\n",
        "1994-11-06T08:49:37Z",
    ],
)
def test_no_dates(text: str) -> None:
    """What has no form of an HTTP date, or names no day, is none."""
    assert parse_http_date(text, now=NOW) is None


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """No text whatever is more than ignored."""
    parse_http_date(text, now=NOW)
