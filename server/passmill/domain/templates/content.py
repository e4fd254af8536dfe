"""What a template says, wallet-neutral; proto/passmill/v1/template.proto one to one.

"Text" in a comment means template text (`placeholders.py`). Empty text and None mean "not set".
The proto file says what each attribute does; this one only what the types do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from passmill.domain.templates.sharing import SharingPolicy
from passmill.domain.values import Slot

# Structured data; in a template its strings are text.
JsonScalar: TypeAlias = str | int | float | bool | None
JsonValue: TypeAlias = (
    "JsonScalar | list[JsonValue] | tuple[JsonValue, ...] | Mapping[str, JsonValue]"
)
JsonObject: TypeAlias = Mapping[str, JsonValue]


class PassStyle(StrEnum):
    """The layout family of a pass."""

    BOARDING_PASS = "boarding_pass"  # noqa: S105 - a style, not a password
    COUPON = "coupon"
    EVENT_TICKET = "event_ticket"
    GENERIC = "generic"
    STORE_CARD = "store_card"


class TransitType(StrEnum):
    """The kind of journey of a boarding pass."""

    AIR = "air"
    BOAT = "boat"
    BUS = "bus"
    TRAIN = "train"
    GENERIC = "generic"


class FieldPosition(StrEnum):
    """Where a field stands."""

    HEADER = "header"
    PRIMARY = "primary"
    SECONDARY = "secondary"
    AUXILIARY = "auxiliary"
    BACK = "back"
    ADDITIONAL_INFO = "additional_info"


class TextAlignment(StrEnum):
    """How a field's text is aligned."""

    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"
    NATURAL = "natural"


class DateStyle(StrEnum):
    """How a date or a time of day is written."""

    NONE = "none"
    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"
    FULL = "full"


class NumberStyle(StrEnum):
    """How a number is written."""

    DECIMAL = "decimal"
    PERCENT = "percent"
    SCIENTIFIC = "scientific"
    SPELL_OUT = "spell_out"


class DataDetector(StrEnum):
    """What a wallet turns into links in a back field; NONE stands alone."""

    NONE = "none"
    PHONE_NUMBER = "phone_number"
    LINK = "link"
    ADDRESS = "address"
    CALENDAR_EVENT = "calendar_event"


class ImageRole(StrEnum):
    """What an image is for."""

    ICON = "icon"
    LOGO = "logo"
    STRIP = "strip"
    THUMBNAIL = "thumbnail"
    BACKGROUND = "background"
    FOOTER = "footer"
    ARTWORK = "artwork"
    PRIMARY_LOGO = "primary_logo"
    SECONDARY_LOGO = "secondary_logo"
    VENUE_MAP = "venue_map"
    PERSONALIZATION_LOGO = "personalization_logo"


class BarcodeFormat(StrEnum):
    """A barcode symbology."""

    QR = "qr"
    PDF417 = "pdf417"
    AZTEC = "aztec"
    CODE128 = "code128"
    CODE39 = "code39"
    CODABAR = "codabar"
    EAN13 = "ean13"
    I2OF5 = "i2of5"


class BarcodeKind(StrEnum):
    """What `{pass.barcode}` stands for (`domain/barcodes.py`)."""

    HANDLE = "handle"
    SIGNED = "signed"


class LinkKind(StrEnum):
    """What a link is for."""

    APP_LAUNCH = "app_launch"
    ACCESSIBILITY = "accessibility"
    ADD_ON = "add_on"
    BAG_POLICY = "bag_policy"
    CONTACT_VENUE_EMAIL = "contact_venue_email"
    CONTACT_VENUE_PHONE_NUMBER = "contact_venue_phone_number"
    CONTACT_VENUE_WEBSITE = "contact_venue_website"
    DIRECTIONS_INFORMATION = "directions_information"
    MERCHANDISE = "merchandise"
    ORDER_FOOD = "order_food"
    PARKING_INFORMATION = "parking_information"
    PURCHASE_PARKING = "purchase_parking"
    SELL = "sell"
    TRANSFER = "transfer"
    TRANSIT_INFORMATION = "transit_information"
    CHANGE_SEAT = "change_seat"
    ENTERTAINMENT = "entertainment"
    MANAGEMENT = "management"
    PURCHASE_ADDITIONAL_BAGGAGE = "purchase_additional_baggage"
    PURCHASE_LOUNGE_ACCESS = "purchase_lounge_access"
    PURCHASE_WIFI = "purchase_wifi"
    REGISTER_SERVICE_ANIMAL = "register_service_animal"
    REPORT_LOST_BAG = "report_lost_bag"
    REQUEST_WHEELCHAIR = "request_wheelchair"
    TRACK_BAGS = "track_bags"
    UPGRADE = "upgrade"
    TRANSIT_PROVIDER_EMAIL = "transit_provider_email"
    TRANSIT_PROVIDER_PHONE_NUMBER = "transit_provider_phone_number"
    TRANSIT_PROVIDER_WEBSITE = "transit_provider_website"


class AppleStyleScheme(StrEnum):
    """A richer look of Apple Wallet."""

    POSTER_EVENT_TICKET = "poster_event_ticket"
    SEMANTIC_BOARDING_PASS = "semantic_boarding_pass"  # noqa: S105 - a style, not a password


