"""The fields of a pass as nodes.

Source: https://developer.apple.com/documentation/walletpasses/passfieldcontent
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from passmill.domain.apple import names
from passmill.domain.apple.nodes import ArrayNode, Constant, Form, Node, ObjectNode, TextNode
from passmill.domain.apple.text_nodes import TextNodes, UnrenderableText, single_placeholder
from passmill.domain.templates.content import DataDetector, Field
from passmill.domain.templates.placeholders import BadTemplateText
from passmill.domain.values import SlotType

Members = Iterator[tuple[str, Node]]


class TemplateNotRenderable(ValueError):
    """A template that no pass can be made from; the linter says the same and more."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


@contextmanager
def at(path: str) -> Iterator[None]:
    """Names the place of what cannot be rendered."""
    try:
        yield
    except (UnrenderableText, BadTemplateText) as error:
        raise TemplateNotRenderable(path, str(error)) from error


def field_node(nodes: TextNodes, index: int, field: Field) -> Node:
    """One field. Raises TemplateNotRenderable."""
    path = f"fields[{index}]"
    members: list[tuple[str, Node]] = [("key", Constant(field.key))]
    if field.label:
        with at(f"{path}.label"):
            members.append(("label", nodes.text(field.label)))
    with at(f"{path}.value"):
        members.extend(_value(nodes, field))
    if field.attributed_value:
        with at(f"{path}.attributed_value"):
            members.append(("attributedValue", nodes.html(field.attributed_value)))
    if field.change_message:
        with at(f"{path}.change_message"):
            members.append(("changeMessage", nodes.text(field.change_message)))
    # What a field says goes or stays as one; its semantics may be thinned out.
    whole = frozenset(name for name, _ in members)
    members.extend(_presentation(field))
    if field.semantics:
        with at(f"{path}.semantics"):
            members.append(("semantics", nodes.semantics(field.semantics)))
    return ObjectNode(tuple(members), whole=whole)


def _value(nodes: TextNodes, field: Field) -> Members:
    text = field.value
    name = single_placeholder(nodes.parse(text))
    is_money = name is not None and nodes.type_of(name) is SlotType.MONEY
    if field.date_style is not None or field.time_style is not None:
        yield "value", nodes.date(text)
    elif field.number_style is not None or field.currency_code:
        yield "value", nodes.number(text)
    else:
        yield "value", nodes.field_value(text)
    if name is not None and is_money and field.number_style is None:
        yield "currencyCode", TextNode((nodes.hole(name, Form.CURRENCY),))
    elif field.currency_code:
        yield "currencyCode", Constant(field.currency_code)


def _presentation(field: Field) -> Members:
    if field.alignment is not None:
        yield "textAlignment", Constant(names.ALIGNMENTS[field.alignment])
    if field.row is not None:
        yield "row", Constant(field.row)
    if field.date_style is not None:
        yield "dateStyle", Constant(names.DATE_STYLES[field.date_style])
    if field.time_style is not None:
        yield "timeStyle", Constant(names.DATE_STYLES[field.time_style])
    if field.ignores_time_zone:
        yield "ignoresTimeZone", Constant(value=True)
    if field.is_relative:
        yield "isRelative", Constant(value=True)
    if field.number_style is not None:
        yield "numberStyle", Constant(names.NUMBER_STYLES[field.number_style])
    if field.data_detectors:
        detectors = [d for d in field.data_detectors if d is not DataDetector.NONE]
        items = tuple(Constant(names.DATA_DETECTORS[detector]) for detector in detectors)
        yield "dataDetectorTypes", ArrayNode(items)
