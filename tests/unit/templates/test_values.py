"""What values are admitted, how refusals read, and how values are stored."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.money import CURRENCY_DECIMALS, Money
from passmill.domain.templates import (
    Barcode,
    BarcodeFormat,
    PassStyle,
    TemplateContent,
    check_values,
    compile_value_rules,
)
from passmill.domain.values import (
    InvalidValue,
    Slot,
    SlotType,
    Value,
    admit_value,
    check_text,
    values_from_json,
    values_to_json,
)
from tests.support import templates
from tests.support.template_strategies import (
    DECIMALS,
    MONEY,
    slots,
    values_for,
    values_of,
)


def _slot(kind: SlotType, max_length: int = 0) -> Slot:
    return Slot(name="x", type=kind, max_length=max_length)


@given(declared=slots(), data=st.data())
def test_stored_values_come_back_exactly(declared: tuple[Slot, ...], data: st.DataObject) -> None:
    """Values survive storing with type, digits and offset, and their stored form is canonical."""
    values = data.draw(values_for(declared))
    stored = values_to_json(values)
    back = values_from_json(declared, stored)
    assert back == values
    assert {name: type(value) for name, value in back.items()} == {
        name: type(value) for name, value in values.items()
    }
    assert values_to_json(back) == stored
    assert values_to_json(dict(reversed(values.items()))) == stored


@given(declared=slots(), data=st.data())
def test_good_values_are_admitted(declared: tuple[Slot, ...], data: st.DataObject) -> None:
    """Values of a slot's type are admitted; those of another type are refused with both named."""
    for slot in declared:
        for kind in SlotType:
            value = data.draw(values_of(kind))
            texts = {SlotType.TEXT, SlotType.URL}
            if kind is slot.type:
                admit_value(slot, value)
            elif not {kind, slot.type} <= texts:
                with pytest.raises(InvalidValue, match=r"^expected .*, got "):
                    admit_value(slot, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\x00b", "U+0000 NULL at character 2"),
        ("a\tb", "U+0009 TAB"),
        ("a\r\n", "U+000D CARRIAGE RETURN"),
        ("\x1b[31m", "U+001B ESCAPE"),
        ("\x85", "U+0085 CONTROL CHARACTER"),
        ("abc\u202edcba", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("\ufeffname", "U+FEFF BYTE ORDER MARK"),
        ("\ud800", "U+D800 LONE SURROGATE"),
        ("\u2067abc", "isolates"),
        ("abc\u2069\u2067", "isolates"),
        ("x" * 513, "has 513 characters, at most 512"),
    ],
)
def test_bad_text_is_refused_by_name(text: str, message: str) -> None:
    """Characters that no pass may hold, open isolates and long texts are refused, and named."""
    with pytest.raises(InvalidValue) as refusal:
        admit_value(_slot(SlotType.TEXT), text)
    assert message in str(refusal.value)
    assert text not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        'Dwayne "The Rock" Johnson',
        "שלום \u2067(עולם)\u2069",
        "\u200f\u0627\u0644\u0639\u061c",
        "👩🏽‍🚀 🏳️‍🌈",
        "first\nsecond",
        "x" * 512,
    ],
)
def test_people_and_scripts_are_admitted(text: str) -> None:
    """Quotes, right-to-left text with marks and closed isolates, emoji and line feeds are kept."""
    assert admit_value(_slot(SlotType.TEXT), text) == text


def test_text_is_normalised() -> None:
    """A name typed with combining marks is stored as the same name typed without them."""
    assert admit_value(_slot(SlotType.TEXT), "Ange\u0301lique A\u030a") == "Angélique Å"


