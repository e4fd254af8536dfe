"""Apple's semantic tags: which there are and what kind of value each takes.

Source: https://developer.apple.com/documentation/walletpasses/semantictags and its neighbours.
A tag that is not listed is passed on as it is: Apple adds some every year.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


class Scalar(StrEnum):
    """A single value."""

    TEXT = "text"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    DATE = "a date in RFC 3339 with zone"
    MONEY = "money: a money slot, or an object with amount (text) and currencyCode"
    EVENT_TYPE = "one of Apple's event types, such as PKEventTypeLivePerformance"
    CAPABILITY = "one of Apple's passenger capabilities, such as PKPassengerCapabilityCarryon"


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of values of one kind."""

    item: Kind


@dataclass(frozen=True, slots=True)
class Structure:
    """An object of known members."""

    members: Mapping[str, Kind]
    required: frozenset[str] = field(default=frozenset())


Kind: TypeAlias = Scalar | Listed | Structure

EVENT_TYPES = frozenset(
    f"PKEventType{name}"
    for name in [
        "Generic",
        "LivePerformance",
        "Movie",
        "Sports",
        "Conference",
        "Convention",
        "Workshop",
        "SocialGathering",
    ]
)
CAPABILITIES = frozenset(
    f"PKPassengerCapability{name}"
    for name in ["Preboarding", "PriorityBoarding", "Carryon", "PersonalItem", "LapInfant"]
)


def _all(kind: Kind, names: str) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), kind)


MONEY = Structure(
    {"amount": Scalar.TEXT, "currencyCode": Scalar.TEXT}, frozenset({"amount", "currencyCode"})
)
_LOCATION = Structure(
    {"latitude": Scalar.NUMBER, "longitude": Scalar.NUMBER}, frozenset({"latitude", "longitude"})
)
_PERSON = Structure(
    {
        **_all(
            Scalar.TEXT,
            "givenName familyName middleName namePrefix nameSuffix nickname phoneticRepresentation",
        )
    }
)
_SEAT = Structure(
    _all(
        Scalar.TEXT,
        "seatSection seatRow seatNumber seatIdentifier seatType seatDescription seatAisle "
        "seatLevel seatSectionColor",
    )
)
_WIFI = Structure(_all(Scalar.TEXT, "ssid password"), frozenset({"ssid", "password"}))
_DATE_INFO = Structure(
    {
        "date": Scalar.DATE,
        "timeZone": Scalar.TEXT,
        **_all(Scalar.BOOLEAN, "ignoreTimeComponents isAllDay unannounced undetermined"),
    }
)

SEMANTIC_TAGS: Mapping[str, Kind] = {
    # Events
    "eventType": Scalar.EVENT_TYPE,
    "eventStartDateInfo": _DATE_INFO,
    "venueLocation": _LOCATION,
    "seats": Listed(_SEAT),
    "wifiAccess": Listed(_WIFI),
    **_all(
        Scalar.TEXT,
        "eventName eventLiveMessage venueName venueRoom venueRegionName venuePhoneNumber "
        "venueEntrance venueEntranceDoor venueEntranceGate venueEntrancePortal venuePlaceID "
        "admissionLevel admissionLevelAbbreviation attendeeName additionalTicketAttributes "
        "entranceDescription genre leagueName leagueAbbreviation sportName "
        "homeTeamName homeTeamLocation homeTeamAbbreviation "
        "awayTeamName awayTeamLocation awayTeamAbbreviation",
    ),
    **_all(
        Scalar.DATE,
        "eventStartDate eventEndDate venueOpenDate venueCloseDate venueDoorsOpenDate "
        "venueGatesOpenDate venueBoxOfficeOpenDate venueFanZoneOpenDate venueParkingLotsOpenDate",
    ),
    **_all(Scalar.BOOLEAN, "tailgatingAllowed silenceRequested"),
    **_all(Listed(Scalar.TEXT), "performerNames artistIDs albumIDs playlistIDs airplay"),
    "duration": Scalar.NUMBER,
    # Money
    "balance": Scalar.MONEY,
    "totalPrice": Scalar.MONEY,
    # Journeys
    "passengerName": _PERSON,
    "flightNumber": Scalar.NUMBER,
    "departureLocation": _LOCATION,
    "destinationLocation": _LOCATION,
    "passengerCapabilities": Listed(Scalar.CAPABILITY),
    **_all(
        Scalar.DATE,
        "originalBoardingDate originalDepartureDate originalArrivalDate "
        "currentBoardingDate currentDepartureDate currentArrivalDate",
    ),
    **_all(
        Scalar.TEXT,
        "transitProvider vehicleName vehicleNumber vehicleType carNumber confirmationNumber "
        "airlineCode flightCode boardingGroup boardingZone boardingSequenceNumber "
        "membershipProgramName membershipProgramNumber membershipProgramStatus priorityStatus "
        "securityScreening ticketFareClass transitStatus transitStatusReason "
        "internationalDocumentsVerifiedDeclarationName airlineLoungePlaceID "
        "departureAirportCode departureAirportName departureCityName departureGate "
        "departureTerminal departurePlatform departureStationName departureLocationDescription "
        "departureLocationTimeZone departureAirportTimeZone "
        "destinationAirportCode destinationAirportName destinationCityName destinationGate "
        "destinationTerminal destinationPlatform destinationStationName "
        "destinationLocationDescription destinationLocationTimeZone destinationAirportTimeZone",
    ),
    "internationalDocumentsAreVerified": Scalar.BOOLEAN,
    **_all(
        Listed(Scalar.TEXT),
        "departureLocationSecurityPrograms departureAirportSecurityPrograms "
        "destinationLocationSecurityPrograms destinationAirportSecurityPrograms "
        "passengerEligibleSecurityPrograms passengerAirlineSSRs passengerInformationSSRs "
        "passengerServiceSSRs loungePlaceIDs",
    ),
}

# Apple's documentation and Apple's own pass-builder spell these differently; a pass carries both.
TWO_SPELLINGS: tuple[tuple[str, str], ...] = (
    ("departureLocationTimeZone", "departureAirportTimeZone"),
    ("destinationLocationTimeZone", "destinationAirportTimeZone"),
    ("departureLocationSecurityPrograms", "departureAirportSecurityPrograms"),
    ("destinationLocationSecurityPrograms", "destinationAirportSecurityPrograms"),
)
# The same, but a list in one and a single text in the other.
LOUNGES, LOUNGE = "loungePlaceIDs", "airlineLoungePlaceID"
