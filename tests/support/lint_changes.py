"""What the lint cases are made of: good templates with one thing changed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from passmill.domain.apple import ImageInfo
from passmill.domain.templates import (
    AppleActionType,
    AppleFeaturedAction,
    Field,
    FieldPosition,
    FindingCode,
    Severity,
    Slot,
    SlotType,
    TemplateContent,
    Translation,
)
from tests.support import templates

E, W = Severity.ERROR, Severity.WARNING
C = FindingCode
P = FieldPosition


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A template with one thing wrong, and the one finding it gives."""

    severity: Severity
    code: FindingCode
    path: str
    content: TemplateContent
    images: Mapping[str, ImageInfo] | None = None
    nfc_capable: bool = True


def plain(**changes: Any) -> TemplateContent:
    """The simplest good template, changed."""
    return replace(templates.generic(), **changes)


def with_field(**changes: Any) -> TemplateContent:
    """The store card with one more field."""
    base = templates.store_card()
    field = Field(key="extra", position=P.BACK, value="x")
    return replace(base, fields=(*base.fields, replace(field, **changes)))


def with_slot(slot: Slot, text: str = "{x}") -> TemplateContent:
    """The simplest template with one slot in its title."""
    return plain(slots=(slot,), title=text)


def card(**changes: Any) -> TemplateContent:
    """The store card, changed."""
    return replace(templates.store_card(), **changes)


def poster(**changes: Any) -> TemplateContent:
    """The poster event ticket, changed."""
    return replace(templates.poster_event_ticket(), **changes)


def flight(**changes: Any) -> TemplateContent:
    """The semantic boarding pass, changed."""
    return replace(templates.semantic_boarding_pass(), **changes)


def hints(base: TemplateContent, **changes: Any) -> TemplateContent:
    """A template with other hints for Apple."""
    return replace(base, apple=replace(base.apple, **changes))


def tags(base: TemplateContent, **changes: Any) -> TemplateContent:
    """A template with more semantic tags."""
    return replace(base, semantics={**base.semantics, **changes})


def lacking(base: TemplateContent, name: str) -> TemplateContent:
    """A template without one semantic tag."""
    return replace(base, semantics={k: v for k, v in base.semantics.items() if k != name})


def resized(base: TemplateContent, asset_id: str, info: ImageInfo) -> dict[str, ImageInfo]:
    """The images of a template, one of them another."""
    return {**templates.infos(templates.assets(base)), asset_id: info}


def action(**changes: Any) -> AppleFeaturedAction:
    """A featured action, changed."""
    shop = AppleFeaturedAction(
        identifier="a", type=AppleActionType.SHOP, url="https://shop.example"
    )
    return replace(shop, **changes)


def translated(**strings: dict[str, str]) -> TemplateContent:
    """The simplest template with translations, by locale."""
    return plain(
        translations=tuple(
            Translation(locale=locale.replace("_", "-"), strings=texts)
            for locale, texts in strings.items()
        )
    )


NUMBER = Slot(name="x", type=SlotType.INTEGER, required=True)
HUGE = ImageInfo(width=2001, height=2000, size_bytes=10_000)
HEAVY = ImageInfo(width=38, height=38, size_bytes=(2 << 20) + 1)
TWO_ACTIONS = tuple(action(identifier=str(at)) for at in range(2))
