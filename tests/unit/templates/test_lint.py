"""The linter: each finding provoked once, good templates without any, and promises it makes."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from passmill.domain.apple import ImageInfo, lint
from passmill.domain.apple.lint.fields import contrast
from passmill.domain.templates import (
    AppleHints,
    AppleStyleScheme,
    Barcode,
    BarcodeFormat,
    Beacon,
    Colors,
    DateStyle,
    Field,
    FindingCode,
    ImageRef,
    ImageRole,
    Link,
    LinkKind,
    Location,
    NumberStyle,
    PassStyle,
    RelevantDate,
    Severity,
    Slot,
    SlotType,
    TemplateContent,
    Translation,
)
from passmill.domain.templates.placeholders import escape_text
from tests.support import templates
from tests.support.lint_cases_bundle import BUNDLE_CASES
from tests.support.lint_cases_images import IMAGE_CASES
from tests.support.lint_cases_personalization import PERSONALIZATION_CASES
from tests.support.lint_cases_sharing import SHARING_CASES
from tests.support.lint_cases_surroundings import OTHER_CASES
from tests.support.lint_cases_texts import TEXT_AND_FIELD_CASES
from tests.support.lint_changes import (
    HEAVY,
    NUMBER,
    C,
    Case,
    E,
    P,
    W,
    action,
    plain,
    resized,
)
from tests.support.rendering import Rendering
from tests.support.template_strategies import ANY_TEXTS, TEXTS, contents

CASES = [
    *TEXT_AND_FIELD_CASES,
    *IMAGE_CASES,
    *BUNDLE_CASES,
    *OTHER_CASES,
    *PERSONALIZATION_CASES,
    *SHARING_CASES,
]


def _lint(
    content: TemplateContent,
    images: Mapping[str, ImageInfo] | None = None,
    nfc_capable: bool = True,
) -> list[tuple[Severity, FindingCode, str]]:
    known = templates.infos(templates.assets(content)) if images is None else images
    findings = lint(content, known, nfc_capable=nfc_capable)
    for finding in findings:
        assert finding.message
        assert finding.path
    return [(finding.severity, finding.code, finding.path) for finding in findings]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.path}")
def test_each_finding_is_provoked(case: Case) -> None:
    """A template with one thing wrong gives that finding, at that place, with that severity."""
    found = _lint(case.content, case.images, case.nfc_capable)
    assert (case.severity, case.code, case.path) in found


def test_every_code_has_a_case() -> None:
    """No finding code is without a test that provokes it."""
    assert {case.code for case in CASES} == set(FindingCode)


@pytest.mark.parametrize("name", sorted(templates.TEMPLATES))
def test_good_templates_give_no_finding(name: str) -> None:
    """The sample of each style has neither an error nor a warning."""
    assert _lint(templates.TEMPLATES[name]()) == []


def test_findings_say_where_and_what_to_do() -> None:
    """Errors come before warnings, and messages tell names, numbers and the way out."""
    content = plain(title="{nobody}", expires="tomorrow", slots=(NUMBER,))
    infos = templates.infos(templates.assets(content))
    findings = lint(content, infos, nfc_capable=False)
    assert [finding.severity for finding in findings] == [E, E, W]
    by_code = {finding.code: finding.message for finding in findings}
    assert "declare it" in by_code[C.SLOT_UNKNOWN]
    assert "2027-03-01T18:30:00+01:00" in by_code[C.DATE_INVALID]
    assert "leave it out" in by_code[C.SLOT_UNUSED]


@st.composite
def _changed_templates(draw: st.DrawFn) -> TemplateContent:
    """A good template with its title and one field changed at random."""
    content = templates.TEMPLATES[draw(st.sampled_from(sorted(templates.TEMPLATES)))]()
    placeholders = [f"{{{slot.name}}}" for slot in content.slots] + ["{holder.name}"]
    text = st.sampled_from([*placeholders, "12.50", "2027-01-01T10:00Z", "a {{b}}"])
    mixed = st.lists(text | TEXTS.map(escape_text), min_size=1, max_size=2).map("".join)
    index = draw(st.integers(0, len(content.fields) - 1))
    changes: list[dict[str, Any]] = [
        {"value": draw(mixed)},
        {"value": draw(mixed), "date_style": DateStyle.SHORT},
        {"value": draw(mixed), "number_style": NumberStyle.PERCENT},
        {"attributed_value": draw(mixed)},
        {"semantics": {draw(st.sampled_from(["flightNumber", "balance"])): draw(mixed)}},
    ]
    changed = replace(content.fields[index], label=draw(mixed), **draw(st.sampled_from(changes)))
    fields = (*content.fields[:index], changed, *content.fields[index + 1 :])
    return replace(content, fields=fields, title=draw(mixed))


@given(content=_changed_templates())
def test_what_has_no_error_renders(content: TemplateContent) -> None:
    """A template without errors compiles, and renders passes with all values and with few."""
    infos = templates.infos(templates.assets(content))
    findings = lint(content, infos, nfc_capable=True)
    has_errors = any(finding.severity is E for finding in findings)
    event("has errors" if has_errors else "renders")
    if has_errors:
        return
    rendering = Rendering(content)
    for sample in (templates.pass_data(content), templates.bare_pass_data(content)):
        parsed = json.loads(rendering.render(sample))
        assert {"formatVersion", "organizationName", "description"} <= parsed.keys()


@given(content=contents())
def test_any_template_can_be_judged(content: TemplateContent) -> None:
    """The linter gives a verdict on any template that can be sent."""
    infos = {name: ImageInfo(width=1, height=1, size_bytes=1) for name in ("a", "b")}
    assert lint(content, infos, nfc_capable=True)


@given(text=ANY_TEXTS, number=st.floats(), name=ANY_TEXTS)
def test_lint_survives_anything(text: str, number: float, name: str) -> None:
    """Arbitrary text and numbers in every kind of place give findings, never an exception."""
    content = TemplateContent(
        style=PassStyle.EVENT_TICKET,
        organization_name=text,
        description=text,
        slots=(Slot(name=name, type=SlotType.TEXT, default_value=text),),
        fields=(
            Field(key=name, position=P.BACK, value=text, attributed_value=text),
            Field(key=name, position=P.BACK, value=text, number_style=NumberStyle.DECIMAL),
            Field(key=name, position=P.BACK, value=text, date_style=DateStyle.LONG),
        ),
        colors=Colors(background=text, foreground="#000000"),
        images=(ImageRef(role=ImageRole.ICON, scale=7, locale=text, asset_id=text),),
        barcodes=tuple(Barcode(format=each, message=text) for each in BarcodeFormat),
        locations=(Location(latitude=number, longitude=number, relevant_text=text),),
        beacons=(Beacon(proximity_uuid=text, major=-1),),
        max_distance_meters=number,
        relevant_dates=(RelevantDate(start=text, end=text),),
        expires=text,
        links=tuple(Link(kind=kind, target=text) for kind in LinkKind),
        translations=(Translation(locale=text, strings={text: name}),),
        nfc=replace(templates.nfc(text), encryption_public_key=text),
        semantics={text: number, "eventName": [text], "seats": text, "duration": number},
        apple=AppleHints(
            style_scheme=AppleStyleScheme.POSTER_EVENT_TICKET,
            user_info={text: [number, {name: text}]},
            featured_actions=(action(url=text), action(place_identifier=text)),
            upcoming_pass_information=({text: number},),
        ),
    )
    assert lint(content, {}, nfc_capable=False)


def test_heavy_image_is_too_large() -> None:
    """An image above 2 MiB is an error even when its pixels are few."""
    images = resized(plain(), "icon-1", HEAVY)
    assert (E, C.IMAGE_TOO_LARGE, "images[0]") in _lint(plain(), images)


def test_contrast_is_wcags() -> None:
    """The contrast ratio has the values that WCAG gives for black, white and a known grey."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#ffffff") == pytest.approx(1)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)
