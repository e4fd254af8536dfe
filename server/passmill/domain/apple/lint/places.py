"""Rules for what surrounds a pass: barcodes, contactless messages, places, dates, links."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from datetime import timedelta
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from passmill.domain.apple import names
from passmill.domain.apple.lint.report import Report
from passmill.domain.apple.text_nodes import BadDate, UnknownSlot, parse_date
from passmill.domain.templates.barcodes import (
    ADVISED_LINEAR_LENGTH,
    CLASSIC_FORMATS,
    LINEAR_FORMATS,
    MAX_NFC_BYTES,
    InvalidMessage,
    check_characters,
    check_message,
)
from passmill.domain.templates.content import (
    AppleStyleScheme,
    Link,
    LinkKind,
    Nfc,
    PassStyle,
    RelevantDate,
)
from passmill.domain.templates.findings import FindingCode
from passmill.domain.templates.placeholders import BadTemplateText, Placeholder
from passmill.domain.templates.text_uses import used_barcode_kind
from passmill.domain.values import InvalidValue, SlotType, normalise_url

MAX_LOCATIONS: Final = 10
MAX_BEACONS: Final = 10

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>.]+")
_PHONE: Final = re.compile(r"\+?[0-9][0-9 ()./-]{2,30}", re.ASCII)
_LONG_SPAN: Final = timedelta(hours=24)
_MAX_URL: Final = 2048


def check_barcodes(report: Report) -> None:
    """Messages, and that every device finds one that it can draw."""
    content = report.content
    formats = [barcode.format for barcode in content.barcodes]
    for index, barcode in enumerate(content.barcodes):
        _check_message(report, index)
        path = f"barcodes[{index}].format"
        if barcode.format in CLASSIC_FORMATS:
            continue
        if not CLASSIC_FORMATS.intersection(formats[index + 1 :]):
            message = "systems before iOS 27 cannot draw it; add a QR code or another one after it"
            report.warn(FindingCode.BARCODE_FALLBACK, path, message)
        if CLASSIC_FORMATS.intersection(formats[:index]):
            message = "stands after one that every system draws, so is never shown; put it first"
            report.warn(FindingCode.BARCODE_FALLBACK, path, message)
    if content.barcode_kind is not None and used_barcode_kind(content) is None:
        message = "has no effect: no text holds {pass.barcode}; put it into a barcode's message"
        report.warn(FindingCode.BARCODE_KIND, "barcode_kind", message)
    if not content.barcodes and content.nfc is None and content.style is not PassStyle.GENERIC:
        message = "has nothing that a scanner can read; add a barcode"
        report.warn(FindingCode.BARCODE_MISSING, "barcodes", message)


def _check_message(report: Report, index: int) -> None:
    barcode = report.content.barcodes[index]
    path = f"barcodes[{index}].message"
    fixed = report.fixed_text(barcode.message)
    try:
        if fixed is not None:
            check_message(barcode.format, fixed)
        else:
            parts = report.nodes.parse(barcode.message)
            check_characters(barcode.format, "".join(p for p in parts if isinstance(p, str)))
    except InvalidMessage as error:
        report.error(FindingCode.BARCODE_MESSAGE, path, str(error))
    except (BadTemplateText, UnknownSlot):
        return  # reported with all texts
    is_long = fixed is not None and len(fixed) > ADVISED_LINEAR_LENGTH
    if is_long and barcode.format in LINEAR_FORMATS:
        message = f"above {ADVISED_LINEAR_LENGTH} characters the bars become too thin to scan"
        report.warn(FindingCode.BARCODE_MESSAGE, path, message)


def check_nfc(report: Report, *, nfc_capable: bool) -> None:
    """The contactless message, its key, and whether the certificate allows one."""
    nfc = report.content.nfc
    if nfc is None:
        return
    if not nfc_capable:
        message = (
            "the signing certificate has no right to contactless passes, and such a pass does not "
            "open; leave it out, or ask Apple for the right"
        )
        report.error(FindingCode.NFC_NOT_ALLOWED, "nfc", message)
    fixed = report.fixed_text(nfc.message)
    if not nfc.message or (
        fixed is not None and len(fixed.encode(errors="surrogatepass")) > MAX_NFC_BYTES
    ):
        message = f"must be 1 to {MAX_NFC_BYTES} bytes in UTF-8"
        report.error(FindingCode.NFC_INVALID, "nfc.message", message)
    if not _is_p256_key(nfc):
        message = "must be the base64 of a P-256 public key (SubjectPublicKeyInfo, DER)"
        report.error(FindingCode.NFC_INVALID, "nfc.encryption_public_key", message)
    if nfc.requires_authentication and not report.content.sharing_prohibited:
        message = "asks for authentication, but the pass can be shared; set sharing_prohibited"
        report.warn(FindingCode.NFC_SHARING, "sharing_prohibited", message)


def _is_p256_key(nfc: Nfc) -> bool:
    try:
        key = load_der_public_key(base64.b64decode(nfc.encryption_public_key, validate=True))
    except (binascii.Error, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)


def check_relevance(report: Report) -> None:
    """Locations, beacons and dates."""
    content = report.content
    if len(content.locations) > MAX_LOCATIONS:
        message = f"has {len(content.locations)}; wallets take {MAX_LOCATIONS}"
        report.error(FindingCode.LOCATION_COUNT, "locations", message)
    for index, location in enumerate(content.locations):
        numbers = (location.latitude, location.longitude, location.altitude_meters or 0)
        in_range = abs(location.latitude) <= 90 and abs(location.longitude) <= 180
        if not in_range or not all(map(math.isfinite, numbers)):
            message = "must be degrees: latitude -90 to 90, longitude -180 to 180"
            report.error(FindingCode.LOCATION_INVALID, f"locations[{index}]", message)
    distance = content.max_distance_meters
    if distance is not None and not (math.isfinite(distance) and distance > 0):
        message = "must be a number of metres above 0"
        report.error(FindingCode.LOCATION_INVALID, "max_distance_meters", message)
    if len(content.beacons) > MAX_BEACONS:
        message = f"has {len(content.beacons)}; wallets take {MAX_BEACONS}"
        report.error(FindingCode.BEACON_COUNT, "beacons", message)
    for index, beacon in enumerate(content.beacons):
        numbers_fit = all(0 <= (n or 0) <= 65535 for n in (beacon.major, beacon.minor))
        if not numbers_fit or not _UUID.fullmatch(beacon.proximity_uuid):
            message = "must have a UUID, and major and minor numbers from 0 to 65535"
            report.error(FindingCode.BEACON_INVALID, f"beacons[{index}]", message)
    for index, date in enumerate(content.relevant_dates):
        _check_relevant_date(report, f"relevant_dates[{index}]", date)
    if content.expires:
        with report.rendering("expires"):
            report.nodes.date(content.expires)


def _check_relevant_date(report: Report, path: str, date: RelevantDate) -> None:
    with report.rendering(f"{path}.start"):
        report.nodes.date(date.start)
    if not date.end:
        return
    with report.rendering(f"{path}.end"):
        report.nodes.date(date.end)
    try:
        length = parse_date(date.end) - parse_date(date.start)
    except BadDate:
        return  # reported above, or not fixed
    if length <= timedelta():
        report.error(FindingCode.DATE_ORDER, path, "ends before it starts; correct one of them")
    elif length > _LONG_SPAN:
        message = "lasts more than 24 hours; wallets may ignore it: use several dates"
        report.warn(FindingCode.DATE_ORDER, path, message)


_SCHEME_OF_LINK: Final = dict.fromkeys(
    list(names.LINK_KEYS)[1 : list(names.LINK_KEYS).index(LinkKind.CHANGE_SEAT)],
    AppleStyleScheme.POSTER_EVENT_TICKET,
) | dict.fromkeys(
    list(names.LINK_KEYS)[list(names.LINK_KEYS).index(LinkKind.CHANGE_SEAT) :],
    AppleStyleScheme.SEMANTIC_BOARDING_PASS,
)


def check_links(report: Report) -> None:
    """Addresses, and whether anything shows the link."""
    content = report.content
    counts = Counter(link.kind for link in content.links)
    for index, link in enumerate(content.links):
        path = f"links[{index}]"
        if counts[link.kind] > 1:
            message = f"{counts[link.kind]} links have this kind; keep one"
            report.error(FindingCode.LINK_DUPLICATE, f"{path}.kind", message)
        scheme = _SCHEME_OF_LINK.get(link.kind)
        if scheme is not None and content.apple.style_scheme is not scheme:
            message = f"only a {scheme.value.replace('_', ' ')} shows it; leave it out"
            report.warn(FindingCode.LINK_UNUSED, f"{path}.kind", message)
        _check_target(report, f"{path}.target", link)
        if link.kind is LinkKind.APP_LAUNCH and not content.apple.associated_store_identifiers:
            message = "needs the app's id in apple.associated_store_identifiers; add it"
            report.error(FindingCode.STORE_IDENTIFIERS, path, message)


def _check_target(report: Report, path: str, link: Link) -> None:
    if link.kind in names.EMAIL_LINKS:
        _check_fixed(report, path, link.target, _EMAIL, "a mail address")
    elif link.kind in names.PHONE_LINKS:
        _check_fixed(
            report, path, link.target, _PHONE, "a telephone number such as +44 20 7946 0018"
        )
    else:
        check_url(report, path, link.target, any_scheme=link.kind is LinkKind.APP_LAUNCH)


def _check_fixed(
    report: Report, path: str, text: str, pattern: re.Pattern[str], wanted: str
) -> None:
    fixed = report.fixed_text(text)
    if fixed is not None and not pattern.fullmatch(fixed):
        report.error(FindingCode.ADDRESS_INVALID, path, f"must be {wanted}")


def check_url(report: Report, path: str, text: str, *, any_scheme: bool = False) -> None:
    """Reports a text that does not come out as an address, whatever the values are."""
    with report.rendering(path):
        report.nodes.url(text)
    try:
        parts = report.nodes.parse(text)
    except (BadTemplateText, UnknownSlot):
        return  # reported with all texts
    head = parts[0] if parts else ""
    if isinstance(head, Placeholder) and report.nodes.type_of(head.name) is not SlotType.URL:
        return  # reported above
    first = "https://x.example" if isinstance(head, Placeholder) else head
    rest = "".join(part if isinstance(part, str) else "x" for part in parts[1:])
    if any_scheme and not _SCHEME.fullmatch(first + rest):
        report.error(FindingCode.ADDRESS_INVALID, path, "must be an address with a scheme")
    if not any_scheme:
        try:
            normalise_url(first + rest, max_length=_MAX_URL)
        except InvalidValue as error:
            report.error(FindingCode.ADDRESS_INVALID, path, str(error))
