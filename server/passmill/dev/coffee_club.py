"""The template that the demo, the tests and the benches issue from: a coffee club's store card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from passmill.dev import coffee_art
from passmill_client import Money, TemplateContent, Value, messages

PASS_TYPE_IDENTIFIER: Final = "pass.example.coffeeclub"  # noqa: S105 - no password
TEAM_IDENTIFIER: Final = "C0FFEE1234"
ORGANIZATION: Final = "Passmill Coffee Club"
CURRENCY: Final = "USD"

_DRAW = {
    messages.IMAGE_ROLE_ICON: coffee_art.draw_icon,
    messages.IMAGE_ROLE_LOGO: coffee_art.draw_logo,
    messages.IMAGE_ROLE_STRIP: coffee_art.draw_strip,
}
# Every fixed text of the card, and every level, in some of the members' languages.
_ENGLISH = (
    "BEANS",
    "ON YOUR CARD",
    "MEMBER",
    "LEVEL",
    "SINCE",
    "CARD",
    "Regular",
    "Silver",
    "Gold",
)
_TRANSLATIONS: Mapping[str, tuple[str, ...]] = {
    "de": (
        *("BOHNEN", "GUTHABEN", "MITGLIED", "STUFE", "SEIT", "KARTE"),
        *("Stammgast", "Silber", "Gold"),
    ),
    "fr": ("GRAINS", "SOLDE", "MEMBRE", "NIVEAU", "DEPUIS", "CARTE", "Habitué", "Argent", "Or"),
    "ja": (
        "ビーン",
        "残高",
        "会員",
        "ランク",
        "入会日",
        "カード",
        "レギュラー",
        "シルバー",
        "ゴールド",
    ),
    "ar": ("الحبوب", "الرصيد", "العضو", "المستوى", "منذ", "البطاقة", "عادي", "فضي", "ذهبي"),
}


# The uploaded asset of each role and scale.
Images: TypeAlias = Mapping[tuple[messages.ImageRole.ValueType, int], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A picture of the card. `file`: PNG."""

    role: messages.ImageRole.ValueType
    scale: int
    file: bytes


def draw_images() -> Iterator[Image]:
    """The card's icon, logo and strip at one, two and three pixels a point."""
    for role, draw in _DRAW.items():
        for scale in (1, 2, 3):
            yield Image(role=role, scale=scale, file=draw(scale))


def card_content(images: Images) -> TemplateContent:
    """The card with these images."""
    return TemplateContent(
        style=messages.PASS_STYLE_STORE_CARD,
        organization_name=ORGANIZATION,
        description="Passmill Coffee Club card",
        title="Coffee Club",
        slots=_slots(),
        fields=[*_front(), *_back()],
        colors=messages.Colors(
            background=coffee_art.ESPRESSO, foreground=coffee_art.CREAM, label=coffee_art.HONEY
        ),
        images=[
            messages.ImageRef(role=role, scale=scale, asset_id=asset_id)
            for (role, scale), asset_id in images.items()
        ],
        barcodes=[
            messages.Barcode(
                format=messages.BARCODE_FORMAT_QR,
                message="{pass.serial_number}",
                alt_text="{pass.reference_id}",
            )
        ],
        locations=[
            messages.Location(
                latitude=47.6097,
                longitude=-122.3422,
                relevant_text="Your coffee is around the corner",
            )
        ],
        translations=[
            messages.Translation(locale=locale, strings=dict(zip(_ENGLISH, texts, strict=True)))
            for locale, texts in _TRANSLATIONS.items()
        ],
        google=messages.GoogleHints(
            account_id="{pass.reference_id}",
            account_name="{holder.name}",
            points_field_key="points",
        ),
    )


def _slots() -> list[messages.Slot]:
    return [
        messages.Slot(
            name="points",
            type=messages.SLOT_TYPE_INTEGER,
            required=True,
            description="Beans collected: one a cup, ten are a free cup.",
        ),
        messages.Slot(
            name="balance",
            type=messages.SLOT_TYPE_MONEY,
            default_value=Value(money=Money(minor_units=0, currency_code=CURRENCY)),
            description="Money loaded on the card.",
        ),
        messages.Slot(
            name="level",
            type=messages.SLOT_TYPE_TEXT,
            default_value=Value(text="Regular"),
            max_length=20,
            description="Regular, Silver or Gold.",
        ),
        messages.Slot(
            name="member_since",
            type=messages.SLOT_TYPE_INSTANT,
            description="When the member joined.",
        ),
    ]


def _front() -> list[messages.Field]:
    return [
        messages.Field(
            key="points",
            position=messages.FIELD_POSITION_HEADER,
            label="BEANS",
            value="{points}",
            number_style=messages.NUMBER_STYLE_DECIMAL,
            change_message="You now have %@ beans",
        ),
        messages.Field(
            key="balance",
            position=messages.FIELD_POSITION_PRIMARY,
            label="ON YOUR CARD",
            value="{balance}",
            change_message="There is now %@ on your card",
        ),
        messages.Field(
            key="member",
            position=messages.FIELD_POSITION_SECONDARY,
            label="MEMBER",
            value="{holder.name}",
        ),
        messages.Field(
            key="level",
            position=messages.FIELD_POSITION_SECONDARY,
            label="LEVEL",
            value="{level}",
            alignment=messages.TEXT_ALIGNMENT_RIGHT,
        ),
        messages.Field(
            key="since",
            position=messages.FIELD_POSITION_AUXILIARY,
            label="SINCE",
            value="{member_since}",
            date_style=messages.DATE_STYLE_MEDIUM,
            time_style=messages.DATE_STYLE_NONE,
            ignores_time_zone=True,
        ),
        messages.Field(
            key="card",
            position=messages.FIELD_POSITION_AUXILIARY,
            label="CARD",
            value="{pass.reference_id}",
            alignment=messages.TEXT_ALIGNMENT_RIGHT,
        ),
    ]


def _back() -> list[messages.Field]:
    return [
        messages.Field(
            key="how",
            position=messages.FIELD_POSITION_BACK,
            label="How it works",
            value="Show this card at the till. Each cup earns a bean; ten beans are a free cup.",
        ),
        messages.Field(
            key="phone",
            position=messages.FIELD_POSITION_BACK,
            label="Your number with us",
            value="{holder.phone}",
        ),
        messages.Field(
            key="demo",
            position=messages.FIELD_POSITION_BACK,
            label="About this card",
            value="Signed by a throw-away authority, so no phone will take it. For that, upload a "
            "Pass Type ID certificate of your own.",
        ),
    ]
