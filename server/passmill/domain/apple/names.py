"""What Apple calls the things of a template.

Source: https://developer.apple.com/documentation/walletpasses/pass and the pages below it.
"""

from __future__ import annotations

from passmill.domain.templates.content import (
    AppleActionType,
    AppleStyleScheme,
    BarcodeFormat,
    DataDetector,
    DateStyle,
    FieldPosition,
    ImageRole,
    LinkKind,
    NumberStyle,
    PassStyle,
    PersonalizationField,
    TextAlignment,
    TransitType,
)

STYLE_KEYS = {
    PassStyle.BOARDING_PASS: "boardingPass",
    PassStyle.COUPON: "coupon",
    PassStyle.EVENT_TICKET: "eventTicket",
    PassStyle.GENERIC: "generic",
    PassStyle.STORE_CARD: "storeCard",
}
STYLE_SCHEMES = {
    AppleStyleScheme.POSTER_EVENT_TICKET: "posterEventTicket",
    AppleStyleScheme.SEMANTIC_BOARDING_PASS: "semanticBoardingPass",
}
TRANSIT_TYPES = {
    TransitType.AIR: "PKTransitTypeAir",
    TransitType.BOAT: "PKTransitTypeBoat",
    TransitType.BUS: "PKTransitTypeBus",
    TransitType.TRAIN: "PKTransitTypeTrain",
    TransitType.GENERIC: "PKTransitTypeGeneric",
}
POSITION_KEYS = {
    FieldPosition.HEADER: "headerFields",
    FieldPosition.PRIMARY: "primaryFields",
    FieldPosition.SECONDARY: "secondaryFields",
    FieldPosition.AUXILIARY: "auxiliaryFields",
    FieldPosition.BACK: "backFields",
    FieldPosition.ADDITIONAL_INFO: "additionalInfoFields",
}
ALIGNMENTS = {
    TextAlignment.LEFT: "PKTextAlignmentLeft",
    TextAlignment.CENTER: "PKTextAlignmentCenter",
    TextAlignment.RIGHT: "PKTextAlignmentRight",
    TextAlignment.NATURAL: "PKTextAlignmentNatural",
}
DATE_STYLES = {
    DateStyle.NONE: "PKDateStyleNone",
    DateStyle.SHORT: "PKDateStyleShort",
    DateStyle.MEDIUM: "PKDateStyleMedium",
    DateStyle.LONG: "PKDateStyleLong",
    DateStyle.FULL: "PKDateStyleFull",
}
NUMBER_STYLES = {
    NumberStyle.DECIMAL: "PKNumberStyleDecimal",
    NumberStyle.PERCENT: "PKNumberStylePercent",
    NumberStyle.SCIENTIFIC: "PKNumberStyleScientific",
    NumberStyle.SPELL_OUT: "PKNumberStyleSpellOut",
}
DATA_DETECTORS = {
    DataDetector.PHONE_NUMBER: "PKDataDetectorTypePhoneNumber",
    DataDetector.LINK: "PKDataDetectorTypeLink",
    DataDetector.ADDRESS: "PKDataDetectorTypeAddress",
    DataDetector.CALENDAR_EVENT: "PKDataDetectorTypeCalendarEvent",
}
BARCODE_FORMATS = {
    BarcodeFormat.QR: "PKBarcodeFormatQR",
    BarcodeFormat.PDF417: "PKBarcodeFormatPDF417",
    BarcodeFormat.AZTEC: "PKBarcodeFormatAztec",
    BarcodeFormat.CODE128: "PKBarcodeFormatCode128",
    BarcodeFormat.CODE39: "PKBarcodeFormatCode39",
    BarcodeFormat.CODABAR: "PKBarcodeFormatCodabar",
    BarcodeFormat.EAN13: "PKBarcodeFormatEAN13",
    BarcodeFormat.I2OF5: "PKBarcodeFormatI2of5",
}
IMAGE_NAMES = {
    ImageRole.ICON: "icon",
    ImageRole.LOGO: "logo",
    ImageRole.STRIP: "strip",
    ImageRole.THUMBNAIL: "thumbnail",
    ImageRole.BACKGROUND: "background",
    ImageRole.FOOTER: "footer",
    ImageRole.ARTWORK: "artwork",
    ImageRole.PRIMARY_LOGO: "primaryLogo",
    ImageRole.SECONDARY_LOGO: "secondaryLogo",
    ImageRole.VENUE_MAP: "venueMap",
    ImageRole.PERSONALIZATION_LOGO: "personalizationLogo",
}
PERSONALIZATION_FIELDS = {
    PersonalizationField.NAME: "PKPassPersonalizationFieldName",
    PersonalizationField.POSTAL_CODE: "PKPassPersonalizationFieldPostalCode",
    PersonalizationField.EMAIL_ADDRESS: "PKPassPersonalizationFieldEmailAddress",
    PersonalizationField.PHONE_NUMBER: "PKPassPersonalizationFieldPhoneNumber",
}
ACTION_TYPES = {
    AppleActionType.VIEW_SCHEDULE: "viewSchedule",
    AppleActionType.WATCH_TRAILER: "watchTrailer",
    AppleActionType.LISTEN_TO_MUSIC: "listenToMusic",
    AppleActionType.CALL: "call",
    AppleActionType.PLACE: "place",
    AppleActionType.ADD_TO_BALANCE: "addToBalance",
    AppleActionType.ORDER: "order",
    AppleActionType.SHOP: "shop",
    AppleActionType.MEMBERSHIP_BENEFITS: "membershipBenefits",
    AppleActionType.BOOK_APPOINTMENT: "bookAppointment",
    AppleActionType.BOOK_CAR: "bookCar",
    AppleActionType.BOOK_FLIGHT: "bookFlight",
    AppleActionType.BOOK_STAY: "bookStay",
    AppleActionType.VIEW_OFFERS_REWARDS: "viewOffersRewards",
}
# In the order of pass.json; the first group belongs to poster event tickets, the second to semantic
# boarding passes.
LINK_KEYS = {
    LinkKind.APP_LAUNCH: "appLaunchURL",
    LinkKind.ACCESSIBILITY: "accessibilityURL",
    LinkKind.ADD_ON: "addOnURL",
    LinkKind.BAG_POLICY: "bagPolicyURL",
    LinkKind.CONTACT_VENUE_EMAIL: "contactVenueEmail",
    LinkKind.CONTACT_VENUE_PHONE_NUMBER: "contactVenuePhoneNumber",
    LinkKind.CONTACT_VENUE_WEBSITE: "contactVenueWebsite",
    LinkKind.DIRECTIONS_INFORMATION: "directionsInformationURL",
    LinkKind.MERCHANDISE: "merchandiseURL",
    LinkKind.ORDER_FOOD: "orderFoodURL",
    LinkKind.PARKING_INFORMATION: "parkingInformationURL",
    LinkKind.PURCHASE_PARKING: "purchaseParkingURL",
    LinkKind.SELL: "sellURL",
    LinkKind.TRANSFER: "transferURL",
    LinkKind.TRANSIT_INFORMATION: "transitInformationURL",
    LinkKind.CHANGE_SEAT: "changeSeatURL",
    LinkKind.ENTERTAINMENT: "entertainmentURL",
    LinkKind.MANAGEMENT: "managementURL",
    LinkKind.PURCHASE_ADDITIONAL_BAGGAGE: "purchaseAdditionalBaggageURL",
    LinkKind.PURCHASE_LOUNGE_ACCESS: "purchaseLoungeAccessURL",
    LinkKind.PURCHASE_WIFI: "purchaseWifiURL",
    LinkKind.REGISTER_SERVICE_ANIMAL: "registerServiceAnimalURL",
    LinkKind.REPORT_LOST_BAG: "reportLostBagURL",
    LinkKind.REQUEST_WHEELCHAIR: "requestWheelchairURL",
    LinkKind.TRACK_BAGS: "trackBagsURL",
    LinkKind.UPGRADE: "upgradeURL",
    LinkKind.TRANSIT_PROVIDER_EMAIL: "transitProviderEmail",
    LinkKind.TRANSIT_PROVIDER_PHONE_NUMBER: "transitProviderPhoneNumber",
    LinkKind.TRANSIT_PROVIDER_WEBSITE: "transitProviderWebsiteURL",
}
EMAIL_LINKS = frozenset({LinkKind.CONTACT_VENUE_EMAIL, LinkKind.TRANSIT_PROVIDER_EMAIL})
PHONE_LINKS = frozenset(
    {LinkKind.CONTACT_VENUE_PHONE_NUMBER, LinkKind.TRANSIT_PROVIDER_PHONE_NUMBER}
)
