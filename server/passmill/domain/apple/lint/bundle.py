"""Rules for the bundle as a whole: what it may hold, so that whatever has no error can be signed.

The limits are the signer's (signer_ext/README.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from passmill.domain.apple.document import RevisionPins, build_document
from passmill.domain.apple.field_nodes import TemplateNotRenderable
from passmill.domain.apple.lint.images import ImageInfo
from passmill.domain.apple.lint.report import Report
from passmill.domain.apple.nodes import (
    ArrayNode,
    Constant,
    FirstOf,
    Node,
    ObjectNode,
    ScalarNode,
    TextNode,
    prune,
)
from passmill.domain.apple.pass_json import optional_sources
from passmill.domain.apple.reference import Json
from passmill.domain.apple.static_files import image_path, strings_bytes, strings_path
from passmill.domain.templates.findings import FindingCode, Severity

MAX_FILES: Final = 64
MAX_STRINGS_BYTES: Final = 4 << 20
MAX_TOTAL_BYTES: Final = 20 << 20
MAX_PASS_JSON_BYTES: Final = 2 << 20
ADVISED_IMAGE_BYTES: Final = 1 << 20
# Of pass.json, for what a pass adds: values, and identifiers of certificate and web service.
ROOM_BYTES: Final = 64 << 10

_ANY_PINS: Final = RevisionPins(pass_type_identifier="", team_identifier="", web_service_url=None)


def check_files(report: Report, images: Mapping[str, ImageInfo]) -> None:
    """Number and size of the images and the files of translated texts."""
    refs = report.content.images
    pictures = {
        image_path(ref): images[ref.asset_id].size_bytes if ref.asset_id in images else 0
        for ref in refs
    }
    texts: dict[str, int] = {}
    for index, translation in enumerate(report.content.translations):
        if not translation.strings:
            continue
        size = texts[strings_path(translation.locale)] = strings_bytes(translation.strings)
        if size > MAX_STRINGS_BYTES:
            message = f"has {size} bytes as a file; {MAX_STRINGS_BYTES} are allowed: shorten it"
            report.error(FindingCode.STRINGS_SIZE, f"translations[{index}].strings", message)
    place = "images" if len(pictures) >= len(texts) else "translations"
    form = 0 if report.content.apple.personalization is None else 1
    if len(pictures) + len(texts) + form > MAX_FILES:
        message = (
            f"{len(pictures)} images and {len(texts)} languages with texts"
            f"{' and a sign-up form' if form else ''} are more than the"
            f" {MAX_FILES} files that a pass may have; leave some out"
        )
        report.error(FindingCode.FILE_COUNT, place, message)
    _check_total(report, sum(pictures.values()), sum(texts.values()))


def _check_total(report: Report, pictures: int, texts: int) -> None:
    if pictures + texts > MAX_TOTAL_BYTES:
        place = "images" if pictures >= texts else "translations"
        message = (
            f"images and translated texts have {pictures + texts} bytes; {MAX_TOTAL_BYTES} are"
            " allowed: use smaller ones"
        )
        report.error(FindingCode.TOTAL_SIZE, place, message)
    elif pictures > ADVISED_IMAGE_BYTES:
        message = (
            f"all images together have {pictures} bytes; above a megabyte a pass is slow to load:"
            " compress them"
        )
        report.warn(FindingCode.TOTAL_SIZE, "images", message)


def check_pass_json(report: Report) -> None:
    """The last word: what has no error so far must render, and leave room for a pass's values."""
    if any(finding.severity is Severity.ERROR for finding in report.findings):
        return
    try:
        document = build_document(report.content, _ANY_PINS)
    except TemplateNotRenderable as error:
        report.error(FindingCode.TEXT_INVALID, error.path, error.message)
        return
    smallest = prune(document, optional_sources(report.content))
    text = json.dumps(smallest and _emptied(smallest), ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode())
    if size > MAX_PASS_JSON_BYTES - ROOM_BYTES:
        message = (
            f"what every pass says has {size} bytes; {MAX_PASS_JSON_BYTES - ROOM_BYTES} are"
            " allowed, to leave room for values: shorten the texts"
        )
        report.error(FindingCode.PASS_SIZE, "fields", message)


def _emptied(node: Node) -> Json:
    """The node with as little as can be in its holes."""
    match node:
        case Constant(value):
            return value
        case TextNode(parts):
            return "".join(part for part in parts if isinstance(part, str))
        case ScalarNode():
            return 0
        case FirstOf(nodes):
            return _emptied(nodes[0])
        case ArrayNode(items):
            return [_emptied(item) for item in items]
        case ObjectNode(members):
            return {name: _emptied(inner) for name, inner in members}
