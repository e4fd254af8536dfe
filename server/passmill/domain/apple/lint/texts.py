"""Rules for texts, the slots that they use, and translations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

from passmill.domain.apple.lint.report import Report
from passmill.domain.templates.content import PassStyle, Translation
from passmill.domain.templates.findings import FindingCode
from passmill.domain.templates.placeholders import (
    BUILT_INS,
    OPTIONAL_BUILT_INS,
    SLOT_NAME,
    BadTemplateText,
    parse_text,
    placeholder_names,
)
from passmill.domain.templates.text_uses import text_uses
from passmill.domain.values import (
    MAX_LENGTH_LIMIT,
    InvalidValue,
    Slot,
    SlotType,
    admit_value,
    normalise_text,
)

# BCP 47 as far as Apple's folder names go: language, script, region.
LOCALE: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?", re.ASCII)
_NO_LIMIT: Final = 1 << 20


def check_texts(report: Report) -> None:
    """Characters and braces of all texts, slots that are unknown, unused or badly declared, texts
    that every pass needs, and the transit type."""
    content = report.content
    declared = {slot.name for slot in content.slots}
    used: set[str] = set()
    for use in text_uses(content):
        _check_characters(report, use.path, use.text)
        names = _names(report, use.path, use.text)
        used.update(names)
        for name in sorted(set(names) - declared - BUILT_INS):
            message = f"uses {{{name}}}, but no slot has this name; declare it or correct it"
            report.error(FindingCode.SLOT_UNKNOWN, use.path, message)
    _check_slots(report, used)
    _check_required_texts(report)
    is_journey = content.style is PassStyle.BOARDING_PASS
    if is_journey != (content.transit_type is not None):
        needed = "a boarding pass needs one" if is_journey else "only boarding passes have one"
        report.error(FindingCode.TRANSIT_TYPE, "transit_type", needed)


def _check_characters(report: Report, path: str, text: str) -> None:
    try:
        normalise_text(text, max_length=_NO_LIMIT)
    except InvalidValue as error:
        report.error(FindingCode.TEXT_INVALID, path, str(error))


def _names(report: Report, path: str, text: str) -> list[str]:
    try:
        return placeholder_names(parse_text(text))
    except BadTemplateText as error:
        report.error(FindingCode.PLACEHOLDER_INVALID, path, str(error))
        return []


def _check_required_texts(report: Report) -> None:
    content = report.content
    optional = {slot.name for slot in content.slots if slot.can_be_absent} | OPTIONAL_BUILT_INS
    for path, text in (
        ("organization_name", content.organization_name),
        ("description", content.description),
    ):
        if not text.strip():
            report.error(FindingCode.TEXT_MISSING, path, "every pass needs it; write a few words")
            continue
        try:
            names = placeholder_names(parse_text(text))
        except BadTemplateText:
            continue  # reported with all texts
        for name in sorted(set(names) & optional):
            message = (
                f"every pass needs this, but {{{name}}} may be absent; make the slot required, "
                "give it a default, or leave it out of this text"
            )
            report.error(FindingCode.SLOT_OPTIONAL, path, message)


def _check_slots(report: Report, used: set[str]) -> None:
    counts = Counter(slot.name for slot in report.content.slots)
    for index, slot in enumerate(report.content.slots):
        path = f"slots[{index}]"
        if counts[slot.name] > 1:
            report.error(
                FindingCode.SLOT_DUPLICATE, f"{path}.name", f"{counts[slot.name]} slots have it"
            )
        if not SLOT_NAME.fullmatch(slot.name):
            message = "must be a lower-case letter, then letters, digits or _, 63 at most"
            report.error(FindingCode.SLOT_INVALID, f"{path}.name", message)
        elif slot.name not in used:
            message = f"no text uses {{{slot.name}}}; use it or leave it out"
            report.warn(FindingCode.SLOT_UNUSED, path, message)
        _check_slot_limits(report, path, slot)


def _check_slot_limits(report: Report, path: str, slot: Slot) -> None:
    if not 0 <= slot.max_length <= MAX_LENGTH_LIMIT:
        message = f"must be 0 to {MAX_LENGTH_LIMIT}"
        report.error(FindingCode.SLOT_INVALID, f"{path}.max_length", message)
    elif slot.default_value == "":
        message = "is empty text, which counts as no value; leave it out"
        report.error(FindingCode.SLOT_INVALID, f"{path}.default_value", message)
    elif slot.default_value is not None:
        try:
            kept = admit_value(slot, slot.default_value)
        except InvalidValue as error:
            report.error(FindingCode.SLOT_INVALID, f"{path}.default_value", str(error))
        else:
            if kept != slot.default_value:
                message = "is not NFC-normalised text; normalise it"
                report.error(FindingCode.SLOT_INVALID, f"{path}.default_value", message)


def check_translations(report: Report) -> None:
    """Languages, completeness, and whether each translated text can be met at all."""
    translations = report.content.translations
    counts = Counter(translation.locale for translation in translations)
    everything = {source for translation in translations for source in translation.strings}
    for index, translation in enumerate(translations):
        path = f"translations[{index}]"
        if not LOCALE.fullmatch(translation.locale):
            message = "must be a language tag such as fr, pt-BR or zh-Hans"
            report.error(FindingCode.LOCALE_INVALID, f"{path}.locale", message)
        if counts[translation.locale] > 1:
            message = "has more than one translation; put them together"
            report.error(FindingCode.TRANSLATION_DUPLICATE, f"{path}.locale", message)
        for missing in sorted(everything - translation.strings.keys()):
            message = f"lacks {_short(missing)}, which another language has; add it"
            report.error(FindingCode.TRANSLATION_INCOMPLETE, f"{path}.strings", message)
        _check_strings(report, path, translation)
    _check_translated_texts_occur(report, everything)


def _check_strings(report: Report, path: str, translation: Translation) -> None:
    strings: Mapping[str, str] = translation.strings
    for source, target in sorted(strings.items()):
        place = f"{path}.strings[{_short(source)}]"
        for text in (source, target):
            _check_characters(report, place, text)
            if _names(report, place, text):
                message = (
                    "holds a placeholder; wallets translate whole texts as they stand on the pass, "
                    "so put fixed words and values into different fields"
                )
                report.error(FindingCode.TRANSLATION_PLACEHOLDER, place, message)
        if "%@" in source and "%@" not in target:
            message = "the translation must hold %@ for the new value, as the text does"
            report.error(FindingCode.CHANGE_MESSAGE, place, message)


def _check_translated_texts_occur(report: Report, everything: set[str]) -> None:
    content = report.content
    values_are_translated = any(
        report.sole_slot_type(field.value) is SlotType.TEXT for field in content.fields
    )
    if values_are_translated:
        return  # any other string may be a slot's value
    occurring = {use.text for use in text_uses(content) if use.is_shown}
    for source in sorted(everything - occurring):
        message = f"no text of the template is {_short(source)}; correct it or leave it out"
        report.warn(FindingCode.TRANSLATION_UNUSED, "translations", message)


def _short(text: str) -> str:
    return f'"{text[:60]}…"' if len(text) > 60 else f'"{text}"'
