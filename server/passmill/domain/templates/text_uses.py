"""Every place of a template where a person may write text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from passmill.domain.templates.content import BarcodeKind, Field, JsonValue, TemplateContent
from passmill.domain.templates.placeholders import (
    BARCODE,
    BadTemplateText,
    parse_text,
    placeholder_names,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextUse:
    """A text and its field path. `is_shown`: people read it, so it can be translated."""

    path: str
    text: str
    is_shown: bool = False


def text_uses(content: TemplateContent) -> Iterator[TextUse]:
    """All texts that are not empty, in the order of the proto file."""
    for use in _all_texts(content):
        if use.text:
            yield use


def used_barcode_kind(content: TemplateContent) -> BarcodeKind | None:
    """What `{pass.barcode}` stands for in a template; None when no text of it holds that."""
    for use in text_uses(content):
        if BARCODE in use.text and BARCODE in _names(use.text):
            return content.barcode_kind or BarcodeKind.HANDLE
    return None


def tells_changes(content: TemplateContent, slot_name: str) -> bool:
    """Whether a lock screen tells of a new value of this slot: a field that has a change message
    shows it (https://developer.apple.com/documentation/walletpasses/passfieldcontent)."""
    return any(each.change_message and slot_name in _names(each.value) for each in content.fields)


def _names(text: str) -> list[str]:
    try:
        return placeholder_names(parse_text(text))
    except BadTemplateText:
        return []  # the linter's business; such a template has no revision


def _shown(path: str, text: str) -> TextUse:
    return TextUse(path=path, text=text, is_shown=True)


def _all_texts(content: TemplateContent) -> Iterator[TextUse]:
    yield _shown("organization_name", content.organization_name)
    yield _shown("description", content.description)
    yield _shown("title", content.title)
    for index, field in enumerate(content.fields):
        yield from _field_texts(f"fields[{index}]", field)
    for index, barcode in enumerate(content.barcodes):
        yield TextUse(path=f"barcodes[{index}].message", text=barcode.message)
        yield _shown(f"barcodes[{index}].alt_text", barcode.alt_text)
    for index, location in enumerate(content.locations):
        yield _shown(f"locations[{index}].relevant_text", location.relevant_text)
    for index, beacon in enumerate(content.beacons):
        yield _shown(f"beacons[{index}].relevant_text", beacon.relevant_text)
    for index, date in enumerate(content.relevant_dates):
        yield TextUse(path=f"relevant_dates[{index}].start", text=date.start)
        yield TextUse(path=f"relevant_dates[{index}].end", text=date.end)
    yield TextUse(path="expires", text=content.expires)
    for index, link in enumerate(content.links):
        yield TextUse(path=f"links[{index}].target", text=link.target)
    if content.nfc is not None:
        yield TextUse(path="nfc.message", text=content.nfc.message)
    yield from _structured_texts("semantics", content.semantics)
    yield from _hint_texts(content)


def _field_texts(path: str, field: Field) -> Iterator[TextUse]:
    yield _shown(f"{path}.value", field.value)
    yield _shown(f"{path}.label", field.label)
    yield _shown(f"{path}.change_message", field.change_message)
    yield _shown(f"{path}.attributed_value", field.attributed_value)
    yield from _structured_texts(f"{path}.semantics", field.semantics)


def _hint_texts(content: TemplateContent) -> Iterator[TextUse]:
    apple, google = content.apple, content.google
    yield TextUse(path="apple.grouping_identifier", text=apple.grouping_identifier)
    yield _shown("apple.event_logo_text", apple.event_logo_text)
    yield from _structured_texts("apple.user_info", apple.user_info)
    for index, action in enumerate(apple.featured_actions):
        yield TextUse(path=f"apple.featured_actions[{index}].url", text=action.url)
    for index, entry in enumerate(apple.upcoming_pass_information):
        yield from _structured_texts(f"apple.upcoming_pass_information[{index}]", entry)
    if (form := apple.personalization) is not None:
        yield _shown("apple.personalization.description", form.description)
        terms = form.terms_and_conditions
        yield _shown("apple.personalization.terms_and_conditions", terms)
    yield _shown("google.card_title", google.card_title)
    yield _shown("google.header", google.header)
    yield TextUse(path="google.account_id", text=google.account_id)
    yield _shown("google.account_name", google.account_name)


def _structured_texts(path: str, value: JsonValue) -> Iterator[TextUse]:
    match value:
        case str():
            yield _shown(path, value)
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _structured_texts(f"{path}[{index}]", item)
        case Mapping():
            for name in sorted(value):
                yield from _structured_texts(f"{path}.{name}", value[name])
        case _:
            pass
