"""Random templates and values for property tests."""

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, TypeVar

from hypothesis import strategies as st

from passmill.domain.money import CURRENCY_DECIMALS, Money
from passmill.domain.templates import (
    AppleActionType,
    AppleFeaturedAction,
    AppleHints,
    AppleStyleScheme,
    Barcode,
    BarcodeFormat,
    Beacon,
    Colors,
    DataDetector,
    DateStyle,
    Field,
    FieldPosition,
    GoogleHints,
    GoogleKind,
    ImageRef,
    ImageRole,
    JsonValue,
    Link,
    LinkKind,
    Location,
    Nfc,
    NumberStyle,
    PassStyle,
    Personalization,
    PersonalizationField,
    RelevantDate,
    SharingExcess,
    SharingPolicy,
    Slot,
    SlotType,
    TemplateContent,
    TextAlignment,
    TransitType,
    Translation,
)
from passmill.domain.templates.placeholders import BUILT_INS, escape_text
from passmill.domain.values import Value

_T = TypeVar("_T")

# What a text may hold: no controls but the line feed, no surrogates, overrides, stray isolates.
CHARACTERS = st.one_of(
    st.sampled_from("\"\\/\n<>&'{}%@ ;=*\u2028\u200f\u200d\U0001f469אبé"),
    st.characters(
        exclude_categories=("Cc", "Cs"),
        exclude_characters="\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    ),
)
TEXTS = st.text(CHARACTERS, min_size=1, max_size=12)
ANY_TEXTS = st.text(st.characters(codec=None), max_size=30)

INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)
DECIMALS = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent),
    st.integers(-(10**9), 10**9),
    st.integers(-4, 4),
) | st.sampled_from([Decimal("-0"), Decimal("-0.00"), Decimal("0E+5"), Decimal("0E-9")])
MONEY = st.builds(
    Money,
    minor_units=st.integers(1 - 10**15, 10**15 - 1),
    currency=st.sampled_from(sorted(CURRENCY_DECIMALS)),
)
INSTANTS = st.builds(
    lambda moment, minutes: moment.replace(
        microsecond=0, tzinfo=timezone(timedelta(minutes=minutes))
    ),
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)),  # noqa: DTZ001 - the zone follows
    st.integers(-18 * 60, 18 * 60),
)
URLS = st.builds(
    lambda path: f"https://example.com/{path}", st.text("abc/%?=&'().-_~", max_size=20)
)
_BY_TYPE: dict[SlotType, st.SearchStrategy[Value]] = {
    SlotType.TEXT: TEXTS,
    SlotType.INTEGER: INTEGERS,
    SlotType.DECIMAL: DECIMALS,
    SlotType.MONEY: MONEY,
    SlotType.INSTANT: INSTANTS,
    SlotType.BOOLEAN: st.booleans(),
    SlotType.URL: URLS,
}


def values_of(kind: SlotType) -> st.SearchStrategy[Value]:
    """Values that a slot of this type admits."""
    return _BY_TYPE[kind]


@st.composite
def slots(draw: st.DrawFn) -> tuple[Slot, ...]:
    """One slot of each type, required or not, some with defaults, and more of some types."""
    kinds = [*SlotType, *draw(st.lists(st.sampled_from(SlotType), max_size=3))]
    return tuple(
        Slot(
            name=f"{kind.value}_{index}",
            type=kind,
            required=draw(st.booleans()),
            default_value=draw(st.none() | values_of(kind)),
            max_length=draw(st.sampled_from([0, 1000])),
            description=draw(st.just("") | TEXTS),
        )
        for index, kind in enumerate(kinds)
    )


