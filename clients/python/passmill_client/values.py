"""Python's values as the protocol's, and back. No rule of the service is checked here: what does
not fit a slot, the service refuses by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TypeAlias, assert_never, overload

from google.protobuf import timestamp_pb2

from passmill.v1.template_pb2 import Instant, Money, Value
from passmill.v1.wallet_pass_pb2 import Holder, PassDraft

PythonValue: TypeAlias = str | bool | int | Decimal | datetime | Money
"""What fills a slot: `datetime` must know its offset, money is `Money(minor_units=1250,
currency_code="EUR")`. A float is no decimal number: use Decimal."""


def to_value(value: PythonValue | Value) -> Value:  # noqa: PLR0911 - one a kind
    """`value` as a message. TypeError for another type, ValueError for what no message can hold: an
    integer beyond 64 bits, a decimal that is not a number, a time without an offset."""
    match value:
        case Value():
            return value
        case str():
            return Value(text=value)
        case bool():
            return Value(boolean=value)
        case int():
            return Value(integer=value)
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"{value} is no decimal number")
            return Value(decimal=format(value, "f"))
        case Money():
            return Value(money=value)
        case datetime():
            return Value(instant=_to_instant(value))
        case _:
            raise TypeError(f"a {type(value).__name__} fits no slot: {PythonValue}")


def from_value(value: Value) -> PythonValue | None:  # noqa: PLR0911 - one a kind
    """A message as Python's value; None when it holds none."""
    match value.WhichOneof("kind"):
        case "text":
            return value.text
        case "integer":
            return value.integer
        case "decimal":
            return Decimal(value.decimal)
        case "money":
            return value.money
        case "instant":
            offset = timezone(timedelta(minutes=value.instant.utc_offset_minutes))
            return value.instant.at.ToDatetime(UTC).astimezone(offset)
        case "boolean":
            return value.boolean
        case None:
            return None
        case kind:
            assert_never(kind)


@overload
def to_timestamp(moment: datetime) -> timestamp_pb2.Timestamp: ...
@overload
def to_timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None: ...
def to_timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """A moment as a message. ValueError when it has no offset."""
    if moment is None:
        return None
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no offset from UTC")
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromDatetime(moment.astimezone(UTC))
    return timestamp


def pass_draft(
    *,
    name: str = "",
    phone: str = "",
    external_ids: Mapping[str, str] | None = None,
    values: Mapping[str, PythonValue | Value] | None = None,
    expire_time: datetime | None = None,
    tags: Iterable[str] = (),
) -> PassDraft:
    """What differs between two passes of a template: its holder and a value for each slot; and the
    tags by which segments choose it."""
    draft = PassDraft(
        holder=Holder(name=name, phone=phone, external_ids=external_ids),
        expire_time=to_timestamp(expire_time),
        tags=tags,
    )
    fill(draft.values, values or {})
    return draft


def fill(target: Mapping[str, Value], values: Mapping[str, PythonValue | Value]) -> None:
    """Puts Python's values into a message's map of values; errors name the slot."""
    for slot, value in values.items():
        try:
            target[slot].CopyFrom(to_value(value))
        except TypeError as error:
            raise TypeError(f"values[{slot!r}]: {error}") from None
        except ValueError as error:
            raise ValueError(f"values[{slot!r}]: {error}") from None


def _to_instant(moment: datetime) -> Instant:
    at = to_timestamp(moment)
    minutes, rest = divmod(moment.utcoffset() or timedelta(), timedelta(minutes=1))
    if rest:
        raise ValueError(f"{moment.isoformat()} has an offset of odd seconds")
    return Instant(at=at, utc_offset_minutes=minutes)
