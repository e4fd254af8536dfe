"""Templates that are too much for one bundle."""

from dataclasses import replace
from typing import Final

from passmill.domain.apple import ImageInfo
from passmill.domain.templates import Field, ImageRole, TemplateContent, Translation
from tests.support import templates
from tests.support.lint_changes import C, Case, E, P, plain, with_field

LANGUAGES: Final = tuple(f"{first}{second}" for first in "abcdefgh" for second in "abcdefgh")
_LARGE: Final = ImageInfo(width=38, height=38, size_bytes=2 << 20)


def in_languages(count: int, *roles: ImageRole) -> TemplateContent:
    """The simplest template with images in so many languages."""
    localised = (templates.images(*roles, locale=each) for each in LANGUAGES[:count])
    return plain(images=sum(localised, templates.images(ImageRole.ICON)))


def translated_alike(count: int, text: str = "x") -> TemplateContent:
    """The simplest template in so many languages, its title translated; what is beyond a mebibyte,
    as long as a text may be, as translations of other texts."""
    title = plain().title
    chunks = {str(at): text[at : at + (1 << 20)] for at in range(1 << 20, len(text), 1 << 20)}
    strings = {title: text[: 1 << 20], **chunks}
    return plain(
        translations=tuple(Translation(locale=each, strings=strings) for each in LANGUAGES[:count])
    )


def long_back(count: int, text: str) -> TemplateContent:
    """The simplest template with so many back fields of a text."""
    more = (Field(key=f"k{at}", position=P.BACK, value=text) for at in range(count))
    return plain(fields=(*plain().fields, *more))


BUNDLE_CASES: Final = [
    Case(
        severity=E,
        code=C.FILE_COUNT,
        path="images",
        content=in_languages(11, ImageRole.LOGO, ImageRole.THUMBNAIL),
    ),
    Case(severity=E, code=C.FILE_COUNT, path="translations", content=translated_alike(62)),
    Case(
        severity=E,
        code=C.STRINGS_SIZE,
        path="translations[0].strings",
        content=translated_alike(1, "x" * (2 << 20)),
    ),
    Case(
        severity=E,
        code=C.TOTAL_SIZE,
        path="images",
        content=in_languages(4, ImageRole.LOGO),
        images=dict.fromkeys(templates.assets(in_languages(4, ImageRole.LOGO)), _LARGE),
    ),
    Case(
        severity=E,
        code=C.TOTAL_SIZE,
        path="translations",
        content=translated_alike(6, "x" * ((2 << 20) - 100)),
    ),
    Case(severity=E, code=C.PASS_SIZE, path="fields", content=long_back(200, "é" * 5_200)),
    Case(
        severity=E,
        code=C.IMAGE_MISSING,
        path="images",
        content=replace(with_field(), images=templates.images(ImageRole.ICON, locale="fr")),
    ),
]
