"""Valid templates of every style, their images, and values for them."""

import base64
import functools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from passmill.domain.apple import ImageInfo, PassData, RevisionPins
from passmill.domain.barcodes import SAMPLE_HANDLE
from passmill.domain.money import Money
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
    Link,
    LinkKind,
    Location,
    Nfc,
    NumberStyle,
    PassStyle,
    RelevantDate,
    Slot,
    SlotType,
    TemplateContent,
    TextAlignment,
    TransitType,
    Translation,
)
from passmill.domain.values import Value
from tests.support.png import draw_png, read_png_size

PINS: Final = RevisionPins(
    pass_type_identifier="pass.com.example.club",
    team_identifier="A1B2C3D4E5",
    web_service_url="https://wallet.example.com/passes",
)
BERLIN: Final = timezone(timedelta(hours=1))

_POINTS: Final = {
    ImageRole.ICON: (38, 38),
    ImageRole.LOGO: (120, 40),
    ImageRole.THUMBNAIL: (90, 90),
    ImageRole.BACKGROUND: (345, 505),
    ImageRole.FOOTER: (286, 15),
    ImageRole.ARTWORK: (358, 448),
    ImageRole.PRIMARY_LOGO: (126, 30),
    ImageRole.SECONDARY_LOGO: (135, 12),
    ImageRole.VENUE_MAP: (300, 300),
    ImageRole.PERSONALIZATION_LOGO: (150, 40),
}
_STRIP_HEIGHT: Final = {PassStyle.EVENT_TICKET: 98}
_TEAL: Final = Colors(background="#0b3d3a", foreground="#ffffff", label="#c8f0e0")
_P = FieldPosition


def images(*roles: ImageRole, locale: str = "") -> tuple[ImageRef, ...]:
    """Each role at every scale, with an asset of its own."""
    suffix = f"-{locale}" if locale else ""
    return tuple(
        ImageRef(role=role, scale=scale, locale=locale, asset_id=f"{role}-{scale}{suffix}")
        for role in roles
        for scale in (1, 2, 3)
    )


@functools.cache
def _image(width: int, height: int, color: str) -> bytes:
    return draw_png(width, height, color)


def assets(content: TemplateContent) -> dict[str, bytes]:
    """Images of the right size for every asset that the content names."""
    drawn = {}
    for index, ref in enumerate(content.images):
        width, height = _POINTS.get(ref.role, (375, _STRIP_HEIGHT.get(content.style, 144)))
        color = f"#{(index * 40 + 60) % 256:02x}8a7c"
        drawn[ref.asset_id] = _image(width * ref.scale, height * ref.scale, color)
    return drawn


def infos(drawn: Mapping[str, bytes]) -> dict[str, ImageInfo]:
    """What the linter wants to know of images."""
    found = {}
    for asset_id, data in drawn.items():
        width, height = read_png_size(data)
        found[asset_id] = ImageInfo(width=width, height=height, size_bytes=len(data))
    return found


def nfc(message: str = "{member_number}") -> Nfc:
    """A contactless message with a public key made from a fixed number."""
    key = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Nfc(
        message=message,
        encryption_public_key=base64.b64encode(der).decode(),
        requires_authentication=True,
    )


