"""Rules for fields and colours."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Final

from passmill.domain.apple.lint.report import Report
from passmill.domain.apple.text_nodes import UnknownSlot
from passmill.domain.money import CURRENCY_DECIMALS
from passmill.domain.templates.content import (
    AppleStyleScheme,
    BarcodeFormat,
    DataDetector,
    Field,
    FieldPosition,
    PassStyle,
)
from passmill.domain.templates.findings import FindingCode
from passmill.domain.templates.placeholders import BadTemplateText
from passmill.domain.values import SlotType

_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)
_ADDRESS: Final = re.compile(r"(https|http|mailto|tel|sms):[^\s<>]+")
_LONG_TEXT_POSITIONS: Final = {FieldPosition.BACK, FieldPosition.ADDITIONAL_INFO}

# What is shown at most: header, primary, secondary, auxiliary fields. Source: Apple's pass design
# and creation pages; more is left out from the end.
_SHOWN: Final = {
    PassStyle.BOARDING_PASS: (3, 2, 4, 5),
    PassStyle.COUPON: (3, 1, 4, 4),
    PassStyle.EVENT_TICKET: (3, 1, 4, 4),
    PassStyle.GENERIC: (3, 1, 4, 4),
    PassStyle.STORE_CARD: (3, 1, 4, 4),
}
_FRONT: Final = (
    FieldPosition.HEADER,
    FieldPosition.PRIMARY,
    FieldPosition.SECONDARY,
    FieldPosition.AUXILIARY,
)
_SHARED_ROW: Final = 4  # secondary and auxiliary fields where both stand in one row
_SQUARE: Final = {BarcodeFormat.QR, BarcodeFormat.AZTEC}

# WCAG 2.2: 4.5 for text (1.4.3). Below 1.5 nobody reads it.
_GOOD_CONTRAST: Final = 4.5
_READABLE_CONTRAST: Final = 1.5


def check_fields(report: Report) -> None:
    """Keys, counts, and each field by itself."""
    counts = Counter(field.key for field in report.content.fields)
    for index, field in enumerate(report.content.fields):
        path = f"fields[{index}]"
        if not _KEY.fullmatch(field.key):
            message = "must be 1 to 64 letters, digits, dots, dashes or underscores"
            report.error(FindingCode.FIELD_KEY_INVALID, f"{path}.key", message)
        if counts[field.key] > 1:
            message = f"{counts[field.key]} fields have it; wallets tell changes by it"
            report.error(FindingCode.FIELD_KEY_DUPLICATE, f"{path}.key", message)
        _check_place(report, path, field)
        _check_styles(report, path, field)
        _check_value(report, path, field)
        _check_attributed_value(report, path, field)
        if field.change_message and "%@" not in field.change_message:
            message = "must hold %@ where the new value goes"
            report.error(FindingCode.CHANGE_MESSAGE, f"{path}.change_message", message)
    _check_counts(report)


def _check_place(report: Report, path: str, field: Field) -> None:
    content = report.content
    is_ticket_row = (
        content.style is PassStyle.EVENT_TICKET and field.position is FieldPosition.AUXILIARY
    )
    if field.row is not None and not is_ticket_row:
        message = "only auxiliary fields of an event ticket have rows; leave it out"
        report.error(FindingCode.FIELD_ROW, f"{path}.row", message)
    elif field.row not in {None, 0, 1}:
        report.error(FindingCode.FIELD_ROW, f"{path}.row", "must be 0 or 1")
    if field.alignment and field.position in {FieldPosition.PRIMARY, FieldPosition.BACK}:
        message = "primary and back fields cannot be aligned; leave it out"
        report.error(FindingCode.FIELD_ALIGNMENT, f"{path}.alignment", message)
    is_poster = content.apple.style_scheme is AppleStyleScheme.POSTER_EVENT_TICKET
    if field.position is FieldPosition.ADDITIONAL_INFO and not is_poster:
        message = "only poster event tickets show additional info; use the back"
        report.warn(FindingCode.FIELD_POSITION, f"{path}.position", message)
    if field.data_detectors and field.position not in _LONG_TEXT_POSITIONS:
        message = "wallets look for links on the back only; leave it out"
        report.warn(FindingCode.FIELD_DATA_DETECTORS, f"{path}.data_detectors", message)
    if DataDetector.NONE in field.data_detectors and len(field.data_detectors) > 1:
        message = "none stands alone; leave it or the others out"
        report.error(FindingCode.FIELD_DATA_DETECTORS, f"{path}.data_detectors", message)


def _check_styles(report: Report, path: str, field: Field) -> None:
    code = FindingCode.FIELD_STYLES
    is_date = field.date_style is not None or field.time_style is not None
    kind = report.sole_slot_type(field.value)
    if is_date and (field.number_style is not None or field.currency_code):
        report.error(code, path, "is a date and a number at once; keep one of the styles")
    if field.number_style is not None and field.currency_code:
        report.error(code, path, "has a currency and a number style; keep one of them")
    if kind is SlotType.MONEY and field.number_style is not None:
        message = "shows money, whose currency a number style hides; leave it out"
        report.error(code, f"{path}.number_style", message)
    if kind is SlotType.MONEY and field.currency_code:
        message = "the money slot brings its own currency; leave it out"
        report.error(code, f"{path}.currency_code", message)
    if field.currency_code and field.currency_code not in CURRENCY_DECIMALS:
        message = "must be a code of ISO 4217, such as EUR"
        report.error(FindingCode.CURRENCY_INVALID, f"{path}.currency_code", message)
    if (field.ignores_time_zone or field.is_relative) and not is_date:
        message = "has settings for dates but no date or time style; add one or leave them out"
        report.warn(code, path, message)
    if kind is SlotType.INSTANT and not is_date:
        message = "shows a date without date_style or time_style; set one, or digits are shown"
        report.warn(FindingCode.DATE_STYLE_MISSING, path, message)


def _check_value(report: Report, path: str, field: Field) -> None:
    if not field.value:
        message = "every field needs a value; set it or leave the field out"
        report.error(FindingCode.FIELD_VALUE_MISSING, f"{path}.value", message)
        return
    with report.rendering(f"{path}.value"):
        if field.date_style is not None or field.time_style is not None:
            report.nodes.date(field.value)
        elif field.number_style is not None or field.currency_code:
            report.nodes.number(field.value)
        else:
            report.nodes.field_value(field.value)


class _LinksOnly(HTMLParser):
    """Collects what is not `<a href='…'>text</a>`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self._is_open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a" or [name for name, _ in attrs] != ["href"]:
            self.problems.append(f"<{tag}> with other markup than a link")
        elif self._is_open:
            self.problems.append("a link within a link")
        else:
            self._is_open = True
            if not _ADDRESS.fullmatch(attrs[0][1] or ""):
                self.problems.append("a link without an https, mailto, tel or sms address")

    def handle_endtag(self, tag: str) -> None:
        if tag != "a" or not self._is_open:
            self.problems.append(f"</{tag}> without its beginning")
        self._is_open = False

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.problems.append(f"<{tag}/> with other markup than a link")

    def close(self) -> None:
        super().close()
        if self._is_open:
            self.problems.append("a link without </a>")


