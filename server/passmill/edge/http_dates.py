"""HTTP dates (RFC 9110, 5.6.7): written in one form, read in all three.

Read here, since what is no HTTP date must be ignored (13.1.3), while `email.utils` reads the
dates of mail: it takes other zones, or none, and days without a zero for dates, refuses leap
seconds, and has years of two digits begin with 1969 instead of fifty years before now.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_MONTH_NUMBERS: Final = {name: number for number, name in enumerate(_MONTHS, 1)}
_MONTH: Final = rf"(?P<month>{'|'.join(_MONTHS)})"
_TIME: Final = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_FORMS: Final = tuple(
    re.compile(form, re.ASCII)
    for form in (
        # Sun, 06 Nov 1994 08:49:37 GMT
        rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_TIME} GMT",
        # Sunday, 06-Nov-94 08:49:37 GMT
        rf"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d)"
        rf" {_TIME} GMT",
        # Sun Nov  6 08:49:37 1994
        rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})",
    )
)
_CENTURY: Final = 100
# A year of two digits that seems to be more than 50 years ahead is the last century's.
_AHEAD: Final = timedelta(days=50 * 365.25)


def format_http_date(moment: datetime) -> str:
    """An aware time as an IMF-fixdate, to the second."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def parse_http_date(text: str, *, now: datetime) -> datetime | None:
    """The time, aware in UTC; None for what is no HTTP date, which RFC 9110, 13.1.3 has us ignore.
    `now` decides the century of a year of two digits."""
    for form in _FORMS:
        if found := form.fullmatch(text):
            return _moment(found, now)
    return None


def _moment(found: re.Match[str], now: datetime) -> datetime | None:
    year, second = int(found["year"]), int(found["second"])
    is_short = len(found["year"]) == 2
    if is_short:
        year += now.year // _CENTURY * _CENTURY
    try:
        moment = datetime(
            year,
            _MONTH_NUMBERS[found["month"]],
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            min(second, 59) if second <= 60 else second,  # 60: a leap second
            tzinfo=UTC,
        )
        if is_short and moment > now + _AHEAD:
            moment = moment.replace(year=year - _CENTURY)
    except ValueError:  # 31 Feb, 25:00:00
        return None
    return moment
