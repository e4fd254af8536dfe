"""Rules for semantic tags."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from passmill.domain.apple.lint.report import Report
from passmill.domain.apple.semantics import (
    CAPABILITIES,
    EVENT_TYPES,
    MONEY,
    SEMANTIC_TAGS,
    Kind,
    Listed,
    Scalar,
    Structure,
)
from passmill.domain.templates.content import JsonObject, JsonValue
from passmill.domain.templates.findings import FindingCode
from passmill.domain.values import SlotType

_NAMED_CONSTANTS: Final = {Scalar.EVENT_TYPE: EVENT_TYPES, Scalar.CAPABILITY: CAPABILITIES}


def check_semantics(report: Report) -> None:
    """The tags of the pass and of its fields, each by its kind."""
    _check_tags(report, "semantics", report.content.semantics)
    for index, field in enumerate(report.content.fields):
        _check_tags(report, f"fields[{index}].semantics", field.semantics)


def _check_tags(report: Report, path: str, tags: JsonObject) -> None:
    for name, value in sorted(tags.items()):
        _check_member(report, path, name, SEMANTIC_TAGS, value)


def _check_member(
    report: Report, path: str, name: str, known: Mapping[str, Kind], value: JsonValue
) -> None:
    kind = known.get(name)
    if kind is not None:
        _check_kind(report, f"{path}.{name}", kind, value)
        return
    close = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {close[0]}?" if close else "leave it out unless Apple has added it"
    report.warn(FindingCode.SEMANTICS_UNKNOWN, f"{path}.{name}", f"is not known; {advice}")
    # Rendered all the same, so it must be possible to render.
    with report.rendering(f"{path}.{name}"):
        report.nodes.structured(value)


def _check_kind(report: Report, path: str, kind: Kind, value: JsonValue) -> None:
    match kind, value:
        case Listed(item), (list() | tuple()):
            for index, inner in enumerate(value):
                _check_kind(report, f"{path}[{index}]", item, inner)
        case Listed(), _:
            _wrong(report, path, "must be a list")
        case Structure(), Mapping():
            _check_structure(report, path, kind, value)
        case Structure(), _:
            _wrong(report, path, f"must be an object with {', '.join(sorted(kind.members))}")
        case Scalar.MONEY, Mapping():
            _check_structure(report, path, MONEY, value)
        case Scalar(), _ if not _fits(report, kind, value, path):
            _wrong(report, path, f"must be {kind.value}")
        case _:
            pass


def _check_structure(
    report: Report, path: str, kind: Structure, value: Mapping[str, JsonValue]
) -> None:
    for missing in sorted(kind.required - value.keys()):
        _wrong(report, path, f"lacks {missing}; add it")
    for name, inner in sorted(value.items()):
        _check_member(report, path, name, kind.members, inner)


def _wrong(report: Report, path: str, message: str) -> None:
    report.error(FindingCode.SEMANTICS_INVALID, path, message)


def _fits(report: Report, kind: Scalar, value: JsonValue, path: str) -> bool:
    """Whether the value is of the kind at all; what is wrong inside a text is reported here."""
    if isinstance(value, str):
        return _text_fits(report, kind, value, path)
    match kind:
        case Scalar.BOOLEAN:
            return isinstance(value, bool)
        case Scalar.NUMBER if isinstance(value, int | float) and not isinstance(value, bool):
            with report.rendering(path):
                report.nodes.structured(value)
            return True
        case _:
            return False


def _text_fits(report: Report, kind: Scalar, text: str, path: str) -> bool:
    match kind:
        case Scalar.TEXT:
            return True
        case Scalar.EVENT_TYPE | Scalar.CAPABILITY:
            fixed = report.fixed_text(text)
            return fixed is None or fixed in _NAMED_CONSTANTS[kind]
        case Scalar.BOOLEAN:
            return report.sole_slot_type(text) is SlotType.BOOLEAN
        case Scalar.MONEY:
            return report.sole_slot_type(text) is SlotType.MONEY
        case Scalar.NUMBER | Scalar.DATE:
            with report.rendering(path):
                (report.nodes.number if kind is Scalar.NUMBER else report.nodes.date)(text)
            return True
