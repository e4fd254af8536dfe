"""From template texts and structured data to nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from passmill.domain.apple.nodes import (
    AUTHENTICATION_TOKEN,
    EXPIRES_AT,
    VOIDED,
    ArrayNode,
    Constant,
    Form,
    Hole,
    Node,
    ObjectNode,
    ScalarNode,
    TextNode,
)
from passmill.domain.apple.semantics import (
    LOUNGE,
    LOUNGES,
    SEMANTIC_TAGS,
    TWO_SPELLINGS,
    Kind,
    Listed,
    Scalar,
    Structure,
)
from passmill.domain.templates.content import JsonObject, JsonValue
from passmill.domain.templates.placeholders import (
    BUILT_INS,
    BadTemplateText,
    Part,
    Placeholder,
    parse_text,
)
from passmill.domain.values import (
    InvalidValue,
    Slot,
    SlotType,
    require_decimal,
    require_instant,
)

# Whether the fixed text so far ends within the address of a link.
_IN_HREF: Final = re.compile(r"""\bhref\s*=\s*(?:'[^']*|"[^"]*)\Z""", re.IGNORECASE)
_AT_HREF_START: Final = re.compile(r"""\bhref\s*=\s*['"]\Z""", re.IGNORECASE)
_DATE: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})", re.ASCII
)
_NUMBER: Final = re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)
_JSON_FORMS: Final = {
    SlotType.INTEGER: Form.NUMBER,
    SlotType.DECIMAL: Form.NUMBER,
    SlotType.BOOLEAN: Form.BOOLEAN,
    SlotType.MONEY: Form.MONEY_OBJECT,
}


class UnrenderableText(ValueError):
    """A text that cannot become part of a pass; the message says what to do."""


class UnknownSlot(UnrenderableText):
    """A placeholder without a slot."""


class WrongSlotType(UnrenderableText):
    """A slot whose type does not fit the place."""


class BadDate(UnrenderableText):
    """A fixed date that is none."""


class BadNumber(UnrenderableText):
    """A fixed number that is none."""


def parse_date(text: str) -> datetime:
    """A fixed date as templates write it: RFC 3339, seconds may be left out, the zone may not.

    Raises BadDate. Source: Apple's pass-builder reads no other form.
    """
    if not _DATE.fullmatch(text):
        raise BadDate("must be a date such as 2027-03-01T18:30:00+01:00, with its zone")
    try:
        return require_instant(datetime.fromisoformat(text))
    except InvalidValue as error:
        raise BadDate(str(error)) from error
    except ValueError as error:
        raise BadDate("is not a date of the calendar") from error


def parse_number(text: str) -> int | float:
    """A fixed number as templates write it: digits, a point, digits. Raises BadNumber."""
    if not _NUMBER.fullmatch(text):
        raise BadNumber("must be a number such as 1250 or 12.50, without separators or units")
    try:
        return plain_number(require_decimal(Decimal(text)))
    except (InvalidValue, InvalidOperation) as error:
        raise BadNumber(str(error)) from error


def plain_number(number: Decimal) -> int | float:
    """The JSON number for a decimal; exact, for `require_decimal` limits its digits."""
    return int(number) if number == number.to_integral_value() else float(number)


