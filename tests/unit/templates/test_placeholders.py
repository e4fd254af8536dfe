"""Template text: parsing, escaping, and where values are encoded."""

import json
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.apple import PassData
from passmill.domain.money import Money
from passmill.domain.templates import Field, FieldPosition, Slot, SlotType
from passmill.domain.templates.placeholders import (
    BadTemplateText,
    Placeholder,
    escape_text,
    parse_text,
)
from passmill.domain.values import Value
from tests.support import templates
from tests.support.rendering import Rendering

ANYTHING = st.text(st.sampled_from('ab{}."_ ') | st.characters(), max_size=20)


@given(text=ANYTHING)
def test_escaped_text_is_that_text(text: str) -> None:
    """Any text, escaped, parses to itself."""
    assert "".join(map(str, parse_text(escape_text(text)))) == text


@given(text=ANYTHING)
def test_parsing_is_total(text: str) -> None:
    """Any text parses or is refused, and what parses accounts for every character."""
    try:
        parts = parse_text(text)
    except BadTemplateText:
        return
    written = [
        f"{{{part.name}}}" if isinstance(part, Placeholder) else escape_text(part) for part in parts
    ]
    assert "".join(written) == text


@pytest.mark.parametrize(
    "text", ["{", "}", "a{b", "{}", "{ name }", "{Name}", "{1}", "{{}", "{a}}", "{holder.email}"]
)
def test_bad_braces_are_refused(text: str) -> None:
    """A brace that is neither doubled nor a placeholder is refused, and the place is told."""
    with pytest.raises(BadTemplateText, match="character"):
        parse_text(text)


def test_parts_in_order() -> None:
    """Fixed text, built-ins, slots and doubled braces come out in order, fixed texts joined."""
    assert parse_text("a{{b}} {holder.name}{points}!") == (
        "a{b} ",
        Placeholder("holder.name"),
        Placeholder("points"),
        "!",
    )


@pytest.mark.parametrize(
    ("kind", "value", "alone", "within"),
    [
        (SlotType.TEXT, "a", "a", "<a>"),
        (SlotType.INTEGER, 1250, 1250, "<1250>"),
        (SlotType.DECIMAL, Decimal("12.50"), 12.5, "<12.50>"),
        (SlotType.DECIMAL, Decimal("1E+3"), 1000, "<1000>"),
        (SlotType.DECIMAL, Decimal("-0.0"), 0, "<-0.0>"),
        (SlotType.MONEY, Money(minor_units=-5, currency="EUR"), -0.05, "<-0.05 EUR>"),
        (SlotType.MONEY, Money(minor_units=1250, currency="JPY"), 1250, "<1250 JPY>"),
        (SlotType.MONEY, Money(minor_units=1250, currency="KWD"), 1.25, "<1.250 KWD>"),
        (
            SlotType.INSTANT,
            datetime.fromisoformat("2027-03-01T18:30:00-05:00"),
            "2027-03-01T18:30:00-05:00",
            "<2027-03-01 18:30>",
        ),
        (SlotType.BOOLEAN, True, "true", "<true>"),
        (SlotType.URL, "https://a.example", "https://a.example", "<https://a.example>"),
    ],
)
def test_values_alone_keep_their_type(
    kind: SlotType, value: Value, alone: object, within: str
) -> None:
    """A field that is one placeholder shows the typed value; within text it is formatted."""
    content = replace(
        templates.generic(),
        slots=(Slot(name="x", type=kind),),
        fields=(
            Field(key="alone", position=FieldPosition.PRIMARY, value="{x}"),
            Field(key="within", position=FieldPosition.BACK, value="<{x}>"),
        ),
    )
    data = PassData(
        serial_number="1", authentication_token="2", reference_id="3", values={"x": value}
    )
    parsed = json.loads(Rendering(content).render(data))
    field = parsed["generic"]["primaryFields"][0]
    assert field["value"] == alone
    assert type(field["value"]) is type(alone)
    assert field.get("currencyCode") == (value.currency if isinstance(value, Money) else None)
    assert parsed["generic"]["backFields"][0]["value"] == within