class Writing:
    """Strategies for texts over given slots."""

    def __init__(self, declared: tuple[Slot, ...]) -> None:
        self._slots = declared
        names = [slot.name for slot in declared] + sorted(BUILT_INS)
        placeholder = st.sampled_from(names).map(lambda name: f"{{{name}}}")
        self.mixed = st.lists(TEXTS.map(escape_text) | placeholder, min_size=1, max_size=4).map(
            "".join
        )
        self.maybe = st.just("") | self.mixed
        self.leaf = self.mixed | placeholder

    def only(self, *kinds: SlotType) -> st.SearchStrategy[str]:
        """A text that is one placeholder of these types."""
        names = [slot.name for slot in self._slots if slot.type in kinds]
        return st.sampled_from(names).map(lambda name: f"{{{name}}}")

    @property
    def dates(self) -> st.SearchStrategy[str]:
        """Fixed dates and instant placeholders."""
        return INSTANTS.map(datetime.isoformat) | self.only(SlotType.INSTANT)

    @property
    def numbers(self) -> st.SearchStrategy[str]:
        """Fixed numbers and placeholders of numbers and money."""
        return DECIMALS.map(lambda d: format(d, "f")) | self.only(
            SlotType.INTEGER, SlotType.DECIMAL, SlotType.MONEY
        )

    @property
    def urls(self) -> st.SearchStrategy[str]:
        """Addresses with values in them."""
        tail = self.mixed
        return st.builds(
            lambda head, rest: f"{head}/{rest}",
            st.just("https://example.com") | self.only(SlotType.URL),
            tail,
        )

    @property
    def html(self) -> st.SearchStrategy[str]:
        """Texts with a link."""
        return st.builds(
            lambda before, address, inner: f"{before}<a href='{address}'>{inner}</a>",
            self.mixed,
            self.only(*SlotType),
            self.mixed,
        )

    def json(self) -> st.SearchStrategy[JsonValue]:
        """Structured data whose strings are texts."""
        numbers = st.floats(allow_nan=False, allow_infinity=False)
        scalars: st.SearchStrategy[JsonValue] = st.none() | st.booleans() | numbers | self.leaf
        return st.recursive(
            scalars,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
            max_leaves=6,
        )

    def objects(self) -> st.SearchStrategy[dict[str, JsonValue]]:
        """Structured objects."""
        return st.dictionaries(TEXTS, self.json(), max_size=3)

    def semantics(self) -> st.SearchStrategy[dict[str, JsonValue]]:
        """Known tags, both spellings among them, and unknown ones."""
        return st.fixed_dictionaries(
            {},
            optional={
                "eventName": self.leaf,
                "eventStartDate": self.dates,
                "flightNumber": self.numbers,
                "balance": self.only(SlotType.MONEY),
                "seats": st.lists(
                    st.dictionaries(st.sampled_from(["seatRow", "seatNumber"]), self.leaf),
                    max_size=2,
                ),
                "passengerName": st.dictionaries(st.just("givenName"), self.leaf),
                "departureAirportTimeZone": self.leaf,
                "loungePlaceIDs": st.lists(self.leaf, max_size=2),
                "airlineLoungePlaceID": self.leaf,
                "tailgatingAllowed": st.booleans() | self.only(SlotType.BOOLEAN),
                "somethingNew": self.json(),
            },
        )


@st.composite
def _fields(draw: st.DrawFn, writing: Writing) -> Field:
    kind = draw(st.sampled_from(["plain", "date", "number", "currency"]))
    value = {
        "plain": writing.leaf,
        "date": writing.dates,
        "number": writing.numbers,
        "currency": writing.numbers,
    }[kind]
    return Field(
        key=draw(st.text("abcXYZ019._-", min_size=1, max_size=8)),
        position=draw(st.sampled_from(FieldPosition)),
        value=draw(value),
        label=draw(writing.maybe),
        change_message=draw(writing.maybe),
        attributed_value=draw(st.just("") | writing.html),
        alignment=draw(st.none() | st.sampled_from(TextAlignment)),
        row=draw(st.sampled_from([None, 0, 1])),
        date_style=draw(st.sampled_from(DateStyle)) if kind == "date" else None,
        time_style=draw(st.none() | st.sampled_from(DateStyle)) if kind == "date" else None,
        ignores_time_zone=draw(st.booleans()),
        is_relative=draw(st.booleans()),
        number_style=draw(st.sampled_from(NumberStyle)) if kind == "number" else None,
        currency_code="CHF" if kind == "currency" else "",
        data_detectors=tuple(draw(st.lists(st.sampled_from(DataDetector), max_size=2))),
        semantics=draw(writing.semantics()),
    )


def _apple_hints(writing: Writing) -> st.SearchStrategy[AppleHints]:
    actions = st.builds(
        AppleFeaturedAction,
        identifier=TEXTS,
        type=st.sampled_from(AppleActionType),
        url=st.just("") | writing.urls,
        place_identifier=st.just("") | TEXTS,
    )
    ids = st.lists(st.integers(1, 1 << 40), max_size=2).map(tuple)
    return st.builds(
        AppleHints,
        style_scheme=st.none() | st.sampled_from(AppleStyleScheme),
        grouping_identifier=writing.maybe,
        suppress_strip_shine=st.none() | st.booleans(),
        suppress_header_darkening=st.booleans(),
        use_automatic_colors=st.booleans(),
        event_logo_text=writing.maybe,
        associated_store_identifiers=ids,
        auxiliary_store_identifiers=ids,
        user_info=writing.objects(),
        featured_actions=st.lists(actions, max_size=2).map(tuple),
        upcoming_pass_information=st.lists(writing.objects(), max_size=2).map(tuple),
        personalization=st.none() | _forms(),
    )


