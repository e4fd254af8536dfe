"""Rules for Apple's hints: style schemes with what they need, and what only some styles use.

Sources: https://developer.apple.com/documentation/walletpasses (poster event tickets, semantic
boarding passes) and the checks of Apple's pass-builder.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from passmill.domain.apple.lint.places import check_url
from passmill.domain.apple.lint.report import Report
from passmill.domain.templates.content import (
    AppleActionType,
    AppleFeaturedAction,
    AppleStyleScheme,
    FieldPosition,
    ImageRole,
    PassStyle,
)
from passmill.domain.templates.findings import FindingCode

MAX_FEATURED_ACTIONS: Final = 2

_STYLE_OF_SCHEME: Final = {
    AppleStyleScheme.POSTER_EVENT_TICKET: PassStyle.EVENT_TICKET,
    AppleStyleScheme.SEMANTIC_BOARDING_PASS: PassStyle.BOARDING_PASS,
}
# Without the first Apple's tools refuse the look; the second Apple's text asks for.
_POSTER_TAGS: Final = (
    ("eventName", "venueName"),
    ("venueRegionName", "venueRoom", "eventStartDate"),
)
_BOARDING_TAGS: Final = (
    (
        "airlineCode",
        "flightNumber",
        "originalDepartureDate",
        "originalBoardingDate",
        "originalArrivalDate",
        "departureLocationTimeZone",
        "departureAirportCode",
        "destinationAirportCode",
        "passengerName",
    ),
    ("departureCityName", "destinationCityName", "destinationLocationTimeZone", "seats"),
)
_OTHER_SPELLING: Final = {
    "departureLocationTimeZone": "departureAirportTimeZone",
    "destinationLocationTimeZone": "destinationAirportTimeZone",
}


def check_schemes(report: Report) -> None:
    """The style scheme and what it needs."""
    content = report.content
    scheme = content.apple.style_scheme
    if scheme is None:
        return
    style = _STYLE_OF_SCHEME[scheme]
    if content.style is not style:
        name = style.value.replace("_", " ")
        message = f"belongs to the style {name}; choose that style or leave it out"
        report.error(FindingCode.STYLE_SCHEME, "apple.style_scheme", message)
        return
    if scheme is AppleStyleScheme.POSTER_EVENT_TICKET:
        _check_tags(report, *_POSTER_TAGS)
        _check_poster(report)
        needed_primary = 1
    else:
        _check_tags(report, *_BOARDING_TAGS)
        needed_primary = 2
    _check_fallback(report, needed_primary)


def _check_tags(report: Report, required: tuple[str, ...], advised: tuple[str, ...]) -> None:
    tags = report.content.semantics
    for name in (*required, *advised):
        if name in tags or _OTHER_SPELLING.get(name) in tags:
            continue
        path = f"semantics.{name}"
        if name in required:
            message = "the style scheme needs it; without it wallets fall back to the plain style"
            report.error(FindingCode.SCHEME_INCOMPLETE, path, message)
        else:
            report.warn(FindingCode.SCHEME_INCOMPLETE, path, "the style scheme asks for it; add it")


def _check_poster(report: Report) -> None:
    content = report.content
    code = FindingCode.SCHEME_INCOMPLETE
    event_type = content.semantics.get("eventType")
    if event_type == "PKEventTypeSports":
        for name in ("homeTeamAbbreviation", "awayTeamAbbreviation"):
            if name not in content.semantics:
                report.error(code, f"semantics.{name}", "a sports poster needs it; add it")
    if event_type == "PKEventTypeLivePerformance" and "performerNames" not in content.semantics:
        message = "a poster for a live performance needs it; add it"
        report.error(code, "semantics.performerNames", message)
    if content.nfc is None:
        report.error(code, "nfc", "a poster event ticket needs a contactless message; add it")
    if not {ImageRole.ARTWORK, ImageRole.BACKGROUND} & {ref.role for ref in content.images}:
        report.error(code, "images", "a poster event ticket needs an artwork or background image")


def _check_fallback(report: Report, needed_primary: int) -> None:
    content = report.content
    code = FindingCode.FALLBACK_INCOMPLETE
    positions = Counter(field.position for field in content.fields)
    if positions[FieldPosition.PRIMARY] < needed_primary:
        message = (
            f"older devices show the plain style, which needs {needed_primary} primary field"
            f"{'s' if needed_primary > 1 else ''}; add what is missing"
        )
        report.error(code, "fields", message)
    if not positions[FieldPosition.SECONDARY] + positions[FieldPosition.AUXILIARY]:
        message = "the plain style, for older devices, has no secondary or auxiliary field; add one"
        report.warn(code, "fields", message)
    if not content.barcodes:
        message = "the plain style, for older devices, has no barcode; add one"
        report.warn(code, "barcodes", message)


def check_hints(report: Report) -> None:
    """Hints that have no effect here, featured actions, upcoming passes, user info."""
    _check_unused_hints(report)
    _check_featured_actions(report)
    _check_upcoming(report)
    with report.rendering("apple.user_info"):
        report.nodes.structured(report.content.apple.user_info)
    key = report.content.google.points_field_key
    if key and key not in {field.key for field in report.content.fields}:
        message = f"no field has the key {key!r:.80}; correct it or leave it out"
        report.error(FindingCode.HINT_UNUSED, "google.points_field_key", message)


def _check_unused_hints(report: Report) -> None:
    content, hints = report.content, report.content.apple
    is_grouped = content.style in {PassStyle.BOARDING_PASS, PassStyle.EVENT_TICKET}
    if hints.grouping_identifier and not is_grouped:
        message = "only boarding passes and event tickets are grouped; leave it out"
        report.warn(FindingCode.HINT_UNUSED, "apple.grouping_identifier", message)
    has_strip = content.style in {PassStyle.COUPON, PassStyle.EVENT_TICKET, PassStyle.STORE_CARD}
    if hints.suppress_strip_shine is not None and not has_strip:
        message = "this style has no strip; leave it out"
        report.warn(FindingCode.HINT_UNUSED, "apple.suppress_strip_shine", message)
    if hints.style_scheme is AppleStyleScheme.POSTER_EVENT_TICKET:
        return
    for path, is_set in (
        ("apple.suppress_header_darkening", hints.suppress_header_darkening),
        ("apple.use_automatic_colors", hints.use_automatic_colors),
        ("apple.event_logo_text", hints.event_logo_text),
        ("apple.auxiliary_store_identifiers", hints.auxiliary_store_identifiers),
        ("apple.upcoming_pass_information", hints.upcoming_pass_information),
        ("colors.footer_background", content.colors.footer_background),
    ):
        if is_set:
            message = "only poster event tickets use it; leave it out"
            report.warn(FindingCode.HINT_UNUSED, path, message)


def _check_featured_actions(report: Report) -> None:
    actions = report.content.apple.featured_actions
    code, path = FindingCode.FEATURED_ACTION, "apple.featured_actions"
    if len(actions) > MAX_FEATURED_ACTIONS:
        report.error(code, path, f"has {len(actions)}; a pass shows {MAX_FEATURED_ACTIONS}")
    if actions and report.content.apple.style_scheme is not None:
        report.error(code, path, "does not go with a style scheme; leave one of them out")
    counts = Counter(action.identifier for action in actions)
    for index, action in enumerate(actions):
        place = f"{path}[{index}]"
        if not action.identifier or counts[action.identifier] > 1:
            report.error(code, f"{place}.identifier", "must be set, and unique")
        _check_action(report, place, action)


def _check_action(report: Report, path: str, action: AppleFeaturedAction) -> None:
    code = FindingCode.FEATURED_ACTION
    if action.type is AppleActionType.PLACE:
        if not action.place_identifier or action.url:
            report.error(code, path, "shows a place: needs place_identifier and no url")
        return
    if not action.url or action.place_identifier:
        report.error(code, path, "opens an address: needs url and no place_identifier")
        return
    is_call = action.type is AppleActionType.CALL and action.url.startswith("tel:")
    check_url(report, f"{path}.url", action.url, any_scheme=is_call)


def _check_upcoming(report: Report) -> None:
    entries = report.content.apple.upcoming_pass_information
    code = FindingCode.UPCOMING_PASS
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        path = f"apple.upcoming_pass_information[{index}]"
        for name in ("identifier", "name"):
            if not isinstance(entry.get(name), str) or not entry.get(name):
                report.error(code, f"{path}.{name}", "must be set to a text")
        if entry.get("type") != "event":
            report.error(code, f"{path}.type", 'must be "event"')
        identifier = str(entry.get("identifier"))
        if identifier in seen:
            report.error(code, f"{path}.identifier", "another entry has it; make it unique")
        seen.add(identifier)
        with report.rendering(path):
            report.nodes.structured(entry)
