"""Between protobuf's Timestamp and aware datetimes."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.errors import invalid_field

_YEAR_10000 = 253_402_300_800  # in Unix time


def time_from(message: Message, field: str, *, path: str = "") -> datetime | None:
    """A Timestamp field as an aware time, None when it is absent.

    `path`: the field's place in the request, its name when empty. AppError INVALID_FIELD when it is
    out of the years 1970 to 9999: what has to do with passes is not older, and the first second of
    the year 1 is how the driver writes -infinity.
    """
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    if not (0 <= stamp.seconds < _YEAR_10000 and 0 <= stamp.nanos < 1_000_000_000):
        raise invalid_field(path or field, "must be a time between the years 1970 and 9999")
    return stamp.ToDatetime(tzinfo=UTC)


def timestamp(moment: datetime) -> Timestamp:
    """A moment for the wire."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
