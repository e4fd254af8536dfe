"""Templates with one thing wrong in texts, slots, fields or colours."""

from dataclasses import replace

from passmill.domain.templates import (
    Colors,
    DataDetector,
    DateStyle,
    Field,
    Link,
    LinkKind,
    NumberStyle,
    RelevantDate,
    Slot,
    SlotType,
    TextAlignment,
    TransitType,
)
from tests.support import templates
from tests.support.lint_changes import (
    NUMBER,
    C,
    Case,
    E,
    P,
    W,
    card,
    plain,
    poster,
    with_field,
    with_slot,
)

TEXT_AND_FIELD_CASES = [
    Case(
        severity=E,
        code=C.TEXT_MISSING,
        path="organization_name",
        content=plain(organization_name=" "),
    ),
    Case(severity=E, code=C.TEXT_MISSING, path="description", content=plain(description="")),
    Case(severity=E, code=C.TEXT_INVALID, path="title", content=plain(title="a\x07")),
    Case(severity=E, code=C.PLACEHOLDER_INVALID, path="title", content=plain(title="{")),
    Case(severity=E, code=C.SLOT_UNKNOWN, path="title", content=plain(title="{nobody}")),
    Case(severity=W, code=C.SLOT_UNUSED, path="slots[0]", content=plain(slots=(NUMBER,))),
    Case(
        severity=E,
        code=C.SLOT_DUPLICATE,
        path="slots[1].name",
        content=plain(slots=(NUMBER, NUMBER), title="{x}"),
    ),
    Case(
        severity=E,
        code=C.SLOT_INVALID,
        path="slots[0].default_value",
        content=with_slot(replace(NUMBER, default_value="12")),
    ),
    Case(
        severity=E,
        code=C.SLOT_INVALID,
        path="slots[0].default_value",
        content=with_slot(Slot(name="x", type=SlotType.TEXT, default_value="e\u0301")),
    ),
    Case(
        severity=E,
        code=C.SLOT_INVALID,
        path="slots[0].default_value",
        content=with_slot(Slot(name="x", type=SlotType.TEXT, default_value="")),
    ),
    Case(
        severity=E,
        code=C.SLOT_INVALID,
        path="slots[0].max_length",
        content=with_slot(Slot(name="x", type=SlotType.TEXT, max_length=10_001)),
    ),
    Case(
        severity=E,
        code=C.SLOT_INVALID,
        path="slots[0].name",
        content=plain(slots=(replace(NUMBER, name="Bad-Name"),)),
    ),
    Case(
        severity=E,
        code=C.SLOT_OPTIONAL,
        path="description",
        content=plain(description="Card of {holder.name}"),
    ),
    Case(
        severity=E,
        code=C.SLOT_TYPE,
        path="expires",
        content=plain(slots=(NUMBER,), expires="{x}"),
    ),
    Case(
        severity=E,
        code=C.SLOT_TYPE,
        path="fields[8].value",
        content=with_field(value="{tier}", number_style=NumberStyle.DECIMAL),
    ),
    Case(severity=E, code=C.FIELD_KEY_INVALID, path="fields[8].key", content=with_field(key="a b")),
    Case(
        severity=E,
        code=C.FIELD_KEY_DUPLICATE,
        path="fields[8].key",
        content=with_field(key="tier"),
    ),
    Case(
        severity=E,
        code=C.FIELD_VALUE_MISSING,
        path="fields[8].value",
        content=with_field(value=""),
    ),
    Case(severity=W, code=C.FIELD_COUNT, path="fields", content=with_field(position=P.PRIMARY)),
    Case(
        severity=W,
        code=C.FIELD_COUNT,
        path="fields",
        content=card(
            fields=tuple(
                Field(key=f"k{at}", position=P.SECONDARY if at < 3 else P.AUXILIARY, value="{tier}")
                for at in range(5)
            ),
            slots=tuple(s for s in templates.store_card().slots),
            google=templates.generic().google,
        ),
    ),
    Case(
        severity=W,
        code=C.FIELD_POSITION,
        path="fields[8].position",
        content=with_field(position=P.ADDITIONAL_INFO),
    ),
    Case(severity=E, code=C.FIELD_ROW, path="fields[8].row", content=with_field(row=1)),
    Case(
        severity=E,
        code=C.FIELD_ALIGNMENT,
        path="fields[8].alignment",
        content=with_field(alignment=TextAlignment.LEFT),
    ),
    Case(
        severity=E,
        code=C.FIELD_STYLES,
        path="fields[8]",
        content=with_field(value="12", currency_code="EUR", number_style=NumberStyle.DECIMAL),
    ),
    Case(
        severity=E,
        code=C.FIELD_STYLES,
        path="fields[8].currency_code",
        content=with_field(value="{balance}", currency_code="EUR"),
    ),
    Case(
        severity=E,
        code=C.FIELD_STYLES,
        path="fields[8].number_style",
        content=with_field(value="{balance}", number_style=NumberStyle.DECIMAL),
    ),
    Case(
        severity=E,
        code=C.FIELD_STYLES,
        path="fields[8]",
        content=with_field(
            value="{member_since}", date_style=DateStyle.LONG, number_style=NumberStyle.DECIMAL
        ),
    ),
    Case(
        severity=W,
        code=C.FIELD_STYLES,
        path="fields[8]",
        content=with_field(is_relative=True),
    ),
    Case(
        severity=W,
        code=C.FIELD_DATA_DETECTORS,
        path="fields[8].data_detectors",
        content=with_field(position=P.AUXILIARY, data_detectors=(DataDetector.LINK,)),
    ),
    Case(
        severity=E,
        code=C.FIELD_DATA_DETECTORS,
        path="fields[8].data_detectors",
        content=with_field(data_detectors=(DataDetector.LINK, DataDetector.NONE)),
    ),
    Case(
        severity=E,
        code=C.CHANGE_MESSAGE,
        path="fields[8].change_message",
        content=with_field(change_message="Changed"),
    ),
    Case(
        severity=E,
        code=C.ATTRIBUTED_VALUE,
        path="fields[8].attributed_value",
        content=with_field(attributed_value="<b>bold</b>"),
    ),
    Case(
        severity=E,
        code=C.ATTRIBUTED_VALUE,
        path="fields[8].attributed_value",
        content=with_field(attributed_value="<a href='javascript:alert(1)'>x</a>"),
    ),
    Case(
        severity=E,
        code=C.ATTRIBUTED_VALUE,
        path="fields[8].attributed_value",
        content=with_field(attributed_value="<a href='https://a.example'>x"),
    ),
    Case(
        severity=E,
        code=C.NUMBER_INVALID,
        path="fields[8].value",
        content=with_field(value="1,250", number_style=NumberStyle.DECIMAL),
    ),
    Case(
        severity=E,
        code=C.CURRENCY_INVALID,
        path="fields[8].currency_code",
        content=with_field(value="1", currency_code="EUX"),
    ),
    Case(severity=E, code=C.DATE_INVALID, path="expires", content=plain(expires="2027-01-01")),
    Case(
        severity=E,
        code=C.DATE_INVALID,
        path="expires",
        content=plain(expires="2027-02-30T10:00:00Z"),
    ),
    Case(
        severity=E,
        code=C.DATE_INVALID,
        path="relevant_dates[0].start",
        content=plain(relevant_dates=(RelevantDate(start="2027-01-01T10:00+0100"),)),
    ),
    Case(
        severity=E,
        code=C.DATE_ORDER,
        path="relevant_dates[0]",
        content=plain(
            relevant_dates=(RelevantDate(start="2027-01-02T10:00Z", end="2027-01-01T10:00Z"),)
        ),
    ),
    Case(
        severity=W,
        code=C.DATE_ORDER,
        path="relevant_dates[0]",
        content=plain(
            relevant_dates=(RelevantDate(start="2027-01-01T10:00Z", end="2027-01-03T10:00Z"),)
        ),
    ),
    Case(
        severity=W,
        code=C.DATE_STYLE_MISSING,
        path="fields[8]",
        content=with_field(value="{member_since}"),
    ),
    Case(
        severity=E,
        code=C.ADDRESS_INVALID,
        path="links[0].target",
        content=poster(links=(Link(kind=LinkKind.SELL, target="http://a.example"),)),
    ),
    Case(
        severity=E,
        code=C.ADDRESS_INVALID,
        path="links[0].target",
        content=poster(links=(Link(kind=LinkKind.CONTACT_VENUE_EMAIL, target="nobody"),)),
    ),
    Case(
        severity=E,
        code=C.ADDRESS_INVALID,
        path="links[0].target",
        content=poster(links=(Link(kind=LinkKind.CONTACT_VENUE_PHONE_NUMBER, target="call me"),)),
    ),
    Case(
        severity=E,
        code=C.SLOT_TYPE,
        path="links[0].target",
        content=poster(links=(Link(kind=LinkKind.SELL, target="{section}"),)),
    ),
    Case(
        severity=E,
        code=C.TRANSIT_TYPE,
        path="transit_type",
        content=plain(transit_type=TransitType.AIR),
    ),
    Case(
        severity=E,
        code=C.TRANSIT_TYPE,
        path="transit_type",
        content=replace(templates.boarding_pass(), transit_type=None),
    ),
    Case(
        severity=E,
        code=C.COLOR_INVALID,
        path="colors.background",
        content=plain(colors=Colors(background="red")),
    ),
    Case(
        severity=E,
        code=C.CONTRAST,
        path="colors.foreground",
        content=plain(colors=Colors(background="#ffffff", foreground="#eeeeee")),
    ),
    Case(
        severity=W,
        code=C.CONTRAST,
        path="colors.label",
        content=plain(colors=Colors(background="#ffffff", label="#999999")),
    ),
]
