"""What goes to the signer: lines of passes, decimals of any spelling, deep documents."""

from dataclasses import replace
from decimal import Decimal

import pytest
from google.protobuf import json_format, struct_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.apple import PassData, encode_pass_data, render_reference
from passmill.domain.templates import (
    AppleHints,
    Field,
    FieldPosition,
    JsonValue,
    Slot,
    SlotType,
    TemplateContent,
    compile_value_rules,
)
from passmill.domain.values import values_to_json
from passmill.signing.native import InvalidBundle
from passmill.signing.revisions import render_passes
from tests.support import templates
from tests.support.rendering import Rendering, passes_of
from tests.support.template_strategies import contents


@given(content=contents(), data=st.data())
def test_a_batch_is_its_passes(content: TemplateContent, data: st.DataObject) -> None:
    """Lines in one buffer are rendered like each alone, from parsed or from stored values, and a
    sample of another revision's values is refused by its place."""
    rendering = Rendering(content)
    passes = [data.draw(passes_of(content)) for _ in range(data.draw(st.integers(0, 4)))]
    lines = [encode_pass_data(each) for each in passes]
    bare = [replace(each, values={}) for each in passes]
    stored = [values_to_json(each.values) for each in passes]
    assert [encode_pass_data(*each) for each in zip(bare, stored, strict=True)] == lines
    assert all(line.count(b"\n") == 1 for line in lines)
    batch = b"".join(lines)
    assert render_passes(rendering.revision, batch) == [rendering.render(each) for each in passes]
    foreign = encode_pass_data(
        PassData(serial_number="1", authentication_token="2", reference_id="3"), '{"nobody":1}'
    )
    with pytest.raises(InvalidBundle, match="nobody") as refusal:
        render_passes(rendering.revision, batch + foreign)
    assert (refusal.value.reason, refusal.value.item) == ("UNKNOWN_SLOT", len(passes))


@pytest.mark.parametrize(
    "number",
    [
        *("0", "-0", "0.00", "-0.00", "0E+5", "-0E+3", "0E-9", "0E+999999"),
        *("1E+2", "1.5E+3", "12E+12", "1E-4", "12.50", "1250", "-1000.0"),
        *("999999999999999", "100000000000000.000000000"),
    ],
)
def test_decimals_of_every_spelling(number: str) -> None:
    """However a decimal is spelt, an exponent included: text, number, address and markup show what
    the plain renderer shows."""
    content = replace(
        templates.generic(),
        slots=(Slot(name="x", type=SlotType.DECIMAL),),
        fields=(
            Field(key="alone", position=FieldPosition.PRIMARY, value="{x}"),
            Field(
                key="within",
                position=FieldPosition.BACK,
                value="<{x}>",
                attributed_value="<a href='https://a.example/{x}'>{x}</a>",
            ),
        ),
    )
    admitted = compile_value_rules(content).check({"x": Decimal(number)})
    assert admitted.violations == ()
    data = replace(templates.pass_data(content), values=admitted.values)
    assert Rendering(content).render(data) == render_reference(content, templates.PINS, data)


@pytest.mark.parametrize("kind", ["objects", "lists"])
def test_the_deepest_template_is_rendered(kind: str) -> None:
    """Structured data nested as deep as a message can carry it is prepared and rendered."""

    def nested(depth: int) -> JsonValue:
        value: JsonValue = "{x}"
        for _ in range(depth):
            value = {"x": value} if kind == "objects" else [value]
        return value

    def can_be_sent(depth: int) -> bool:
        message = struct_pb2.Struct()
        try:
            json_format.ParseDict({"user_info": nested(depth)}, message)
            struct_pb2.Struct.FromString(message.SerializeToString())
        except (json_format.ParseError, DecodeError):
            return False
        return True

    deepest = max(depth for depth in range(60) if can_be_sent(depth))
    assert deepest > 20
    content = replace(
        templates.generic(),
        slots=(Slot(name="x", type=SlotType.TEXT),),
        apple=AppleHints(user_info={"user_info": nested(deepest)}),
    )
    data = replace(templates.pass_data(content), values={"x": "deep"})
    assert Rendering(content).render(data) == render_reference(content, templates.PINS, data)