@pytest.mark.parametrize("character", ["a", "é", "\u0301", "\U0001f600", "\u2067", "\x00"])
def test_a_megabyte_is_refused_by_name(character: str) -> None:
    """A megabyte of text in a value is refused naming the field, whatever it is made of."""
    checked = check_values(templates.store_card(), {"note": character * (1 << 20)})
    messages = {v.path: v.message for v in checked.violations}
    assert 'values["note"]' in messages
    assert len(messages['values["note"]']) < 200


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (SlotType.INTEGER, 1 << 63, "64 bits"),
        (SlotType.INTEGER, True, "expected an integer, got a boolean"),
        (SlotType.BOOLEAN, 1, "expected a boolean, got an integer"),
        (SlotType.DECIMAL, Decimal("NaN"), "finite"),
        (SlotType.DECIMAL, Decimal("1e15"), "more than 15 digits"),
        (SlotType.DECIMAL, Decimal("1234567.123456789"), "15 significant digits"),
        (SlotType.DECIMAL, Decimal("0.0000000001"), "9 digits after the point"),
        (SlotType.DECIMAL, Decimal("0.00009"), "closer to zero"),
        (SlotType.MONEY, Money(minor_units=1, currency="EUX"), "ISO 4217"),
        (SlotType.MONEY, Money(minor_units=10**15, currency="EUR"), "15 digits"),
        (SlotType.INSTANT, datetime(2027, 1, 1), "offset"),  # noqa: DTZ001 - what is refused
        (SlotType.INSTANT, datetime(2027, 1, 1, 0, 0, 0, 1, UTC), "fraction"),
        (
            SlotType.INSTANT,
            datetime(2027, 1, 1, tzinfo=timezone(timedelta(seconds=30))),
            "whole minutes",
        ),
        (SlotType.URL, "http://example.com", "https://"),
        (SlotType.URL, "javascript:alert(1)", "https://"),
        (SlotType.URL, "https://", "https://"),
        (SlotType.URL, "https://exa mple.com", "percent-encode"),
        (SlotType.URL, "https://example.com/ä", "percent-encode"),
        (SlotType.URL, "https://[::1", "not a web address"),
    ],
)
def test_bad_values_are_refused_with_the_cause(kind: SlotType, value: Value, message: str) -> None:
    """Numbers, money, instants and addresses that a pass cannot show are refused with the cause."""
    with pytest.raises(InvalidValue) as refusal:
        admit_value(_slot(kind), value)
    assert message in str(refusal.value)


@given(number=DECIMALS, money=MONEY)
def test_numbers_are_exact_in_json(number: Decimal, money: Money) -> None:
    """Every admitted decimal and amount is told apart by a JSON reader that knows doubles only."""
    admit_value(_slot(SlotType.DECIMAL), number)
    assert Decimal(repr(float(number))) == number
    major = Decimal(money.major_text())
    assert Decimal(repr(float(major))) == major
    assert int(major.scaleb(CURRENCY_DECIMALS[money.currency])) == money.minor_units


def test_all_violations_are_told_at_once() -> None:
    """Unknown, missing, empty and wrong values each give a violation that names its slot."""
    checked = compile_value_rules(templates.store_card()).check(
        {"pionts": 1, "points": "12", "member_number": "", "tier": "Gold\x07"},
        holder_name="A\u202eB",
        holder_phone="1" * 300,
    )
    messages = {violation.path: violation.message for violation in checked.violations}
    assert set(messages) == {
        'values["pionts"]',
        'values["points"]',
        'values["member_number"]',
        'values["balance"]',
        'values["tier"]',
        "holder.name",
        "holder.phone",
    }
    assert "it has: member_number, points" in messages['values["pionts"]']
    assert messages['values["member_number"]'] == "must not be empty"
    assert messages['values["balance"]'] == "is required by the template"
    assert messages['values["points"]'] == "expected an integer, got text"


def test_empty_text_counts_as_no_value() -> None:
    """Empty optional text is not stored, so its field is left out instead of shown empty."""
    content = templates.store_card()
    given = {**templates.values(content), "note": "", "offers": ""}
    checked = check_values(content, given)
    assert checked.violations == ()
    assert not {"note", "offers"} & checked.values.keys()


