"""pass.json of one pass, quickly: a revision is compiled once, a pass fills the holes.

The bytes are compact UTF-8 JSON in a fixed key order without a trailing newline. Equal input gives
equal bytes for ever: nothing here looks at a clock, a locale or a time zone database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from passmill.domain.apple.document import RevisionPins, build_document
from passmill.domain.apple.filling import Sources, Writer, barcode_encoding, writer
from passmill.domain.apple.nodes import (
    AUTHENTICATION_TOKEN,
    EXPIRES_AT,
    VOIDED,
    ArrayNode,
    Constant,
    FirstOf,
    Form,
    Hole,
    Node,
    ObjectNode,
    ScalarNode,
    TextNode,
    holes,
    prune,
)
from passmill.domain.templates.content import TemplateContent
from passmill.domain.templates.placeholders import (
    HOLDER_NAME,
    HOLDER_PHONE,
    OPTIONAL_BUILT_INS,
    REFERENCE_ID,
    SERIAL_NUMBER,
)
from passmill.domain.values import Value

# One piece of pass.json: UTF-8 text as it is, or a hole. Plain data, for other renderers to use.
Piece: TypeAlias = str | Hole

# Passes of one template differ in which optional values they have, mostly in few ways; beyond this
# many the memory is let go and filled anew.
_MAX_LAYOUTS: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class PassData:
    """What one pass adds to its template revision.

    `values` are as `ValueRules.check` admitted them, without defaults; `holder_name` and
    `holder_phone` are None or empty when unknown; `expires_at` (aware, whole seconds) replaces the
    template's expiry.
    """

    serial_number: str
    authentication_token: str = field(repr=False)
    reference_id: str
    holder_name: str | None = field(default=None, repr=False)
    holder_phone: str | None = field(default=None, repr=False)
    values: Mapping[str, Value] = field(default_factory=dict, repr=False)
    voided: bool = False
    expires_at: datetime | None = None


class MissingValue(ValueError):
    """A pass without a value that its template requires; `ValueRules.check` tells before."""


def compile_template(content: TemplateContent, pins: RevisionPins) -> CompiledTemplate:
    """A renderer for passes of one revision. Raises TemplateNotRenderable."""
    return CompiledTemplate(content, build_document(content, pins))


class CompiledTemplate:
    """A template revision ready to render."""

    __slots__ = ("_defaults", "_document", "_expiry", "_layouts", "_optional")

    def __init__(self, content: TemplateContent, document: ObjectNode) -> None:
        self._document = document
        self._defaults = default_values(content)
        optional = {slot.name for slot in content.slots if slot.can_be_absent}
        optional |= OPTIONAL_BUILT_INS | {EXPIRES_AT, VOIDED}
        used = {source for hole in holes(document) for source in hole.sources}
        self._optional = tuple(sorted(optional & used))
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        self._expiry = dict(document.members)["expirationDate"]

    @property
    def optional_sources(self) -> tuple[str, ...]:
        """The sources that a pass may lack, sorted: `pieces` differ by which of them it lacks."""
        return self._optional

    def pieces(self, absent: tuple[str, ...] = ()) -> tuple[Piece, ...]:
        """pass.json in pieces for passes that lack exactly `absent`, a sorted part of
        `optional_sources`. Joined in order, holes filled as `filling.writer` does, encoded in
        UTF-8, they are what `render` gives."""
        return self._layout(absent).pieces

    def render(self, pass_data: PassData) -> bytes:
        """pass.json of one pass. Raises MissingValue."""
        sources = gather_sources(self._defaults, pass_data)
        find = sources.get
        absent = tuple([name for name in self._optional if find(name) is None])
        return (self._layouts.get(absent) or self._layout(absent)).fill(sources)

    def expires_at(self, pass_data: PassData) -> datetime | None:
        """When a pass ends, as its `expirationDate` says: by its own date, else by the template's;
        None when it never does. Aware, whole seconds."""
        sources = gather_sources(self._defaults, pass_data)
        absent = {name for name in self._optional if sources.get(name) is None}
        match prune(self._expiry, absent):
            case Constant(value=str(date)):
                return datetime.fromisoformat(date)
            case TextNode(parts=(Hole(sources=(name,)),)):
                moment = sources.get(name)
                return moment.replace(microsecond=0) if isinstance(moment, datetime) else None
            case _:
                return None

    def _layout(self, absent: tuple[str, ...]) -> _Layout:
        layout = self._layouts.get(absent)
        if layout is None:
            if len(self._layouts) >= _MAX_LAYOUTS:
                self._layouts.clear()
            pruned = prune(self._document, frozenset(absent))
            layout = _Layout(tuple(_merge(_flatten(pruned) if pruned else iter(()))))
            self._layouts[absent] = layout
        return layout


def default_values(content: TemplateContent) -> dict[str, Value]:
    """The values that slots have without a pass's doing."""
    return {
        slot.name: slot.default_value for slot in content.slots if slot.default_value is not None
    }


