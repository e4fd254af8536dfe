"""The files of a bundle that all passes of a revision share: images, translated strings, the form
of a reward sign-up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from passmill.domain.apple.names import IMAGE_NAMES, PERSONALIZATION_FIELDS
from passmill.domain.templates.content import (
    ImageRef,
    ImageRole,
    Personalization,
    TemplateContent,
)
from passmill.domain.templates.placeholders import BadTemplateText, parse_text

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


PERSONALIZATION_PATH: Final = "personalization.json"


def static_files(
    content: TemplateContent, assets: Mapping[str, bytes], *, asks_to_sign_up: bool = False
) -> dict[str, bytes]:
    """Every file but pass.json, manifest.json and signature, by its path in the bundle, sorted.

    `asks_to_sign_up`: with the form and the logo of a reward sign-up, as long as nobody has signed
    up with the pass; else it has neither. `assets` holds the bytes of every asset that the content
    names, by id; KeyError for a missing one. Image bytes are passed on as they are.
    """
    form = content.apple.personalization
    files = {
        image_path(image): assets[image.asset_id]
        for image in content.images
        if form is None or asks_to_sign_up or image.role is not ImageRole.PERSONALIZATION_LOGO
    }
    if form is not None and asks_to_sign_up:
        files[PERSONALIZATION_PATH] = write_personalization(form)
    for translation in content.translations:
        if translation.strings:
            files[strings_path(translation.locale)] = write_strings(translation.strings)
    return dict(sorted(files.items()))


def image_path(image: ImageRef) -> str:
    """Apple's name of an image: `fr.lproj/strip@2x.png`."""
    density = f"@{image.scale}x" if image.scale > 1 else ""
    folder = f"{image.locale}.lproj/" if image.locale else ""
    return f"{folder}{IMAGE_NAMES[image.role]}{density}.png"


def write_personalization(form: Personalization) -> bytes:
    """personalization.json: compact, keys in Apple's order.

    Source: https://developer.apple.com/documentation/walletpasses/personalize
    """
    document: dict[str, object] = {
        "requiredPersonalizationFields": [
            PERSONALIZATION_FIELDS[field] for field in form.required_fields
        ],
        "description": _literal(form.description),
    }
    if form.terms_and_conditions:
        document["termsAndConditions"] = _literal(form.terms_and_conditions)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def strings_path(locale: str) -> str:
    """Apple's name of a language's translated texts: `fr.lproj/pass.strings`."""
    return f"{locale}.lproj/pass.strings"


def write_strings(strings: Mapping[str, str]) -> bytes:
    """A strings file: UTF-16, little end first, with byte order mark, keys sorted.

    Keys are the texts as they come out in pass.json, so doubled braces are single here. Source:
    https://developer.apple.com/library/archive/documentation/Cocoa/Conceptual/LoadingResources/Strings/Strings.html
    """
    return b"\xff\xfe" + _lines(strings).encode("utf-16-le")


def strings_bytes(strings: Mapping[str, str]) -> int:
    """How many bytes `write_strings` gives; an answer for texts, too, that it cannot write."""
    return 2 + len(_lines(strings).encode("utf-16-le", "surrogatepass"))


def _lines(strings: Mapping[str, str]) -> str:
    literal = {_literal(source): _literal(target) for source, target in strings.items()}
    return "".join(
        f"{_quote(source)} = {_quote(target)};\n" for source, target in sorted(literal.items())
    )


def _literal(text: str) -> str:
    try:
        parts = parse_text(text)
    except BadTemplateText:
        return text
    # The linter refuses placeholders here; a preview shows them as they stand.
    return "".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in parts)


def _quote(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