@pytest.mark.parametrize(
    ("barcode_format", "value", "message"),
    [
        (BarcodeFormat.CODE128, "Zürich", "not U+00FC LATIN SMALL LETTER U WITH DIAERESIS"),
        (BarcodeFormat.CODE128, "1" * 81, "81 characters long; 80"),
        (BarcodeFormat.CODE39, "abc", "capitals"),
        (BarcodeFormat.CODABAR, "E1", "A to D"),
        (BarcodeFormat.EAN13, "123", "3 digits; it has 13"),
        (BarcodeFormat.EAN13, "4006381333932", "check digit is 2 instead of 1"),
        (BarcodeFormat.I2OF5, "123", "odd number of digits"),
        (BarcodeFormat.QR, "☕" * 1000, "3000 bytes long; it holds 2953"),
        (BarcodeFormat.PDF417, "é" * 1109, "1109 bytes long; it holds 1108"),
    ],
)
def test_values_that_do_not_fit_a_barcode_are_refused(
    barcode_format: BarcodeFormat, value: str, message: str
) -> None:
    """A value that its barcode cannot hold is refused naming the value, before a pass is made."""
    content = TemplateContent(
        style=PassStyle.GENERIC,
        slots=(Slot(name="code", type=SlotType.TEXT, required=True, max_length=5000),),
        barcodes=(Barcode(format=barcode_format, message="{code}"),),
    )
    checked = check_values(content, {"code": value})
    assert [violation.path for violation in checked.violations] == ['values["code"]']
    assert message in checked.violations[0].message


@pytest.mark.parametrize(
    ("barcode_format", "value"),
    [
        (BarcodeFormat.EAN13, "4006381333931"),
        (BarcodeFormat.I2OF5, "1234"),
        (BarcodeFormat.CODABAR, "A123-4B"),
        (BarcodeFormat.CODE39, "AB-1 $/+%."),
        (BarcodeFormat.QR, "é" * 2953),
    ],
)
def test_values_that_fit_a_barcode_are_admitted(barcode_format: BarcodeFormat, value: str) -> None:
    """A value that its barcode can hold is admitted, to the last byte."""
    content = TemplateContent(
        style=PassStyle.GENERIC,
        slots=(Slot(name="code", type=SlotType.TEXT, required=True, max_length=5000),),
        barcodes=(Barcode(format=barcode_format, message="{code}"),),
    )
    assert check_values(content, {"code": value}).violations == ()


def test_long_contactless_message_is_refused() -> None:
    """A value that makes the contactless message longer than 64 bytes is refused by name."""
    content = TemplateContent(
        style=PassStyle.STORE_CARD,
        slots=(Slot(name="member", type=SlotType.TEXT),),
        nfc=templates.nfc("M:{member}"),
    )
    assert check_values(content, {"member": "x" * 62}).violations == ()
    (violation,) = check_values(content, {"member": "é" * 32}).violations
    assert violation.path == 'values["member"]'
    assert "66 bytes long; 64" in violation.message


def test_holder_in_barcode_is_blamed_by_name() -> None:
    """When the holder's name does not fit a barcode, the violation names the holder."""
    content = TemplateContent(
        style=PassStyle.GENERIC,
        barcodes=(Barcode(format=BarcodeFormat.CODE128, message="{holder.name}"),),
    )
    checked = compile_value_rules(content).check({}, holder_name="Łukasz")
    assert [violation.path for violation in checked.violations] == ["holder.name"]


def test_check_text_reports_the_given_path() -> None:
    """Texts that belong to no slot are checked by the same rules under a path of their own."""
    assert check_text("Zoe\u0308", path="holder.name", max_length=10) == ("Zoë", [])
    _, violations = check_text("x\x00", path="holder.name", max_length=10)
    assert violations[0].path == "holder.name"


def test_stored_values_of_other_slots_are_refused() -> None:
    """Stored values that do not belong to a revision's slots raise instead of being guessed."""
    declared = (Slot(name="points", type=SlotType.INTEGER),)
    for text in ('{"other":1}', '{"points":"1"}', '{"points":true}', "[]"):
        with pytest.raises(ValueError, match="stored value"):
            values_from_json(declared, text)
    assert json.loads(values_to_json({"points": 1})) == {"points": 1}
