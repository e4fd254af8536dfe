"""Properties of rendering: the signer's is the plain one, and values cannot break out."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.apple import (
    PassData,
    TemplateNotRenderable,
    expires_at,
    render_reference,
)
from passmill.domain.templates import (
    Barcode,
    BarcodeFormat,
    Field,
    FieldPosition,
    PassStyle,
    Slot,
    SlotType,
    TemplateContent,
    compile_value_rules,
)
from passmill.signing.native import InvalidBundle
from tests.support import templates
from tests.support.rendering import Rendering, passes_of
from tests.support.template_strategies import (
    ANY_TEXTS,
    TEXTS,
    contents,
    values_for,
    values_of,
)


@given(content=contents(), data=st.data())
def test_signer_equals_reference(content: TemplateContent, data: st.DataObject) -> None:
    """For random templates and values the signer gives the plain renderer's bytes."""
    rendering = Rendering(content)
    for _ in range(2):
        pass_data = data.draw(passes_of(content))
        assert rendering.render(pass_data) == render_reference(content, templates.PINS, pass_data)


@given(content=contents(), data=st.data())
def test_expiry_is_what_the_pass_shows(content: TemplateContent, data: st.DataObject) -> None:
    """The expiry told of a pass is its `expirationDate`, and none when it has none."""
    pass_data = data.draw(passes_of(content))
    shown = json.loads(Rendering(content).render(pass_data)).get("expirationDate")
    expected = None if shown is None else datetime.fromisoformat(shown)
    assert expires_at(content, pass_data) == expected


def test_expiry_is_the_nearest_to_the_pass() -> None:
    """A pass's own date goes before the slot's value, that before the slot's default; a fixed date
    serves all passes; without any of them a pass does not end."""
    own, given_, default = (datetime(year, 5, 1, tzinfo=UTC) for year in (2027, 2028, 2029))

    def expiry(expires: str, slot: Slot, **changes: Any) -> datetime | None:
        content = replace(templates.generic(), expires=expires, slots=(slot,))
        data = replace(templates.pass_data(content), values={}, **changes)
        return expires_at(content, data)

    until = Slot(name="until", type=SlotType.INSTANT)
    assert expiry("", until) is None
    assert expiry("{until}", until) is None
    assert expiry("{until}", replace(until, default_value=default)) == default
    assert expiry("2030-01-02T03:04+01:00", until) == datetime(2030, 1, 2, 2, 4, tzinfo=UTC)
    content = replace(
        templates.generic(), expires="{until}", slots=(replace(until, default_value=default),)
    )
    data = replace(templates.pass_data(content), values={"until": given_})
    assert expires_at(content, data) == given_
    assert expires_at(content, replace(data, expires_at=own)) == own


