"""Between proto/passmill/v1/template.proto and the template domain.

The two mirror each other attribute by attribute, so contents are converted by their types: a proto
field and an attribute of one name, an enum value and a member of one name. What does not fit that
is said below. `tests/unit/templates/test_convert_template.py` keeps the two alike.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Hashable, Iterable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar, cast

from google.protobuf import json_format, struct_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from passmill.domain.money import Money
from passmill.domain.templates import Finding, TemplateContent
from passmill.domain.values import Value
from passmill.errors import FieldError
from passmill.v1 import template_pb2

_D = TypeVar("_D")


class BadProto(ValueError):
    """A message that no domain object can be made of: an enum that is not set, a bad value.

    `path` is the field path within the message.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


def content_from_proto(message: template_pb2.TemplateContent) -> TemplateContent:
    """The content as sent. Raises BadProto; what it says is the linter's business."""
    return _from_message(message, TemplateContent, "")


def content_to_proto(content: TemplateContent) -> template_pb2.TemplateContent:
    """The inverse of `content_from_proto`."""
    message = template_pb2.TemplateContent()
    _fill_message(message, content)
    return message


def finding_to_proto(finding: Finding) -> template_pb2.Finding:
    """A finding for the wire."""
    message = template_pb2.Finding()
    _fill_message(message, finding)
    return message


class ProtoTemplateCodec:
    """Contents as bytes to be stored: protobuf, which reads what its older versions wrote."""

    def encode(self, content: TemplateContent) -> bytes:
        """Equal contents give equal bytes."""
        return content_to_proto(content).SerializeToString(deterministic=True)

    def decode(self, stored: bytes) -> TemplateContent:
        """The inverse of `encode`."""
        return content_from_proto(template_pb2.TemplateContent.FromString(stored))


def values_from_proto(
    messages: Mapping[str, template_pb2.Value],
) -> tuple[dict[str, Value], list[FieldError]]:
    """Values by slot name, and what is not even a value, by paths such as `values["points"]`."""
    values: dict[str, Value] = {}
    violations: list[FieldError] = []
    for name, message in messages.items():
        try:
            values[name] = value_from_proto(message)
        except ValueError as error:
            path = f'values["{name:.64}"]'
            violations.append(FieldError(path=path, message=str(error)))
    return values, violations


def values_to_proto(values: Mapping[str, Value]) -> dict[str, template_pb2.Value]:
    """Values for the wire, by slot name."""
    return {name: value_to_proto(value) for name, value in values.items()}


def value_from_proto(message: template_pb2.Value) -> Value:
    """One value. Raises ValueError with what is wrong."""
    match message.WhichOneof("kind"):
        case "text":
            return message.text
        case "integer":
            return message.integer
        case "decimal":
            return _decimal(message.decimal)
        case "money":
            money = message.money
            return Money(minor_units=money.minor_units, currency=money.currency_code)
        case "instant":
            return _instant(message.instant)
        case "boolean":
            return message.boolean
        case None:
            raise ValueError("has no value; set one of its kinds or leave it out")


def _decimal(digits: str) -> Decimal:
    # Decimal itself reads more: "Infinity", "1_000", digits of other scripts.
    if digits.isascii() and set(digits) <= set("+-0123456789."):
        try:
            return Decimal(digits)
        except InvalidOperation:
            pass
    raise ValueError('is not a decimal number such as "12.50"')


def _instant(message: template_pb2.Instant) -> datetime:
    if message.at.nanos:
        raise ValueError("has a fraction of a second; passes hold whole seconds")
    try:
        zone = timezone(timedelta(minutes=message.utc_offset_minutes))
        return (
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=message.at.seconds)
        ).astimezone(zone)
    except (OverflowError, ValueError) as error:
        raise ValueError("is not an instant between the years 1 and 9999") from error


def value_to_proto(value: Value) -> template_pb2.Value:
    """One value for the wire."""
    match value:
        case bool():
            return template_pb2.Value(boolean=value)
        case str():
            return template_pb2.Value(text=value)
        case int():
            return template_pb2.Value(integer=value)
        case Decimal():
            return template_pb2.Value(decimal=format(value, "f"))
        case Money():
            money = template_pb2.Money(minor_units=value.minor_units, currency_code=value.currency)
            return template_pb2.Value(money=money)
        case datetime():
            message = template_pb2.Value()
            message.instant.at.FromDatetime(value.astimezone(UTC))
            offset = value.utcoffset() or timedelta()
            message.instant.utc_offset_minutes = int(offset.total_seconds()) // 60
            return message


# ---- by type ----


@dataclasses.dataclass(frozen=True, slots=True)
class _Attribute:
    """One attribute of a domain class: its type without `| None`, and the item's for a tuple."""

    name: str
    type: Any
    item: Any | None
    optional: bool
    descriptor: FieldDescriptor


