"""A rendered template before it meets a pass: a JSON tree with holes.

What is left out when a value is absent: a hole without its value takes its nearest enclosing text
or scalar with it; an object goes when a member named in `whole` went, or when nothing is left in
it (unless `keep`); a list goes when nothing is left in it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from passmill.domain.values import SlotType

# Sources that templates cannot name; the built-ins of `templates.placeholders` are sources too.
AUTHENTICATION_TOKEN: Final = "pass.authentication_token"  # noqa: S105 - the name of a source
EXPIRES_AT: Final = "pass.expires_at"
VOIDED: Final = "pass.voided"


class Form(StrEnum):
    """How a hole is written: the first group between quotes, the second as a JSON value."""

    TEXT = "text"  # formatted, JSON-escaped
    URL_COMPONENT = "url_component"  # formatted, percent-encoded
    HTML = "html"  # formatted, HTML-escaped, JSON-escaped
    DATE = "date"  # instant: RFC 3339 with seconds and offset
    CURRENCY = "currency"  # money: its ISO 4217 code
    ENCODING = "encoding"  # iso-8859-1 when all sources fit into it, else utf-8

    NUMBER = "number"  # integer, decimal; money in major units
    BOOLEAN = "boolean"
    MONEY_OBJECT = "money_object"  # {"amount":"12.50","currencyCode":"EUR"}


@dataclass(frozen=True, slots=True)
class Hole:
    """A gap to be written in `form` from the value of `sources` (one, but for ENCODING), whose type
    is `type`."""

    sources: tuple[str, ...]
    type: SlotType
    form: Form


@dataclass(frozen=True, slots=True)
class Constant:
    """A fixed JSON scalar."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class TextNode:
    """A JSON string of fixed texts and holes of the first group of forms."""

    parts: tuple[str | Hole, ...]


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A JSON value that is one hole of the second group of forms."""

    hole: Hole


@dataclass(frozen=True, slots=True)
class FirstOf:
    """The first of several nodes that is not left out."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ObjectNode:
    """A JSON object with its members in order."""

    members: tuple[tuple[str, Node], ...]
    whole: frozenset[str] = field(default=frozenset())
    keep: bool = False


@dataclass(frozen=True, slots=True)
class ArrayNode:
    """A JSON array."""

    items: tuple[Node, ...]


Node: TypeAlias = Constant | TextNode | ScalarNode | FirstOf | ObjectNode | ArrayNode


def prune(node: Node, absent: Set[str]) -> Node | None:
    """The tree as it is when the sources in `absent` have no value; None when it is left out."""
    match node:
        case Constant():
            return node
        case TextNode(parts):
            gone = any(isinstance(p, Hole) and not absent.isdisjoint(p.sources) for p in parts)
            return None if gone else node
        case ScalarNode(hole):
            return node if absent.isdisjoint(hole.sources) else None
        case FirstOf(nodes):
            return next((kept for inner in nodes if (kept := prune(inner, absent))), None)
        case ArrayNode(items):
            left = tuple(kept for inner in items if (kept := prune(inner, absent)))
            return ArrayNode(left) if left or not items else None
        case ObjectNode(members, whole, keep):
            return _prune_object(members, whole, absent, keep=keep)


def _prune_object(
    members: tuple[tuple[str, Node], ...], whole: frozenset[str], absent: Set[str], *, keep: bool
) -> Node | None:
    left = tuple((name, kept) for name, node in members if (kept := prune(node, absent)))
    if not left and members and not keep:
        return None
    if whole and not whole <= {name for name, _ in left}:
        return None
    return ObjectNode(left, whole, keep)
