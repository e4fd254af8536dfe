"""What the linter finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Whether a finding blocks publishing."""

    ERROR = "error"
    WARNING = "warning"


class FindingCode(StrEnum):
    """What the linter can find; each member says when."""

    TEXT_MISSING = "text_missing"  # a text that every pass needs is empty
    TEXT_INVALID = "text_invalid"  # a text holds a character that no pass may hold
    # A brace in a text is neither a placeholder nor doubled.
    PLACEHOLDER_INVALID = "placeholder_invalid"
    SLOT_UNKNOWN = "slot_unknown"  # a placeholder names a slot that is not declared
    SLOT_UNUSED = "slot_unused"  # a declared slot is used nowhere
    SLOT_DUPLICATE = "slot_duplicate"  # two slots have one name
    SLOT_INVALID = "slot_invalid"  # a slot's name, limit or default value is not right
    # A text that every pass needs depends on a value that may be absent.
    SLOT_OPTIONAL = "slot_optional"
    SLOT_TYPE = "slot_type"  # a slot's type does not fit the place where it is used
    # A field's key is empty or has other characters than letters, digits, dot, dash and underscore.
    FIELD_KEY_INVALID = "field_key_invalid"
    FIELD_KEY_DUPLICATE = "field_key_duplicate"  # two fields have one key
    FIELD_VALUE_MISSING = "field_value_missing"  # a field has no value
    FIELD_COUNT = "field_count"  # a position holds more fields than the style shows
    FIELD_POSITION = "field_position"  # a field stands where the style has no place
    FIELD_ROW = "field_row"  # a row is set where the style has none
    FIELD_ALIGNMENT = "field_alignment"  # an alignment is set on a primary or back field
    FIELD_STYLES = "field_styles"  # number, currency and date styles contradict each other
    # Data detectors are set where they have no effect, or contradict each other.
    FIELD_DATA_DETECTORS = "field_data_detectors"
    CHANGE_MESSAGE = "change_message"  # a change message does not hold %@ for the new value
    ATTRIBUTED_VALUE = "attributed_value"  # an attributed value holds other markup than links
    # A number is not one, or has more digits than a pass can hold.
    NUMBER_INVALID = "number_invalid"
    CURRENCY_INVALID = "currency_invalid"  # a currency code is not in ISO 4217
    DATE_INVALID = "date_invalid"  # a date is not in RFC 3339 with a zone
    DATE_ORDER = "date_order"  # a span ends before it starts, or lasts longer than a day
    DATE_STYLE_MISSING = "date_style_missing"  # a date is shown without a date or time style
    # A web address, mail address or telephone number is not one, or is not https.
    ADDRESS_INVALID = "address_invalid"
    # A transit type is missing on a boarding pass or set on another style.
    TRANSIT_TYPE = "transit_type"
    COLOR_INVALID = "color_invalid"  # a colour is not #rrggbb
    CONTRAST = "contrast"  # text stands out too little from its background
    IMAGE_MISSING = "image_missing"  # an image that the style needs is missing
    IMAGE_SCALE_MISSING = "image_scale_missing"  # an image lacks a density
    IMAGE_DUPLICATE = "image_duplicate"  # two images have one role, density and language
    # An image reference has a wrong density or language, or its file is damaged.
    IMAGE_INVALID = "image_invalid"
    IMAGE_ASSET_UNKNOWN = "image_asset_unknown"  # an image names an asset that is not uploaded
    # An image is larger or smaller than its role asks for, or of another shape.
    IMAGE_SIZE = "image_size"
    IMAGE_TOO_LARGE = "image_too_large"  # an image has over four megapixels or 2 MiB
    IMAGE_UNUSED = "image_unused"  # an image is not shown by this style
    IMAGE_CONFLICT = "image_conflict"  # an image hides another
    # An image stands both at top level and in a language, or has different densities by language.
    IMAGE_LOCALES = "image_locales"
    # All images together make the pass slow to load, or all files more than a pass may hold.
    TOTAL_SIZE = "total_size"
    LOCALE_INVALID = "locale_invalid"  # a language tag is not one
    TRANSLATION_DUPLICATE = "translation_duplicate"  # two translations have one language
    # A language lacks a text that another one has.
    TRANSLATION_INCOMPLETE = "translation_incomplete"
    TRANSLATION_UNUSED = "translation_unused"  # a translated text does not occur in the template
    # A translated text holds a placeholder, which no translation can match.
    TRANSLATION_PLACEHOLDER = "translation_placeholder"
    BARCODE_MISSING = "barcode_missing"  # a pass has neither a barcode nor a contactless message
    BARCODE_MESSAGE = "barcode_message"  # a message does not fit its barcode format
    # A new barcode format is not followed by one that older devices draw.
    BARCODE_FALLBACK = "barcode_fallback"
    NFC_NOT_ALLOWED = "nfc_not_allowed"  # the certificate has no right to contactless passes
    NFC_INVALID = "nfc_invalid"  # a contactless message or key is not right
    NFC_SHARING = "nfc_sharing"  # a contactless pass that asks for authentication can be shared
    LOCATION_COUNT = "location_count"  # more locations than wallets take
    LOCATION_INVALID = "location_invalid"  # a location's numbers are out of range
    BEACON_COUNT = "beacon_count"  # more beacons than wallets take
    BEACON_INVALID = "beacon_invalid"  # a beacon's numbers are out of range
    LINK_DUPLICATE = "link_duplicate"  # two links have one kind
    LINK_UNUSED = "link_unused"  # a link is not shown by this style
    STORE_IDENTIFIERS = "store_identifiers"  # an app launch link has no app to open it
    SEMANTICS_UNKNOWN = "semantics_unknown"  # a semantic tag is not known; wallets ignore it
    SEMANTICS_INVALID = "semantics_invalid"  # a semantic tag has a value of the wrong kind
    STYLE_SCHEME = "style_scheme"  # a style scheme does not belong to the style
    # The style scheme lacks something, so the wallet would fall back to the plain style.
    SCHEME_INCOMPLETE = "scheme_incomplete"
    # The plain look, for devices that cannot show the scheme, lacks something.
    FALLBACK_INCOMPLETE = "fallback_incomplete"
    HINT_UNUSED = "hint_unused"  # a hint has no effect for this style
    FEATURED_ACTION = "featured_action"  # a featured action is not right
    # An entry of upcoming pass information is not right.
    UPCOMING_PASS = "upcoming_pass"  # noqa: S105 - a finding, not a password
    FILE_COUNT = "file_count"  # more images and languages than a pass may have files
    STRINGS_SIZE = "strings_size"  # the translated texts of a language are over 4 MiB as a file
    # What all passes of the template say alike is more than a pass may hold.
    PASS_SIZE = "pass_size"  # noqa: S105 - a finding, not a password
    # A reward sign-up is not right: where there can be none, or without what it needs.
    PERSONALIZATION = "personalization"
    BARCODE_KIND = "barcode_kind"  # a kind of barcode is chosen, and no text holds {pass.barcode}
    SHARING = "sharing"  # a sharing policy would lock honest holders out, or has no effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`path` is a field path, as in `fields[2].value`; `message` says what to do."""

    severity: Severity
    code: FindingCode
    path: str
    message: str