class TextNodes:
    """Makes nodes from texts by the slots of one template."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._types: dict[str, SlotType] = {slot.name: slot.type for slot in slots}
        self._types.update(dict.fromkeys(BUILT_INS, SlotType.TEXT))
        self._types[AUTHENTICATION_TOKEN] = SlotType.TEXT
        self._types[EXPIRES_AT] = SlotType.INSTANT
        self._types[VOIDED] = SlotType.BOOLEAN

    def type_of(self, name: str) -> SlotType:
        """The type of a slot or built-in. Raises UnknownSlot."""
        if name not in self._types:
            raise UnknownSlot(
                f"uses {{{name}}}, but no slot has this name; declare it or correct it"
            )
        return self._types[name]

    def parse(self, text: str) -> tuple[Part, ...]:
        """As `parse_text`; raises UnknownSlot for a placeholder without a slot."""
        parts = parse_text(text)
        for part in parts:
            if isinstance(part, Placeholder):
                self.type_of(part.name)
        return parts

    def hole(self, name: str, form: Form) -> Hole:
        """A hole for one source."""
        return Hole((name,), self.type_of(name), form)

    def text(self, text: str, form: Form = Form.TEXT) -> TextNode:
        """A JSON string; `form` says how values are written into it."""
        return TextNode(
            tuple(
                self.hole(part.name, form) if isinstance(part, Placeholder) else part
                for part in self.parse(text)
            )
        )

    def url(self, text: str) -> TextNode:
        """An address: values are percent-encoded, but for an address slot that it begins with."""
        parts: list[str | Hole] = []
        for part in self.parse(text):
            if not isinstance(part, Placeholder):
                parts.append(part)
            elif not parts and self.type_of(part.name) is SlotType.URL:
                parts.append(self.hole(part.name, Form.TEXT))
            else:
                parts.append(self.hole(part.name, Form.URL_COMPONENT))
        if parts and isinstance(first := parts[0], Hole) and first.type is not SlotType.URL:
            raise WrongSlotType("must begin with https:// or with a slot of type url")
        return TextNode(tuple(parts))

    def html(self, text: str) -> TextNode:
        """Text with links: values are escaped so that they stay text, or a part of an address."""
        parts: list[str | Hole] = []
        before = ""
        for part in self.parse(text):
            if not isinstance(part, Placeholder):
                parts.append(part)
                before += part
                continue
            whole_address = (
                _AT_HREF_START.search(before) and self.type_of(part.name) is SlotType.URL
            )
            in_address = _IN_HREF.search(before) and not whole_address
            parts.append(self.hole(part.name, Form.URL_COMPONENT if in_address else Form.HTML))
            before += "x"
        return TextNode(tuple(parts))

    def date(self, text: str) -> Node:
        """A fixed date or one instant placeholder."""
        name = single_placeholder(self.parse(text))
        if name is None:
            return Constant(write_date(parse_date(text)))
        if self.type_of(name) is not SlotType.INSTANT:
            raise WrongSlotType(f"needs an instant, but {{{name}}} is {self.type_of(name).value}")
        return TextNode((self.hole(name, Form.DATE),))

    def number(self, text: str) -> Node:
        """A fixed number or one placeholder of a number or of money."""
        name = single_placeholder(self.parse(text))
        if name is None:
            return Constant(parse_number(text))
        kind = self.type_of(name)
        if kind not in {SlotType.INTEGER, SlotType.DECIMAL, SlotType.MONEY}:
            raise WrongSlotType(f"needs a number, but {{{name}}} is {kind.value}")
        return ScalarNode(self.hole(name, Form.NUMBER))

    def field_value(self, text: str) -> Node:
        """A field's value where no style asks for a number or a date: a single placeholder keeps
        its type as far as fields can show it."""
        name = single_placeholder(self.parse(text))
        if name is not None:
            match self.type_of(name):
                case SlotType.INTEGER | SlotType.DECIMAL | SlotType.MONEY:
                    return ScalarNode(self.hole(name, Form.NUMBER))
                case SlotType.INSTANT:
                    return TextNode((self.hole(name, Form.DATE),))
                case _:
                    pass
        return self.text(text)

    def structured(self, value: JsonValue) -> Node:
        """JSON whose strings are text; a string that is one placeholder keeps the slot's type.

        Members are sorted by name, for the wire does not keep their order.
        """
        match value:
            case str():
                name = single_placeholder(self.parse(value))
                kind = None if name is None else self.type_of(name)
                if name is not None and kind is SlotType.INSTANT:
                    return TextNode((self.hole(name, Form.DATE),))
                if name is not None and kind in _JSON_FORMS:
                    return ScalarNode(self.hole(name, _JSON_FORMS[kind]))
                return self.text(value)
            case list() | tuple():
                return ArrayNode(tuple(self.structured(item) for item in value))
            case Mapping():
                return ObjectNode(
                    tuple((key, self.structured(value[key])) for key in sorted(value))
                )
            case _:
                return _scalar(value)

    def semantics(self, tags: JsonObject) -> ObjectNode:
        """Semantic tags, each by its kind, with Apple's second spelling where there is one."""
        nodes = {
            name: self._semantic(SEMANTIC_TAGS.get(name), value) for name, value in tags.items()
        }
        for one, other in TWO_SPELLINGS:
            if one in nodes:
                nodes.setdefault(other, nodes[one])
            elif other in nodes:
                nodes[one] = nodes[other]
        if LOUNGES in nodes and LOUNGE not in nodes:
            lounges = nodes[LOUNGES]
            if isinstance(lounges, ArrayNode) and lounges.items:
                nodes[LOUNGE] = lounges.items[0]
        elif LOUNGE in nodes and LOUNGES not in nodes:
            nodes[LOUNGES] = ArrayNode((nodes[LOUNGE],))
        return ObjectNode(tuple((name, nodes[name]) for name in sorted(nodes)))

    def _semantic(self, kind: Kind | None, value: JsonValue) -> Node:
        match kind, value:
            case ((Scalar.TEXT | Scalar.EVENT_TYPE | Scalar.CAPABILITY), str()):
                return self.text(value)
            case Scalar.DATE, str():
                return self.date(value)
            case Scalar.NUMBER, str():
                return self.number(value)
            case Listed(item), (list() | tuple()):
                return ArrayNode(tuple(self._semantic(item, inner) for inner in value))
            case Structure(members), Mapping():
                return ObjectNode(
                    tuple(
                        (key, self._semantic(members.get(key), value[key])) for key in sorted(value)
                    )
                )
            case _:
                return self.structured(value)


def single_placeholder(parts: tuple[Part, ...]) -> str | None:
    """The name of the placeholder that is the whole text, if it is one."""
    if len(parts) == 1 and isinstance(part := parts[0], Placeholder):
        return part.name
    return None


def write_date(moment: datetime) -> str:
    """RFC 3339 with seconds and a numeric offset."""
    return moment.isoformat(timespec="seconds")


def _scalar(value: float | bool | None) -> Constant:
    if isinstance(value, float):
        if value != value or abs(value) == float("inf"):  # noqa: PLR0124 - that is what NaN is
            raise BadNumber("must be a finite number")
        # Struct knows doubles only; 815.0 was 815.
        return Constant(int(value) if value.is_integer() and abs(value) < 1 << 53 else value)
    return Constant(value)


__all__ = [
    "BadDate",
    "BadNumber",
    "BadTemplateText",
    "TextNodes",
    "UnknownSlot",
    "UnrenderableText",
    "WrongSlotType",
    "parse_date",
    "parse_number",
    "plain_number",
    "single_placeholder",
    "write_date",
]