def store_card() -> TemplateContent:
    """A loyalty card with points, money, a tier in two languages, and most kinds of slot."""
    return TemplateContent(
        style=PassStyle.STORE_CARD,
        organization_name="Bohne & Blatt",
        description="Coffee club card",
        title="Coffee {{club}}",
        slots=(
            Slot(name="member_number", type=SlotType.TEXT, required=True, max_length=20),
            Slot(name="points", type=SlotType.INTEGER, required=True, description="Coffees drunk"),
            Slot(name="balance", type=SlotType.MONEY, required=True),
            Slot(name="tier", type=SlotType.TEXT, default_value="Silver"),
            Slot(name="member_since", type=SlotType.INSTANT),
            Slot(name="discount", type=SlotType.DECIMAL),
            Slot(name="is_founder", type=SlotType.BOOLEAN, default_value=False),
            Slot(name="offers", type=SlotType.URL),
            Slot(name="valid_until", type=SlotType.INSTANT),
            Slot(name="note", type=SlotType.TEXT, max_length=2000),
        ),
        fields=(
            Field(
                key="points",
                position=_P.HEADER,
                label="Points",
                value="{points}",
                change_message="You now have %@ points",
            ),
            Field(key="balance", position=_P.PRIMARY, label="Balance", value="{balance}"),
            Field(
                key="tier",
                position=_P.SECONDARY,
                label="Tier",
                value="{tier}",
                alignment=TextAlignment.LEFT,
            ),
            Field(
                key="since",
                position=_P.SECONDARY,
                label="Member since",
                value="{member_since}",
                date_style=DateStyle.MEDIUM,
                time_style=DateStyle.NONE,
                ignores_time_zone=True,
            ),
            Field(
                key="discount",
                position=_P.AUXILIARY,
                label="Discount",
                value="{discount}",
                number_style=NumberStyle.PERCENT,
            ),
            Field(
                key="fee",
                position=_P.BACK,
                label="Yearly fee",
                value="12.50",
                currency_code="EUR",
            ),
            Field(
                key="offers",
                position=_P.BACK,
                label="Offers for {holder.name}",
                value="{offers}",
                attributed_value=(
                    "<a href='{offers}'>Offers</a>, "
                    "<a href='https://bohne.example/c/{member_number}'>yours, {holder.name}</a>"
                ),
                data_detectors=(DataDetector.LINK,),
            ),
            Field(key="note", position=_P.BACK, label="Note", value="{note}"),
        ),
        colors=_TEAL,
        images=images(ImageRole.ICON, ImageRole.LOGO)
        + images(ImageRole.STRIP, locale="en")
        + images(ImageRole.STRIP, locale="de"),
        barcodes=(
            Barcode(
                format=BarcodeFormat.QR,
                message="{member_number}",
                alt_text="{pass.reference_id}",
            ),
        ),
        locations=(
            Location(latitude=52.52, longitude=13.405, relevant_text="A coffee, {holder.name}?"),
            Location(latitude=48.0, longitude=11.5, altitude_meters=520.5),
        ),
        max_distance_meters=100,
        expires="{valid_until}",
        links=(Link(kind=LinkKind.APP_LAUNCH, target="bohne://card/{member_number}?tier={tier}"),),
        translations=(
            Translation(
                locale="de",
                strings={"Points": "Punkte", "Balance": "Guthaben", "Gold": 'Gold "Plus"'},
            ),
            Translation(
                locale="en",
                strings={"Points": "Points", "Balance": "Balance", "Gold": "Gold\\Plus\nnew"},
            ),
        ),
        nfc=nfc(),
        sharing_prohibited=True,
        semantics={"balance": "{balance}", "membershipProgramName": "Coffee club"},
        apple=AppleHints(
            suppress_strip_shine=False,
            associated_store_identifiers=(1234567890,),
            user_info={
                "founder": "{is_founder}",
                "points": "{points}",
                "since": "{member_since}",
                "levels": [1, 2.5, "{tier}", None, {"note": "{note}"}],
            },
            featured_actions=(
                AppleFeaturedAction(
                    identifier="shop", type=AppleActionType.SHOP, url="https://bohne.example/shop"
                ),
                AppleFeaturedAction(
                    identifier="map", type=AppleActionType.PLACE, place_identifier="I3AF2C9"
                ),
            ),
        ),
        google=GoogleHints(
            kind=GoogleKind.LOYALTY,
            account_id="{member_number}",
            account_name="{holder.name}",
            points_field_key="points",
        ),
    )


