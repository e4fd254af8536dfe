"""What pass.json is rendered from: a document a template revision, a line a pass.

The signer renders (`signer_ext/README.md` has the form of both); `reference.render_reference` says
byte for byte what must come of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from json.encoder import encode_basestring
from typing import Any, Final, TypeAlias

from passmill.domain.apple.document import RevisionPins, build_document
from passmill.domain.apple.nodes import (
    AUTHENTICATION_TOKEN,
    EXPIRES_AT,
    VOIDED,
    ArrayNode,
    Constant,
    FirstOf,
    Hole,
    Node,
    ObjectNode,
    ScalarNode,
    TextNode,
)
from passmill.domain.apple.text_nodes import parse_date, single_placeholder, write_date
from passmill.domain.money import CURRENCY_DECIMALS
from passmill.domain.templates.content import TemplateContent
from passmill.domain.templates.placeholders import (
    BARCODE,
    HOLDER_NAME,
    HOLDER_PHONE,
    REFERENCE_ID,
    SERIAL_NUMBER,
    parse_text,
)
from passmill.domain.values import SlotType, Value, value_to_json, values_to_json

Sources: TypeAlias = Mapping[str, Value | None]

# What every pass has besides its slots' values, in the order of a line; and whether it must.
_BUILT_INS: Final = (
    (SERIAL_NUMBER, SlotType.TEXT, True),
    (AUTHENTICATION_TOKEN, SlotType.TEXT, True),
    (REFERENCE_ID, SlotType.TEXT, True),
    (HOLDER_NAME, SlotType.TEXT, False),
    (HOLDER_PHONE, SlotType.TEXT, False),
    (EXPIRES_AT, SlotType.INSTANT, False),
    (VOIDED, SlotType.BOOLEAN, False),
    (BARCODE, SlotType.TEXT, False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassData:
    """What one pass adds to its template revision.

    `values` are as `ValueRules.check` admitted them, without defaults; `holder_name` and
    `holder_phone` are None or empty when unknown; `expires_at` (aware, whole seconds) replaces the
    template's expiry; `barcode` is empty where the template does not use it.
    """

    serial_number: str
    authentication_token: str = field(repr=False)
    reference_id: str
    holder_name: str | None = field(default=None, repr=False)
    holder_phone: str | None = field(default=None, repr=False)
    values: Mapping[str, Value] = field(default_factory=dict, repr=False)
    voided: bool = False
    expires_at: datetime | None = None
    barcode: str = field(default="", repr=False)


def default_values(content: TemplateContent) -> dict[str, Value]:
    """The values that slots have without a pass's doing."""
    return {
        slot.name: slot.default_value for slot in content.slots if slot.default_value is not None
    }


def optional_sources(content: TemplateContent) -> frozenset[str]:
    """The sources that a pass may be without."""
    built_ins = {name for name, _, is_required in _BUILT_INS if not is_required}
    return frozenset(built_ins).union(s.name for s in content.slots if s.can_be_absent)


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
        BARCODE: pass_data.barcode or None,
    }


def expires_at(content: TemplateContent, pass_data: PassData) -> datetime | None:
    """When a pass ends, as its `expirationDate` says: by its own date, else by the template's; None
    when it never does. Aware, whole seconds."""
    moment: Value | None = pass_data.expires_at
    if moment is None and content.expires:
        name = single_placeholder(parse_text(content.expires))
        if name is None:
            return parse_date(content.expires)
        moment = pass_data.values.get(name, default_values(content).get(name))
    return moment.replace(microsecond=0) if isinstance(moment, datetime) else None


def write_document(content: TemplateContent, pins: RevisionPins) -> str:
    """The document from which the signer renders passes of one revision: JSON, as
    `_signer.PreparedRevision` takes it. Raises TemplateNotRenderable."""
    document = {
        "built_ins": [
            {"name": name, "type": kind, "required": is_required, "default": None}
            for name, kind, is_required in _BUILT_INS
        ],
        "slots": [
            {
                "name": slot.name,
                "type": slot.type,
                "required": slot.required,
                "default": None
                if slot.default_value is None
                else value_to_json(slot.default_value),
            }
            for slot in content.slots
        ],
        "decimals": CURRENCY_DECIMALS,
        "document": _node(build_document(content, pins)),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def encode_pass_data(pass_data: PassData, slot_values: str | None = None) -> bytes:
    """One pass's line of a batch, with its line feed: what the signer renders with the document.

    `slot_values`: the pass's values as they are stored (`values_to_json`), taken as they are in
    place of `pass_data.values`.
    """
    name, phone, moment = pass_data.holder_name, pass_data.holder_phone, pass_data.expires_at
    built_ins = (
        encode_basestring(pass_data.serial_number),
        encode_basestring(pass_data.authentication_token),
        encode_basestring(pass_data.reference_id),
        encode_basestring(name) if name else "null",
        encode_basestring(phone) if phone else "null",
        _date(moment),
        "true" if pass_data.voided else "null",
        encode_basestring(pass_data.barcode) if pass_data.barcode else "null",
    )
    values = values_to_json(pass_data.values) if slot_values is None else slot_values
    return f"[{','.join(built_ins)},{values}]\n".encode()


def encode_pass_columns(
    *,
    serial_numbers: Sequence[str],
    authentication_tokens: Sequence[str],
    reference_ids: Sequence[str],
    holder_names: Sequence[str],
    holder_phones: Sequence[str],
    expire_times: Sequence[datetime | None],
    slot_values: Sequence[str],
    barcodes: Sequence[str] | None = None,
) -> list[str]:
    """`encode_pass_data` of many passes that are not voided, a list a column: their lines, yet to
    be encoded in UTF-8, quickly. The first three and `barcodes` (None where the template does not
    use them) hold nothing that JSON escapes."""
    escape = encode_basestring
    quoted = ["null"] * len(slot_values) if barcodes is None else [f'"{each}"' for each in barcodes]
    return [
        f'["{serial}","{token}","{reference}",{escape(name) if name else "null"},'
        f"{escape(phone) if phone else 'null'},"
        f"{_date(moment)},null,{barcode},{values}]\n"
        for serial, token, reference, name, phone, moment, barcode, values in zip(
            serial_numbers,
            authentication_tokens,
            reference_ids,
            holder_names,
            holder_phones,
            expire_times,
            quoted,
            slot_values,
            strict=True,
        )
    ]


def _date(moment: datetime | None) -> str:
    return f'"{write_date(moment)}"' if moment else "null"


def _node(node: Node) -> dict[str, Any]:
    match node:
        case Constant(value):
            # As text, for it must stand in the pass as it is written here.
            return {"constant": json.dumps(value, ensure_ascii=False, allow_nan=False)}
        case TextNode(parts):
            return {"text": [p if isinstance(p, str) else _hole(p) for p in parts]}
        case ScalarNode(hole):
            return {"scalar": _hole(hole)}
        case FirstOf(nodes):
            return {"first_of": [_node(inner) for inner in nodes]}
        case ArrayNode(items):
            return {"array": [_node(item) for item in items]}
        case ObjectNode(members, whole, keep):
            return {
                "object": [[name, _node(inner)] for name, inner in members],
                "whole": sorted(whole),
                "keep": keep,
            }


def _hole(hole: Hole) -> dict[str, Any]:
    return {"sources": hole.sources, "form": hole.form}
