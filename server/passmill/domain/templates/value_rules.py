"""Which values a template takes: each by its slot, and where several texts meet, by the place.

What a value may be depends on where it goes: a barcode holds some characters only, a contactless
message 64 bytes. So a pass is checked here before it is issued, and a refusal names the value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from passmill.domain.barcodes import SAMPLE_HANDLE, SAMPLE_SIGNED
from passmill.domain.templates.barcodes import (
    MAX_NFC_BYTES,
    InvalidMessage,
    check_characters,
    check_message,
)
from passmill.domain.templates.content import BarcodeKind, TemplateContent
from passmill.domain.templates.formats import FORMATS
from passmill.domain.templates.placeholders import (
    BARCODE,
    HOLDER_NAME,
    HOLDER_PHONE,
    REFERENCE_ID,
    SERIAL_NUMBER,
    BadTemplateText,
    Part,
    Placeholder,
    parse_text,
    placeholder_names,
)
from passmill.domain.values import InvalidValue, Slot, SlotType, Value, admit_value, check_text
from passmill.errors import FieldError

HOLDER_TEXT_LIMIT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedValues:
    """The values to store, without empty ones and without defaults, and all that is wrong with what
    was given. With a violation the rest is not to be used."""

    values: Mapping[str, Value]
    holder_name: str
    holder_phone: str
    violations: tuple[FieldError, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A text made of values that has rules of its own."""

    parts: tuple[Part, ...]
    names: tuple[str, ...]
    check: Callable[[str], None]
    check_part: Callable[[str], None]


def check_values(content: TemplateContent, values: Mapping[str, Value]) -> CheckedValues:
    """One check of one pass; `compile_value_rules` serves many."""
    return compile_value_rules(content).check(values)


def compile_value_rules(content: TemplateContent) -> ValueRules:
    """The rules of a template, ready to check many passes."""
    return ValueRules(content)


class ValueRules:
    """The rules of one template revision."""

    __slots__ = ("_defaults", "_places", "_required", "_samples", "_slots")

    def __init__(self, content: TemplateContent) -> None:
        self._slots = {slot.name: slot for slot in content.slots}
        self._defaults = {slot.name: slot.default_value for slot in content.slots}
        self._required = tuple(
            slot.name for slot in content.slots if slot.required and slot.default_value is None
        )
        self._places = tuple(_places(content))
        self._samples = sample_texts(content.barcode_kind)

    def check(
        self,
        values: Mapping[str, Value],
        *,
        holder_name: str = "",
        holder_phone: str = "",
        partial: bool = False,
    ) -> CheckedValues:
        """What to store of `values` and of the holder's name and number, and what is wrong.

        Empty text counts as no value. Paths are `values["points"]`, `holder.name`, `holder.phone`.
        `partial`: they are to be laid over others; each is checked by itself, and none is missed.
        """
        violations: list[FieldError] = []
        admitted = self._admit(values, violations)
        for name in () if partial else self._required:
            if name not in admitted and not _has(violations, name):
                given = values.get(name) == ""
                message = "must not be empty" if given else "is required by the template"
                violations.append(_violation(name, message))
        holder_name, wrong = check_text(holder_name, path=HOLDER_NAME, max_length=HOLDER_TEXT_LIMIT)
        violations += wrong
        holder_phone, wrong = check_text(
            holder_phone, path=HOLDER_PHONE, max_length=HOLDER_TEXT_LIMIT
        )
        violations += wrong
        if self._places and not violations and not partial:
            self._check_places(admitted, holder_name, holder_phone, violations)
        return CheckedValues(
            values=admitted,
            holder_name=holder_name,
            holder_phone=holder_phone,
            violations=tuple(violations),
        )

    def check_overlay(self, values: Mapping[str, Value]) -> tuple[FieldError, ...]:
        """What is wrong with values that are to be laid over those of passes not known yet: as
        `check` with `partial`, and whether a barcode can hold each, whatever stands around it."""
        checked = self.check(values, partial=True)
        violations = list(checked.violations)
        for place in self._places if not violations else ():
            for part in place.parts:
                if not isinstance(part, Placeholder) or part.name not in checked.values:
                    continue
                try:
                    place.check_part(self._format(part, checked.values) or "")
                except InvalidMessage as error:
                    violations.append(_violation(part.name, str(error)))
        return tuple(violations)

    def _admit(self, values: Mapping[str, Value], violations: list[FieldError]) -> dict[str, Value]:
        admitted: dict[str, Value] = {}
        for name, value in values.items():
            slot = self._slots.get(name)
            if slot is None:
                known = ", ".join(self._slots) or "none"
                violations.append(
                    _violation(name, f"the template has no slot of this name; it has: {known:.500}")
                )
                continue
            try:
                kept = admit_value(slot, value)
            except InvalidValue as error:
                violations.append(_violation(name, str(error)))
            else:
                if kept != "":
                    admitted[name] = kept
        return admitted

    def _check_places(
        self,
        values: Mapping[str, Value],
        holder_name: str,
        holder_phone: str,
        violations: list[FieldError],
    ) -> None:
        sources: dict[str, Value | None] = {**self._defaults, **values}
        sources[HOLDER_NAME] = holder_name or None
        sources[HOLDER_PHONE] = holder_phone or None
        for place in self._places:
            texts = [self._format(part, sources) for part in place.parts]
            if any(text is None for text in texts):
                continue
            try:
                place.check("".join(text for text in texts if text is not None))
            except InvalidMessage as error:
                name = place.names[0]
                violations.append(_violation(name, str(error)))

    def _format(self, part: Part, sources: Mapping[str, Value | None]) -> str | None:
        if not isinstance(part, Placeholder):
            return part
        if part.name in self._samples:
            return self._samples[part.name]
        value = sources.get(part.name)
        if value is None:
            return None
        slot = self._slots.get(part.name)
        return FORMATS[slot.type if slot else SlotType.TEXT](value)


