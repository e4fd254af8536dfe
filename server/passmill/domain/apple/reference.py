"""The plain renderer: builds pass.json as an object and leaves the writing to `json`.

Slow and obvious; what the signer, which renders all passes, must equal byte for byte.
"""

from __future__ import annotations

import html
import json
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeAlias
from urllib.parse import quote

from passmill.domain.apple.document import RevisionPins, build_document, fits_latin1
from passmill.domain.apple.nodes import (
    ArrayNode,
    Constant,
    FirstOf,
    Form,
    Hole,
    Node,
    ObjectNode,
    ScalarNode,
    TextNode,
)
from passmill.domain.apple.pass_json import (
    PassData,
    Sources,
    default_values,
    gather_sources,
)
from passmill.domain.apple.text_nodes import plain_number, write_date
from passmill.domain.money import Money
from passmill.domain.templates.content import TemplateContent
from passmill.domain.templates.formats import FORMATS

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


class _Absent:
    """A value that is not there; None is a JSON value."""


_ABSENT: Final = _Absent()


def render_reference(content: TemplateContent, pins: RevisionPins, pass_data: PassData) -> bytes:
    """pass.json of one pass. Raises TemplateNotRenderable."""
    sources = gather_sources(default_values(content), pass_data)
    resolved = _resolve(build_document(content, pins), sources)
    return json.dumps(resolved, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _resolve(node: Node, sources: Sources) -> Json | _Absent:
    match node:
        case Constant(value):
            return value
        case TextNode(parts):
            texts = [p if isinstance(p, str) else _text(p, sources) for p in parts]
            present = [text for text in texts if text is not None]
            return "".join(present) if len(present) == len(texts) else _ABSENT
        case ScalarNode(hole):
            return _scalar(hole, sources)
        case FirstOf(nodes):
            candidates = [_resolve(inner, sources) for inner in nodes]
            return next((c for c in candidates if not isinstance(c, _Absent)), _ABSENT)
        case ArrayNode(items):
            resolved = [_resolve(item, sources) for item in items]
            left = [item for item in resolved if not isinstance(item, _Absent)]
            return left if left or not items else _ABSENT
        case ObjectNode():
            return _object(node, sources)


def _object(node: ObjectNode, sources: Sources) -> Json | _Absent:
    members: dict[str, Json] = {}
    for name, inner in node.members:
        value = _resolve(inner, sources)
        if not isinstance(value, _Absent):
            members[name] = value
    if node.members and not members and not node.keep:
        return _ABSENT
    return members if node.whole <= members.keys() else _ABSENT


def _text(hole: Hole, sources: Sources) -> str | None:  # noqa: PLR0911 - one return a form
    values = [sources.get(source) for source in hole.sources]
    if any(value is None for value in values):
        return None
    value = values[0]
    match hole.form:
        case Form.ENCODING:
            return "iso-8859-1" if all(fits_latin1(str(v)) for v in values) else "utf-8"
        case Form.URL_COMPONENT:
            return quote(FORMATS[hole.type](value), safe="")
        case Form.HTML:
            return html.escape(FORMATS[hole.type](value))
        case Form.CURRENCY if isinstance(value, Money):
            return value.currency
        case Form.DATE if isinstance(value, datetime):
            return write_date(value)
        case _:
            return FORMATS[hole.type](value)


def _scalar(hole: Hole, sources: Sources) -> Json | _Absent:
    value = sources.get(hole.sources[0])
    match value:
        case None:
            return _ABSENT
        case Money() if hole.form is Form.MONEY_OBJECT:
            return {"amount": value.major_text(), "currencyCode": value.currency}
        case Money():
            return plain_number(Decimal(value.major_text()))
        case Decimal():
            return plain_number(value)
        case bool() | int():
            return value
        case _:
            raise TypeError(f"no JSON scalar for {hole.form}")