def _check_attributed_value(report: Report, path: str, field: Field) -> None:
    text = field.attributed_value
    if not text:
        return
    place = f"{path}.attributed_value"
    try:
        parts = report.nodes.parse(text)
    except (BadTemplateText, UnknownSlot):
        return  # reported with all texts
    # A slot of type url brings its own scheme; other values cannot change the markup.
    filled = "".join(
        part
        if isinstance(part, str)
        else ("https://x" if report.nodes.type_of(part.name) is SlotType.URL else "x")
        for part in parts
    )
    parser = _LinksOnly()
    parser.feed(filled)
    parser.close()
    for problem in parser.problems:
        message = f"holds {problem}; only <a href='https://…'>text</a> is shown"
        report.error(FindingCode.ATTRIBUTED_VALUE, place, message)
    if field.position not in _LONG_TEXT_POSITIONS:
        message = "links work on the back only; use value"
        report.warn(FindingCode.ATTRIBUTED_VALUE, place, message)


def _check_counts(report: Report) -> None:
    content = report.content
    counts = Counter(field.position for field in content.fields if not field.row)
    second_row = sum(1 for field in content.fields if field.row == 1)
    name = content.style.value.replace("_", " ")
    shown_counts = zip(_FRONT, _SHOWN[content.style], strict=True)
    for position, shown in shown_counts:
        if counts[position] > shown:
            message = (
                f"has {counts[position]} {position.value} fields; a {name} shows {shown} and "
                "leaves out the rest: move some to the back"
            )
            report.warn(FindingCode.FIELD_COUNT, "fields", message)
    if second_row > _SHARED_ROW:
        message = f"has {second_row} auxiliary fields in the second row; {_SHARED_ROW} are shown"
        report.warn(FindingCode.FIELD_COUNT, "fields", message)
    one_row = content.style in {PassStyle.COUPON, PassStyle.STORE_CARD} or (
        content.style is PassStyle.GENERIC
        and any(barcode.format in _SQUARE for barcode in content.barcodes)
    )
    both = counts[FieldPosition.SECONDARY] + counts[FieldPosition.AUXILIARY]
    if one_row and both > _SHARED_ROW:
        message = (
            f"has {both} secondary and auxiliary fields, which share one row here; "
            f"{_SHARED_ROW} are shown: move some to the back"
        )
        report.warn(FindingCode.FIELD_COUNT, "fields", message)


def check_colors(report: Report) -> None:
    """Spelling, and whether text can be read."""
    colors = report.content.colors
    named = {
        "background": colors.background,
        "foreground": colors.foreground,
        "label": colors.label,
        "footer_background": colors.footer_background,
    }
    valid = {}
    for name, color in named.items():
        if _COLOR.fullmatch(color):
            valid[name] = color
        elif color:
            message = "must be a colour such as #1a2b3c"
            report.error(FindingCode.COLOR_INVALID, f"colors.{name}", message)
    if "background" not in valid or report.content.apple.use_automatic_colors:
        return
    for name in ("foreground", "label"):
        if name in valid:
            _check_contrast(report, name, valid[name], valid["background"])


def _check_contrast(report: Report, name: str, color: str, background: str) -> None:
    ratio = contrast(color, background)
    message = (
        f"stands out from the background by {ratio:.1f} to 1; text needs {_GOOD_CONTRAST} to 1: "
        "make one of them darker or lighter"
    )
    if ratio < _READABLE_CONTRAST:
        report.error(FindingCode.CONTRAST, f"colors.{name}", message)
    elif ratio < _GOOD_CONTRAST:
        report.warn(FindingCode.CONTRAST, f"colors.{name}", message)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two `#rrggbb` colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    channels = [channel / 255 for channel in bytes.fromhex(color.removeprefix("#"))]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    red, green, blue = linear
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