def gather_sources(defaults: Mapping[str, Value], pass_data: PassData) -> Sources:
    """Every source of a pass by name. Empty text is no value."""
    return {
        **defaults,
        **pass_data.values,
        SERIAL_NUMBER: pass_data.serial_number,
        REFERENCE_ID: pass_data.reference_id,
        AUTHENTICATION_TOKEN: pass_data.authentication_token,
        HOLDER_NAME: pass_data.holder_name or None,
        HOLDER_PHONE: pass_data.holder_phone or None,
        EXPIRES_AT: pass_data.expires_at,
        VOIDED: True if pass_data.voided else None,
    }


class _Layout:
    """The pieces for one set of present sources."""

    __slots__ = ("_encodings", "_texts", "_writers", "pieces")

    def __init__(self, pieces: tuple[Piece, ...]) -> None:
        self.pieces = pieces
        self._texts = ["" if isinstance(piece, Hole) else piece for piece in pieces]
        placed = [(at, piece) for at, piece in enumerate(pieces) if isinstance(piece, Hole)]
        self._writers: list[tuple[int, str, Writer]] = [
            (at, hole.sources[0], writer(hole))
            for at, hole in placed
            if hole.form is not Form.ENCODING
        ]
        self._encodings = [(at, hole.sources) for at, hole in placed if hole.form is Form.ENCODING]

    def fill(self, sources: Sources) -> bytes:
        texts = self._texts.copy()
        # Nothing here is None: what may be absent is not in this layout when it is.
        try:
            for at, source, write in self._writers:
                texts[at] = write(sources[source])  # type: ignore[arg-type]
            for at, names in self._encodings:
                texts[at] = barcode_encoding([str(sources[name]) for name in names])
        except KeyError as error:
            raise MissingValue(f'values["{error.args[0]}"] is required') from None
        return "".join(texts).encode()


def _flatten(node: Node) -> Iterator[Piece]:
    match node:
        case Constant(value):
            yield json.dumps(value, ensure_ascii=False)
        case TextNode(parts):
            yield '"'
            for part in parts:
                yield part if isinstance(part, Hole) else _inner(part)
            yield '"'
        case ScalarNode(hole):
            yield hole
        case FirstOf(nodes):
            yield from _flatten(nodes[0])
        case ArrayNode(items):
            yield from _flatten_list("[", [("", item) for item in items], "]")
        case ObjectNode(members):
            named = [(f"{json.dumps(name, ensure_ascii=False)}:", inner) for name, inner in members]
            yield from _flatten_list("{", named, "}")


def _flatten_list(opening: str, items: list[tuple[str, Node]], closing: str) -> Iterator[Piece]:
    yield opening
    for index, (name, node) in enumerate(items):
        yield f",{name}" if index else name
        yield from _flatten(node)
    yield closing


def _inner(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _merge(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same with neighbouring texts joined."""
    texts: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            texts.append(piece)
            continue
        if texts:
            yield "".join(texts)
            texts.clear()
        yield piece
    if texts:
        yield "".join(texts)
