"""proto <-> domain: nothing is lost, and the two are alike."""

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from protovalidate import Validator

from passmill.domain import templates as domain
from passmill.domain.apple import ImageInfo, lint
from passmill.domain.money import Money
from passmill.domain.templates import Slot, TemplateContent
from passmill.rpc.convert_template import (
    BadProto,
    ProtoTemplateCodec,
    content_from_proto,
    content_to_proto,
    finding_to_proto,
    value_from_proto,
    value_to_proto,
    values_from_proto,
    values_to_proto,
)
from passmill.v1 import template_pb2
from tests.support import templates
from tests.support.template_strategies import contents, slots, values_for

MIRRORED = [
    "AppleFeaturedAction",
    "AppleHints",
    "Barcode",
    "Beacon",
    "Colors",
    "Field",
    "Finding",
    "GoogleHints",
    "ImageRef",
    "Link",
    "Location",
    "Nfc",
    "Personalization",
    "RelevantDate",
    "SharingPolicy",
    "Slot",
    "TemplateContent",
    "Translation",
]
RENAMED_ENUMS = {"FindingSeverity": "Severity"}


@pytest.mark.parametrize("name", MIRRORED)
def test_messages_mirror_dataclasses(name: str) -> None:
    """Each message has the attributes of its domain class, no more and no less."""
    descriptor = template_pb2.DESCRIPTOR.message_types_by_name[name]
    attributes = {field.name for field in dataclasses.fields(getattr(domain, name))}
    assert set(descriptor.fields_by_name) == attributes


def test_all_messages_are_mirrored_or_values() -> None:
    """No message of the file escapes the comparison above, but for those of values."""
    names = set(template_pb2.DESCRIPTOR.message_types_by_name)
    assert names == {*MIRRORED, "Value", "Money", "Instant"}


@pytest.mark.parametrize("name", sorted(template_pb2.DESCRIPTOR.enum_types_by_name))
def test_enums_mirror_each_other(name: str) -> None:
    """Each enum has the members of its domain enum, besides the unspecified one."""
    descriptor = template_pb2.DESCRIPTOR.enum_types_by_name[name]
    mirrored: type[StrEnum] = getattr(domain, RENAMED_ENUMS.get(name, name))
    unspecified, *others = [value.name for value in descriptor.values]
    prefix = unspecified.removesuffix("UNSPECIFIED")
    assert [other.removeprefix(prefix) for other in others] == [each.name for each in mirrored]


@given(content=contents())
def test_contents_come_back(content: TemplateContent) -> None:
    """Any content survives the wire and storage, and equal contents give equal bytes."""
    message = content_to_proto(content)
    parsed = template_pb2.TemplateContent.FromString(message.SerializeToString())
    assert content_from_proto(parsed) == content
    codec = ProtoTemplateCodec()
    stored = codec.encode(content)
    assert codec.decode(stored) == content
    assert codec.encode(codec.decode(stored)) == stored


@pytest.mark.parametrize("name", sorted(templates.TEMPLATES))
def test_good_templates_satisfy_the_protos_rules(name: str) -> None:
    """The sample of each style passes the rules that the proto file carries."""
    Validator().validate(content_to_proto(templates.TEMPLATES[name]()))


@given(declared=slots(), data=st.data())
def test_values_come_back(declared: tuple[Slot, ...], data: st.DataObject) -> None:
    """Any values survive the wire with their types, digits and offsets."""
    values = data.draw(values_for(declared))
    back, violations = values_from_proto(values_to_proto(values))
    assert violations == []
    assert back == values
    for name, value in values.items():
        assert type(back[name]) is type(value)
        if isinstance(value, datetime):
            assert back[name].utcoffset() == value.utcoffset()  # type: ignore[union-attr]
        if isinstance(value, Decimal) and value.as_tuple().exponent in range(-9, 1):
            assert str(back[name]) == str(value)


def _bad_values() -> Iterator[tuple[template_pb2.Value, str]]:
    yield template_pb2.Value(), "has no value"
    for digits in ("", "1_000", "Infinity", "NaN", "1e5", "٣", "1.2.3", "0x1"):
        yield template_pb2.Value(decimal=digits), "is not a decimal number"
    fraction = template_pb2.Value()
    fraction.instant.at.nanos = 1
    yield fraction, "fraction of a second"
    late = template_pb2.Value()
    late.instant.at.seconds = 1 << 60
    yield late, "between the years 1 and 9999"
    edge = template_pb2.Value()
    edge.instant.at.seconds = 253402300799
    edge.instant.utc_offset_minutes = 600
    yield edge, "between the years 1 and 9999"


@pytest.mark.parametrize(("message", "cause"), list(_bad_values()))
def test_bad_values_are_violations(message: template_pb2.Value, cause: str) -> None:
    """A value message that says nothing usable is a violation naming its slot."""
    values, violations = values_from_proto(
        {"points": message, "good": template_pb2.Value(text="a")}
    )
    assert values == {"good": "a"}
    (violation,) = violations
    assert violation.path == 'values["points"]'
    assert cause in violation.message


def test_money_keeps_minor_units() -> None:
    """Money crosses as minor units and code, untouched."""
    money = Money(minor_units=-(1 << 63), currency="JPY")
    assert value_from_proto(value_to_proto(money)) == money


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (template_pb2.TemplateContent(), "style"),
        (template_pb2.TemplateContent(style=99), "style"),  # type: ignore[arg-type]
        (
            template_pb2.TemplateContent(
                style=template_pb2.PASS_STYLE_COUPON, fields=[template_pb2.Field(key="k")]
            ),
            "fields[0].position",
        ),
        (
            template_pb2.TemplateContent(
                style=template_pb2.PASS_STYLE_COUPON,
                slots=[
                    template_pb2.Slot(
                        name="s",
                        type=template_pb2.SLOT_TYPE_DECIMAL,
                        default_value=template_pb2.Value(decimal="x"),
                    )
                ],
            ),
            "slots[0].default_value",
        ),
    ],
)
def test_unset_enums_name_their_path(message: Message, path: str) -> None:
    """A message that no content can be made of is refused with the path of the fault."""
    assert isinstance(message, template_pb2.TemplateContent)
    with pytest.raises(BadProto) as refusal:
        content_from_proto(message)
    assert refusal.value.path == path


def test_findings_cross() -> None:
    """A finding arrives with severity, code, path and message."""
    content = TemplateContent(style=domain.PassStyle.COUPON)
    images: dict[str, ImageInfo] = {}
    finding = lint(content, images, nfc_capable=False)[0]
    message = finding_to_proto(finding)
    assert message.severity == template_pb2.FINDING_SEVERITY_ERROR
    assert template_pb2.FindingCode.Name(message.code) == f"FINDING_CODE_{finding.code.name}"
    assert (message.path, message.message) == (finding.path, finding.message)