def coupon() -> TemplateContent:
    """A coupon with a new barcode and a classic one after it."""
    return TemplateContent(
        style=PassStyle.COUPON,
        organization_name="Bohne & Blatt",
        description="A free coffee",
        title="Bohne & Blatt",
        slots=(Slot(name="code", type=SlotType.TEXT, required=True, max_length=12),),
        fields=(
            Field(key="offer", position=_P.PRIMARY, label="With any cake", value="Free coffee"),
            Field(
                key="until",
                position=_P.AUXILIARY,
                label="Until",
                value="2027-06-30T23:59+02:00",
                date_style=DateStyle.SHORT,
                is_relative=True,
            ),
            Field(key="terms", position=_P.BACK, label="Terms", value="One per person.\nNo cash."),
        ),
        colors=_TEAL,
        images=images(ImageRole.ICON, ImageRole.LOGO, ImageRole.STRIP),
        barcodes=(
            Barcode(format=BarcodeFormat.CODE39, message="{code}"),
            Barcode(format=BarcodeFormat.CODE128, message="{code}", alt_text="{code}"),
        ),
        beacons=(
            Beacon(proximity_uuid="2f234454-cf6d-4a0f-adf2-f4911ba9ffa6", major=1, minor=65535),
        ),
        expires="2027-06-30T23:59:59+02:00",
    )


def event_ticket() -> TemplateContent:
    """A concert ticket with two rows, seats and a span of time."""
    return TemplateContent(
        style=PassStyle.EVENT_TICKET,
        organization_name="Halle am Fluss",
        description="Concert ticket",
        title="Halle am Fluss",
        slots=(
            Slot(name="seat_row", type=SlotType.TEXT, max_length=8),
            Slot(name="seat_number", type=SlotType.INTEGER),
            Slot(name="starts", type=SlotType.INSTANT, required=True),
        ),
        fields=(
            Field(key="event", position=_P.PRIMARY, label="Event", value="Night of Strings"),
            Field(
                key="starts",
                position=_P.SECONDARY,
                label="Begins",
                value="{starts}",
                date_style=DateStyle.FULL,
                time_style=DateStyle.SHORT,
                change_message="Begins now at %@",
            ),
            Field(key="row", position=_P.AUXILIARY, label="Row", value="{seat_row}", row=0),
            Field(key="seat", position=_P.AUXILIARY, label="Seat", value="{seat_number}", row=1),
            Field(
                key="holder",
                position=_P.BACK,
                label="Holder",
                value="{holder.name} {holder.phone}",
                data_detectors=(DataDetector.NONE,),
            ),
        ),
        colors=_TEAL,
        images=images(ImageRole.ICON, ImageRole.LOGO, ImageRole.BACKGROUND, ImageRole.THUMBNAIL),
        barcodes=(Barcode(format=BarcodeFormat.AZTEC, message="Tïcket {pass.serial_number}"),),
        relevant_dates=(
            RelevantDate(start="{starts}"),
            RelevantDate(start="2027-05-01T18:00:00+02:00", end="2027-05-01T23:00:00+02:00"),
        ),
        semantics={
            "eventType": "PKEventTypeLivePerformance",
            "eventName": "Night of Strings",
            "eventStartDate": "{starts}",
            "seats": [{"seatRow": "{seat_row}", "seatNumber": "{seat_number}"}],
            "venueLocation": {"latitude": 52.5, "longitude": 13.0},
            "performerNames": ["Quartett Nord", "Trio Süd"],
        },
        apple=AppleHints(grouping_identifier="night-{seat_row}"),
    )


def generic() -> TemplateContent:
    """A membership card that needs nothing but a number."""
    return TemplateContent(
        style=PassStyle.GENERIC,
        organization_name="Ruderverein",
        description="Membership of the rowing club",
        title="Ruderverein",
        fields=(
            Field(
                key="id",
                position=_P.PRIMARY,
                label="Member",
                value="{pass.reference_id}",
            ),
            Field(key="name", position=_P.SECONDARY, label="Name", value="{holder.name}"),
        ),
        images=images(ImageRole.ICON, ImageRole.THUMBNAIL),
    )