class AppleActionType(StrEnum):
    """What a button on the pass does."""

    VIEW_SCHEDULE = "view_schedule"
    WATCH_TRAILER = "watch_trailer"
    LISTEN_TO_MUSIC = "listen_to_music"
    CALL = "call"
    PLACE = "place"
    ADD_TO_BALANCE = "add_to_balance"
    ORDER = "order"
    SHOP = "shop"
    MEMBERSHIP_BENEFITS = "membership_benefits"
    BOOK_APPOINTMENT = "book_appointment"
    BOOK_CAR = "book_car"
    BOOK_FLIGHT = "book_flight"
    BOOK_STAY = "book_stay"
    VIEW_OFFERS_REWARDS = "view_offers_rewards"


class PersonalizationField(StrEnum):
    """Something that a reward sign-up asks for."""

    NAME = "name"
    POSTAL_CODE = "postal_code"
    EMAIL_ADDRESS = "email_address"
    PHONE_NUMBER = "phone_number"


class GoogleKind(StrEnum):
    """A kind of Google pass."""

    LOYALTY = "loyalty"
    GIFT_CARD = "gift_card"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One labelled piece of information on a pass. `value`, `label`, `change_message` and
    `attributed_value` are text."""

    key: str
    position: FieldPosition
    value: str = ""
    label: str = ""
    change_message: str = ""
    attributed_value: str = ""
    alignment: TextAlignment | None = None
    row: int | None = None
    date_style: DateStyle | None = None
    time_style: DateStyle | None = None
    ignores_time_zone: bool = False
    is_relative: bool = False
    number_style: NumberStyle | None = None
    currency_code: str = ""
    data_detectors: tuple[DataDetector, ...] = ()
    semantics: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Colors:
    """Colours as `#rrggbb`."""

    background: str = ""
    foreground: str = ""
    label: str = ""
    footer_background: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """Which asset is used as which image; `scale` in pixels per point, 1 to 3."""

    role: ImageRole
    scale: int
    asset_id: str
    locale: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Barcode:
    """A barcode; `message` and `alt_text` are text."""

    format: BarcodeFormat
    message: str
    alt_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place in degrees; `relevant_text` is text."""

    latitude: float
    longitude: float
    altitude_meters: float | None = None
    relevant_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """A Bluetooth beacon; `relevant_text` is text."""

    proximity_uuid: str
    major: int | None = None
    minor: int | None = None
    relevant_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelevantDate:
    """An instant, or a span when `end` is set; RFC 3339 or one instant placeholder each."""

    start: str
    end: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Something to open; `target` is text."""

    kind: LinkKind
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """From texts of the template, as they stand there, to their translation into `locale`."""

    locale: str
    strings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nfc:
    """What a pass says to a contactless reader; `message` is text."""

    message: str
    encryption_public_key: str
    requires_authentication: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AppleFeaturedAction:
    """A button on the pass; `url` is text."""

    identifier: str
    type: AppleActionType
    url: str = ""
    place_identifier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Personalization:
    """A reward sign-up; its texts stand as they are on every pass, so hold no placeholders."""

    required_fields: tuple[PersonalizationField, ...]
    description: str
    terms_and_conditions: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppleHints:
    """What only Apple Wallet knows."""

    style_scheme: AppleStyleScheme | None = None
    grouping_identifier: str = ""
    suppress_strip_shine: bool | None = None
    suppress_header_darkening: bool = False
    use_automatic_colors: bool = False
    event_logo_text: str = ""
    associated_store_identifiers: tuple[int, ...] = ()
    auxiliary_store_identifiers: tuple[int, ...] = ()
    user_info: JsonObject = field(default_factory=dict)
    featured_actions: tuple[AppleFeaturedAction, ...] = ()
    upcoming_pass_information: tuple[JsonObject, ...] = ()
    personalization: Personalization | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleHints:
    """What only Google Wallet knows; all but `kind` and `points_field_key` are text."""

    kind: GoogleKind | None = None
    card_title: str = ""
    header: str = ""
    account_id: str = ""
    account_name: str = ""
    points_field_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateContent:
    """Everything a template says: design, slots and rules that passes are issued from."""

    style: PassStyle
    transit_type: TransitType | None = None
    organization_name: str = ""
    description: str = ""
    title: str = ""
    slots: tuple[Slot, ...] = ()
    fields: tuple[Field, ...] = ()
    colors: Colors = field(default_factory=Colors)
    images: tuple[ImageRef, ...] = ()
    barcodes: tuple[Barcode, ...] = ()
    locations: tuple[Location, ...] = ()
    beacons: tuple[Beacon, ...] = ()
    max_distance_meters: float | None = None
    relevant_dates: tuple[RelevantDate, ...] = ()
    expires: str = ""
    links: tuple[Link, ...] = ()
    translations: tuple[Translation, ...] = ()
    nfc: Nfc | None = None
    sharing_prohibited: bool = False
    semantics: JsonObject = field(default_factory=dict)
    apple: AppleHints = field(default_factory=AppleHints)
    google: GoogleHints = field(default_factory=GoogleHints)
    barcode_kind: BarcodeKind | None = None
    sharing: SharingPolicy | None = None