@functools.cache
def _attributes(cls: Any, descriptor_name: str) -> tuple[_Attribute, ...]:
    hints = typing.get_type_hints(cls)
    descriptor = _DESCRIPTORS[descriptor_name]
    found = []
    for field in dataclasses.fields(cls):
        hint, optional, item = hints[field.name], False, None
        if typing.get_origin(hint) in {types.UnionType, typing.Union} and hint != Value | None:
            members = [member for member in typing.get_args(hint) if member is not types.NoneType]
            optional, hint = len(members) < len(typing.get_args(hint)), members[0]
        if typing.get_origin(hint) is tuple:
            item = typing.get_args(hint)[0]
        found.append(
            _Attribute(field.name, hint, item, optional, descriptor.fields_by_name[field.name])
        )
    return tuple(found)


_DESCRIPTORS = template_pb2.DESCRIPTOR.message_types_by_name


def _from_message(message: Message, cls: type[_D], path: str) -> _D:
    arguments: dict[str, Any] = {}
    for attribute in _attributes(cast("Hashable", cls), message.DESCRIPTOR.name):
        inner = f"{path}.{attribute.name}".lstrip(".")
        raw = getattr(message, attribute.name)
        if attribute.item is not None:
            arguments[attribute.name] = tuple(
                _from_single(item, attribute.item, attribute.descriptor, f"{inner}[{index}]")
                for index, item in enumerate(raw)
            )
        elif _is_unset(message, attribute):
            if not attribute.optional and attribute.descriptor.enum_type is not None:
                raise BadProto(inner, "must be set to a known value")
            if attribute.optional:
                arguments[attribute.name] = None
        else:
            arguments[attribute.name] = _from_single(
                raw, attribute.type, attribute.descriptor, inner
            )
    return cls(**arguments)


def _is_unset(message: Message, attribute: _Attribute) -> bool:
    if attribute.descriptor.has_presence:
        return not message.HasField(attribute.name)
    return attribute.descriptor.enum_type is not None and getattr(message, attribute.name) == 0


def _from_single(raw: Any, wanted: Any, descriptor: FieldDescriptor, path: str) -> Any:
    if descriptor.enum_type is not None:
        return _from_enum(raw, wanted, descriptor.enum_type, path)
    if descriptor.message_type is None:
        return raw
    if isinstance(raw, struct_pb2.Struct):
        return json_format.MessageToDict(raw)
    if isinstance(raw, template_pb2.Value):
        try:
            return value_from_proto(raw)
        except ValueError as error:
            raise BadProto(path, str(error)) from error
    if descriptor.message_type.GetOptions().map_entry:
        return dict(raw)
    return _from_message(raw, wanted, path)


def _from_enum(
    number: int, wanted: type[StrEnum], descriptor: EnumDescriptor, path: str
) -> StrEnum:
    known = descriptor.values_by_number.get(number)
    if known is None or number == 0:
        raise BadProto(path, "must be set to a known value")
    return wanted[known.name.removeprefix(_prefix(descriptor))]


def _fill_message(message: Message, value: Any) -> None:
    for attribute in _attributes(cast("Hashable", type(value)), message.DESCRIPTOR.name):
        raw, target = getattr(value, attribute.name), getattr(message, attribute.name)
        descriptor = attribute.descriptor
        if raw is None:
            continue
        if attribute.item is not None:
            _fill_list(target, raw, descriptor)
        elif descriptor.enum_type is not None:
            setattr(message, attribute.name, _enum_number(raw, descriptor.enum_type))
        elif descriptor.message_type is None:
            setattr(message, attribute.name, raw)
        elif descriptor.message_type.GetOptions().map_entry:
            target.update(raw)
        else:
            if attribute.optional:
                target.SetInParent()
            _fill_submessage(target, raw)


def _fill_submessage(target: Message, raw: Any) -> None:
    match target:
        case struct_pb2.Struct():
            if raw:
                json_format.ParseDict(raw, target)
        case template_pb2.Value():
            target.CopyFrom(value_to_proto(raw))
        case _:
            _fill_message(target, raw)


def _fill_list(target: Any, items: Iterable[Any], descriptor: FieldDescriptor) -> None:
    for item in items:
        if descriptor.enum_type is not None:
            target.append(_enum_number(item, descriptor.enum_type))
        elif descriptor.message_type is None:
            target.append(item)
        else:
            _fill_submessage(target.add(), item)


def _enum_number(member: StrEnum, descriptor: EnumDescriptor) -> int:
    return descriptor.values_by_name[_prefix(descriptor) + member.name].number


@functools.cache
def _prefix(descriptor: EnumDescriptor) -> str:
    """`PASS_STYLE_` of PassStyle: what its first value, the unspecified one, begins with."""
    return descriptor.values[0].name.removesuffix("UNSPECIFIED")


__all__ = [
    "BadProto",
    "ProtoTemplateCodec",
    "content_from_proto",
    "content_to_proto",
    "finding_to_proto",
    "value_from_proto",
    "value_to_proto",
    "values_from_proto",
    "values_to_proto",
]