_MADE = frozenset({SERIAL_NUMBER, REFERENCE_ID, BARCODE})


def sample_texts(barcode_kind: BarcodeKind | None) -> Mapping[str, str]:
    """What is made by the service, not given: as long as the real thing, of its characters."""
    is_signed = barcode_kind is BarcodeKind.SIGNED
    return {
        SERIAL_NUMBER: "0" * 26,
        REFERENCE_ID: "K7M3-Q8TX",
        BARCODE: SAMPLE_SIGNED if is_signed else SAMPLE_HANDLE,
    }


def _places(content: TemplateContent) -> list[_Place]:
    places = []
    for barcode in content.barcodes:
        kind = barcode.format
        places += _place(
            barcode.message,
            content.slots,
            partial(check_message, kind),
            check_part=partial(check_characters, kind),
        )
    if content.nfc is not None:
        places += _place(content.nfc.message, content.slots, _check_nfc, check_part=_check_nfc)
    return places


def _place(
    text: str,
    slots: tuple[Slot, ...],
    check: Callable[[str], None],
    *,
    check_part: Callable[[str], None],
) -> list[_Place]:
    try:
        parts = parse_text(text)
    except BadTemplateText:
        return []  # the linter's business; such a template has no revision
    names = placeholder_names(parts)
    # A value is blamed that a caller can change: a slot's or the holder's, text before others.
    types = {slot.name: slot.type for slot in slots}
    blamed = [name for name in names if name not in _MADE]
    blamed.sort(key=lambda name: types.get(name, SlotType.TEXT) is not SlotType.TEXT)
    if not blamed:
        return []
    return [_Place(parts=parts, names=tuple(blamed), check=check, check_part=check_part)]


def _check_nfc(message: str) -> None:
    size = len(message.encode())
    if size > MAX_NFC_BYTES:
        raise InvalidMessage(
            f"makes the contactless message {size} bytes long; {MAX_NFC_BYTES} are allowed"
        )


def _violation(name: str, message: str) -> FieldError:
    return FieldError(path=_path(name), message=message)


def _path(name: str) -> str:
    if name in {HOLDER_NAME, HOLDER_PHONE}:
        return name
    return f'values["{name:.64}"]'


def _has(violations: list[FieldError], name: str) -> bool:
    return any(violation.path == _path(name) for violation in violations)