def _shape(text: bytes) -> object:
    """Keys and nesting of a JSON text, scalars replaced by their type; keys are unique."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    def strip(value: object) -> object:
        match value:
            case dict():
                return {key: strip(inner) for key, inner in value.items()}
            case list():
                return [strip(inner) for inner in value]
            case float():
                return "int"
            case _:
                return type(value).__name__

    return strip(json.loads(text, object_pairs_hook=unique))


@given(content=contents(), data=st.data())
def test_values_change_no_key(content: TemplateContent, data: st.DataObject) -> None:
    """Two passes with the same values present have the same keys, whatever the values are."""
    rendering = Rendering(content)
    first = data.draw(values_for(content.slots))
    kinds = {slot.name: slot.type for slot in content.slots}
    second = {name: data.draw(values_of(kinds[name])) for name in first}
    shapes = [
        _shape(
            rendering.render(
                PassData(
                    serial_number="1",
                    authentication_token="2",
                    reference_id="3",
                    holder_name=data.draw(TEXTS),
                    values=values,
                )
            )
        )
        for values in (first, second)
    ]
    assert shapes[0] == shapes[1]


HOSTILE = [
    '"',
    '","voided":true,"x":"',
    "\\",
    '\\",',
    "\\u0022",
    "}}]}",
    "{points}",
    "{{",
    "%@ %s ${x}",
    "</a><script>",
    "'><a href='javascript:1'>",
    "\u2028\u2029",
    "مرحبا \u2067(x)\u2069",
    "👩‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "\U0010ffff",
    "line\nbreak",
    "a" * 256,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    """Quotes, braces, markup and scripts in values change no key of the pass, arrive as sent."""
    content = replace(
        templates.store_card(),
        slots=(
            *(slot for slot in templates.store_card().slots if slot.name != "member_number"),
            Slot(name="member_number", type=SlotType.TEXT, required=True),
        ),
        nfc=None,
    )
    rendering = Rendering(content)
    sample = templates.pass_data(content)
    hostile = replace(
        sample,
        holder_name=text,
        values={**sample.values, "member_number": text, "tier": text, "note": text},
    )
    assert compile_value_rules(content).check(hostile.values, holder_name=text).violations == ()
    rendered = rendering.render(hostile)
    assert _shape(rendered) == _shape(rendering.render(sample))
    parsed = json.loads(rendered)
    assert parsed["barcodes"][0]["message"] == text
    assert parsed["storeCard"]["secondaryFields"][0]["value"] == text
    link = parsed["storeCard"]["backFields"][1]["attributedValue"]
    assert link.count("<") == 4
    assert link.count("'") == 4


@given(text=ANY_TEXTS)
def test_any_text_is_a_correct_pass_or_a_named_violation(text: str) -> None:
    """Whatever text comes: it is refused by name, or the pass shows it, NFC-normalised."""
    content = TemplateContent(
        style=PassStyle.GENERIC,
        organization_name="x",
        description="x",
        slots=(Slot(name="word", type=SlotType.TEXT, required=True),),
        fields=(Field(key="k", position=FieldPosition.PRIMARY, value="{word}"),),
        barcodes=(Barcode(format=BarcodeFormat.QR, message="{word}"),),
    )
    checked = compile_value_rules(content).check({"word": text})
    if checked.violations:
        assert {violation.path for violation in checked.violations} == {'values["word"]'}
        return
    sample = PassData(
        serial_number="1", authentication_token="2", reference_id="3", values=checked.values
    )
    parsed = json.loads(Rendering(content).render(sample))
    assert parsed["generic"]["primaryFields"] == [{"key": "k", "value": checked.values["word"]}]
    barcode = parsed["barcodes"][0]
    assert barcode["message"].encode(barcode["messageEncoding"])


def test_missing_required_value_is_refused() -> None:
    """Rendering without a required value raises, it does not leave the field out."""
    content = templates.store_card()
    sample = templates.pass_data(content)
    lacking = {name: value for name, value in sample.values.items() if name != "points"}
    rendering = Rendering(content)
    with pytest.raises(InvalidBundle, match=r'values\["points"\] is required') as refusal:
        rendering.render(replace(sample, values=lacking))
    assert refusal.value.reason == "MISSING_VALUE"


def test_many_kinds_of_passes_are_rendered() -> None:
    """Passes that lack one value or another in thousands of ways, more than are remembered, each
    show what they have."""
    names = [f"s{index}" for index in range(14)]
    content = TemplateContent(
        style=PassStyle.GENERIC,
        organization_name="x",
        description="x",
        slots=tuple(Slot(name=name, type=SlotType.TEXT) for name in names),
        fields=tuple(
            Field(key=name, position=FieldPosition.BACK, value=f"{{{name}}}") for name in names
        ),
    )
    rendering = Rendering(content)
    for mask in range(0, 1 << 14, 7):
        values = {name: "v" for at, name in enumerate(names) if mask >> at & 1}
        data = PassData(
            serial_number="1", authentication_token="2", reference_id="3", values=values
        )
        fields = json.loads(rendering.render(data))["generic"].get("backFields", [])
        assert [field["key"] for field in fields] == list(values)


def test_no_web_service_means_no_token() -> None:
    """A revision without a web service has neither its address nor an authentication token."""
    content = templates.generic()
    pins = replace(templates.PINS, web_service_url=None)
    parsed = json.loads(Rendering(content, pins).render(templates.pass_data(content)))
    assert not {"webServiceURL", "authenticationToken"} & parsed.keys()


@pytest.mark.parametrize(
    ("message", "encoding"),
    [("Zürich", "iso-8859-1"), ("Łódź", "utf-8"), ("", "iso-8859-1"), ("☕", "utf-8")],
)
def test_barcode_encoding_follows_the_message(message: str, encoding: str) -> None:
    """A barcode says ISO 8859-1 whenever its message fits, else UTF-8, pass by pass."""
    content = replace(
        templates.coupon(),
        barcodes=(Barcode(format=BarcodeFormat.QR, message="{code}!"),),
    )
    sample = replace(templates.pass_data(content), values={"code": message})
    parsed = json.loads(Rendering(content).render(sample))
    assert parsed["barcodes"][0]["messageEncoding"] == encoding


def test_two_spellings_are_both_there() -> None:
    """Tags that Apple spells in two ways stand in the pass in both, whichever was given."""
    content = templates.semantic_boarding_pass()
    rendered = Rendering(content).render(templates.pass_data(content))
    tags = json.loads(rendered)["semantics"]
    assert tags["departureAirportTimeZone"] == tags["departureLocationTimeZone"] == "Europe/Berlin"
    assert tags["destinationAirportTimeZone"] == tags["destinationLocationTimeZone"]
    assert tags["departureAirportSecurityPrograms"] == ["PKTransitSecurityProgramCLEAR"]
    assert tags["airlineLoungePlaceID"] == tags["loungePlaceIDs"][0]
    assert tags["flightNumber"] == 128


def test_unrenderable_templates_name_the_place() -> None:
    """A template that cannot become passes is refused at compile time with the path."""
    content = replace(templates.generic(), title="Hello {nobody}")
    with pytest.raises(TemplateNotRenderable, match=r"^title: uses \{nobody\}"):
        Rendering(content)