def boarding_pass() -> TemplateContent:
    """A train ticket."""
    return TemplateContent(
        style=PassStyle.BOARDING_PASS,
        transit_type=TransitType.TRAIN,
        organization_name="Nordbahn",
        description="Train ticket",
        title="Nordbahn",
        slots=(
            Slot(name="origin", type=SlotType.TEXT, required=True),
            Slot(name="destination", type=SlotType.TEXT, required=True),
            Slot(name="departs", type=SlotType.INSTANT, required=True),
        ),
        fields=(
            Field(key="from", position=_P.PRIMARY, label="From", value="{origin}"),
            Field(key="to", position=_P.PRIMARY, label="To", value="{destination}"),
            Field(
                key="departs",
                position=_P.AUXILIARY,
                label="Departs",
                value="{departs}",
                date_style=DateStyle.NONE,
                time_style=DateStyle.SHORT,
            ),
        ),
        colors=_TEAL,
        images=images(ImageRole.ICON, ImageRole.LOGO, ImageRole.FOOTER),
        barcodes=(
            Barcode(format=BarcodeFormat.PDF417, message="{origin}|{destination}|{departs}"),
        ),
        relevant_dates=(RelevantDate(start="{departs}"),),
        semantics={"originalDepartureDate": "{departs}", "departureStationName": "{origin}"},
    )


def poster_event_ticket() -> TemplateContent:
    """A poster ticket for a football match, complete in the plain look too."""
    return TemplateContent(
        style=PassStyle.EVENT_TICKET,
        organization_name="FC Ufer",
        description="Match ticket",
        title="FC Ufer",
        slots=(
            Slot(name="member_number", type=SlotType.TEXT, required=True, max_length=20),
            Slot(name="section", type=SlotType.TEXT, required=True),
        ),
        fields=(
            Field(key="match", position=_P.PRIMARY, label="Match", value="Ufer : Hafen"),
            Field(key="section", position=_P.SECONDARY, label="Section", value="{section}"),
            Field(
                key="rules", position=_P.ADDITIONAL_INFO, label="Rules", value="No glass bottles."
            ),
        ),
        colors=Colors(background="#10233f", footer_background="#0a1528"),
        images=images(
            ImageRole.ICON, ImageRole.ARTWORK, ImageRole.PRIMARY_LOGO, ImageRole.SECONDARY_LOGO
        ),
        barcodes=(Barcode(format=BarcodeFormat.QR, message="{member_number}"),),
        links=(
            Link(kind=LinkKind.BAG_POLICY, target="https://ufer.example/bags"),
            Link(kind=LinkKind.CONTACT_VENUE_EMAIL, target="halle@ufer.example"),
            Link(kind=LinkKind.CONTACT_VENUE_PHONE_NUMBER, target="+49 30 901820"),
            Link(kind=LinkKind.TRANSFER, target="https://ufer.example/t/{pass.serial_number}"),
        ),
        nfc=nfc(),
        sharing_prohibited=True,
        semantics={
            "eventType": "PKEventTypeSports",
            "eventName": "Ufer : Hafen",
            "eventStartDate": "2027-03-20T15:30:00+01:00",
            "venueName": "Uferstadion",
            "venueRoom": "Arena",
            "venueRegionName": "Berlin",
            "homeTeamAbbreviation": "UFR",
            "awayTeamAbbreviation": "HFN",
            "seats": [{"seatSection": "{section}"}],
        },
        apple=AppleHints(
            style_scheme=AppleStyleScheme.POSTER_EVENT_TICKET,
            suppress_header_darkening=True,
            use_automatic_colors=True,
            event_logo_text="FC Ufer",
            auxiliary_store_identifiers=(987654321,),
            upcoming_pass_information=(
                {
                    "identifier": "next",
                    "name": "Ufer : Berg",
                    "type": "event",
                    "isActive": True,
                    "dateInformation": {"date": "2027-04-03T15:30:00+02:00"},
                },
            ),
        ),
    )


