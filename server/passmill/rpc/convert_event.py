"""Between proto/passmill/v1/event.proto and events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from google.protobuf.descriptor import FieldDescriptor

from passmill.domain.events import Event, EventKind
from passmill.domain.registrations import RemoveReason
from passmill.rpc.convert_time import timestamp
from passmill.v1 import event_pb2

_KINDS: Final[Mapping[EventKind, event_pb2.EventKind.ValueType]] = {
    kind: event_pb2.EventKind.Value(f"EVENT_KIND_{kind.name}") for kind in EventKind
}
_KIND_OF: Final = {number: kind for kind, number in _KINDS.items()}
# Stored as its number, as registrations have it.
_REMOVE_REASONS: Final[Mapping[object, str]] = {each.value: each.name for each in RemoveReason}
# The types of JSON that a field's type takes.
_TYPES: Final[Mapping[int, type]] = {
    FieldDescriptor.TYPE_STRING: str,
    FieldDescriptor.TYPE_INT32: int,
    FieldDescriptor.TYPE_INT64: int,
    FieldDescriptor.TYPE_BOOL: bool,
    FieldDescriptor.TYPE_ENUM: int,  # the wallet, whose numbers are the protocol's
}


def kinds_from_proto(numbers: Iterable[event_pb2.EventKind.ValueType]) -> list[EventKind]:
    """Kinds as asked for."""
    return [_KIND_OF[number] for number in numbers]


def event_to_proto(event: Event, cursor: str) -> event_pb2.Event:
    """An event for the wire, with the cursor of what comes after it."""
    return event_pb2.Event(
        event_id=str(event.event_id),
        kind=event_pb2.EVENT_KIND_UNSPECIFIED if event.kind is None else _KINDS[event.kind],
        pass_ids=event.pass_ids,
        detail=_detail(event),
        create_time=timestamp(event.create_time),
        cursor=cursor,
    )


def _detail(event: Event) -> event_pb2.EventDetail:
    # Field for field by name; what this release does not know, a newer one wrote.
    detail = event_pb2.EventDetail()
    for field in detail.DESCRIPTOR.fields:
        value = event.detail.get(field.name)
        if field.name == "reason" and value in _REMOVE_REASONS:
            value = _REMOVE_REASONS[value]
        if type(value) is _TYPES[field.type]:
            setattr(detail, field.name, value)
    return detail