def _forms() -> st.SearchStrategy[Personalization]:
    texts = TEXTS.map(escape_text)
    fields = st.lists(st.sampled_from(PersonalizationField), min_size=1, unique=True)
    return st.builds(
        Personalization,
        required_fields=fields.map(tuple),
        description=texts,
        terms_and_conditions=st.just("") | texts,
    )


@st.composite
def contents(draw: st.DrawFn) -> TemplateContent:
    """Templates that can be rendered, with a few sections each; the linter would object to many."""
    declared = draw(slots())
    writing = Writing(declared)
    sections = _sections(writing)
    chosen = draw(st.sets(st.sampled_from(sorted(sections)), max_size=5))
    return TemplateContent(
        style=draw(st.sampled_from(PassStyle)),
        organization_name=draw(TEXTS.map(escape_text)),
        description=draw(TEXTS.map(escape_text)),
        slots=declared,
        fields=_tuple(draw, _fields(writing), max_size=3),
        **{name: draw(sections[name]) for name in sorted(chosen)},
    )


def _tuple(draw: st.DrawFn, items: st.SearchStrategy[_T], max_size: int) -> tuple[_T, ...]:
    return tuple(draw(st.lists(items, max_size=max_size)))


def _some(items: st.SearchStrategy[_T], max_size: int = 2) -> st.SearchStrategy[tuple[_T, ...]]:
    return st.lists(items, min_size=1, max_size=max_size).map(tuple)


_COLORS = st.just("") | st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)
_COORDINATES = st.floats(-90, 90)
_SMALL = st.none() | st.integers(0, 65535)


def _sections(writing: Writing) -> dict[str, st.SearchStrategy[Any]]:
    """What a content may say besides its style, names, slots and fields."""
    maybe = writing.maybe
    return {
        "transit_type": st.sampled_from(TransitType),
        "title": writing.mixed,
        "colors": st.builds(
            Colors, background=_COLORS, foreground=_COLORS, label=_COLORS, footer_background=_COLORS
        ),
        "images": _some(
            st.builds(
                ImageRef,
                role=st.sampled_from(ImageRole),
                scale=st.integers(1, 3),
                locale=st.sampled_from(["", "de", "zh-Hans"]),
                asset_id=st.sampled_from(["a", "b"]),
            )
        ),
        "barcodes": _some(
            st.builds(
                Barcode,
                format=st.sampled_from(BarcodeFormat),
                message=writing.mixed,
                alt_text=maybe,
            )
        ),
        "locations": _some(
            st.builds(
                Location,
                latitude=_COORDINATES,
                longitude=_COORDINATES,
                altitude_meters=st.none() | _COORDINATES,
                relevant_text=maybe,
            )
        ),
        "beacons": _some(
            st.builds(
                Beacon,
                proximity_uuid=st.uuids().map(str),
                major=_SMALL,
                minor=_SMALL,
                relevant_text=maybe,
            )
        ),
        "max_distance_meters": st.floats(0.5, 5000),
        "relevant_dates": _some(
            st.builds(RelevantDate, start=writing.dates, end=st.just("") | writing.dates)
        ),
        "expires": writing.dates,
        "links": st.dictionaries(
            st.sampled_from(LinkKind), writing.urls, min_size=1, max_size=2
        ).map(lambda found: tuple(Link(kind=kind, target=url) for kind, url in found.items())),
        "translations": st.dictionaries(
            st.sampled_from(["de", "fr", "pt-BR"]), st.dictionaries(TEXTS, TEXTS, max_size=3)
        ).map(lambda found: tuple(Translation(locale=k, strings=v) for k, v in found.items())),
        "nfc": st.builds(
            Nfc,
            message=writing.mixed,
            encryption_public_key=st.just("AA=="),
            requires_authentication=st.booleans(),
        ),
        "sharing_prohibited": st.just(value=True),
        "sharing": st.builds(
            SharingPolicy,
            max_devices=st.integers(0, 1000),
            decay_days=st.integers(0, 365),
            excess=st.sampled_from(SharingExcess),
            binds_first_device=st.booleans(),
        ),
        "semantics": writing.semantics(),
        "apple": _apple_hints(writing),
        "google": st.builds(
            GoogleHints,
            kind=st.none() | st.sampled_from(GoogleKind),
            card_title=maybe,
            header=maybe,
            account_id=maybe,
            account_name=maybe,
            points_field_key=st.sampled_from(["", "points"]),
        ),
    }


@st.composite
def values_for(draw: st.DrawFn, declared: tuple[Slot, ...]) -> dict[str, Value]:
    """Values for all slots that need one and some that do not."""
    return {
        slot.name: draw(values_of(slot.type))
        for slot in declared
        if (slot.required and slot.default_value is None) or draw(st.booleans())
    }