def semantic_boarding_pass() -> TemplateContent:
    """A flight with all that the semantic look needs."""
    return TemplateContent(
        style=PassStyle.BOARDING_PASS,
        transit_type=TransitType.AIR,
        organization_name="Luftlinie",
        description="Boarding pass",
        title="Luftlinie",
        slots=(
            Slot(name="given_name", type=SlotType.TEXT, required=True),
            Slot(name="family_name", type=SlotType.TEXT, required=True),
            Slot(name="flight_number", type=SlotType.INTEGER, required=True),
            Slot(name="departs", type=SlotType.INSTANT, required=True),
            Slot(name="seat", type=SlotType.TEXT),
        ),
        fields=(
            Field(key="from", position=_P.PRIMARY, label="Berlin", value="BER"),
            Field(key="to", position=_P.PRIMARY, label="Lisbon", value="LIS"),
            Field(key="seat", position=_P.AUXILIARY, label="Seat", value="{seat}"),
            Field(
                key="passenger",
                position=_P.SECONDARY,
                label="Passenger",
                value="{given_name} {family_name}",
            ),
        ),
        colors=_TEAL,
        images=images(ImageRole.ICON, ImageRole.LOGO, ImageRole.PRIMARY_LOGO),
        barcodes=(
            Barcode(format=BarcodeFormat.AZTEC, message="M1{family_name}/{given_name} BERLIS"),
        ),
        links=(Link(kind=LinkKind.CHANGE_SEAT, target="https://luft.example/seat"),),
        semantics={
            "airlineCode": "LL",
            "flightNumber": "{flight_number}",
            "originalDepartureDate": "{departs}",
            "originalBoardingDate": "2027-02-01T09:30:00+01:00",
            "originalArrivalDate": "2027-02-01T13:00:00Z",
            "departureLocationTimeZone": "Europe/Berlin",
            "destinationAirportTimeZone": "Europe/Lisbon",
            "departureAirportCode": "BER",
            "destinationAirportCode": "LIS",
            "departureCityName": "Berlin",
            "destinationCityName": "Lisbon",
            "passengerName": {"givenName": "{given_name}", "familyName": "{family_name}"},
            "seats": [{"seatNumber": "{seat}"}],
            "loungePlaceIDs": ["I1B2", "I3C4"],
            "passengerCapabilities": ["PKPassengerCapabilityCarryon"],
            "departureLocationSecurityPrograms": ["PKTransitSecurityProgramCLEAR"],
        },
        apple=AppleHints(style_scheme=AppleStyleScheme.SEMANTIC_BOARDING_PASS),
    )


TEMPLATES: Final = {
    "store_card": store_card,
    "coupon": coupon,
    "event_ticket": event_ticket,
    "generic": generic,
    "boarding_pass": boarding_pass,
    "poster_event_ticket": poster_event_ticket,
    "semantic_boarding_pass": semantic_boarding_pass,
}

_TEXTS: Final = {
    "code": "SUMMER-27",
    "member_number": "BB-004711",
    "tier": "Gold",
    "note": 'Ask for "Łukasz"\nat the bar ☕',
}


def values(content: TemplateContent) -> dict[str, Value]:
    """A value for every slot."""
    by_type: dict[SlotType, Value] = {
        SlotType.TEXT: "Zürich",
        SlotType.INTEGER: 128,
        SlotType.DECIMAL: Decimal("0.150"),
        SlotType.MONEY: Money(minor_units=1250, currency="EUR"),
        SlotType.INSTANT: datetime(2027, 2, 1, 10, 0, tzinfo=BERLIN),
        SlotType.BOOLEAN: True,
        SlotType.URL: "https://bohne.example/offers?for=you",
    }
    return {slot.name: _TEXTS.get(slot.name, by_type[slot.type]) for slot in content.slots}


def pass_data(content: TemplateContent) -> PassData:
    """A pass with everything."""
    return PassData(
        serial_number="0123456789ABCDEFGHJKMNPQRS",
        authentication_token="fixed-token-for-tests-0123456789",
        reference_id="K7M3-Q8TX",
        holder_name="Anaïs O'Neill",
        holder_phone="+493090182000",
        values=values(content),
        barcode=SAMPLE_HANDLE,
    )


def bare_pass_data(content: TemplateContent) -> PassData:
    """A pass with what its template requires and nothing else, voided and expired."""
    required = {slot.name for slot in content.slots if slot.required}
    return PassData(
        serial_number="Z",
        authentication_token="fixed-token-for-tests-0123456789",
        reference_id="K7M3-Q8TX",
        values={name: value for name, value in values(content).items() if name in required},
        voided=True,
        expires_at=datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC),
    )
