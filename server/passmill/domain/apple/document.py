"""pass.json of a template as a tree with holes: which key holds what, in a fixed order.

Source: https://developer.apple.com/documentation/walletpasses/pass
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from passmill.domain.apple import names
from passmill.domain.apple.field_nodes import TemplateNotRenderable, at, field_node
from passmill.domain.apple.nodes import (
    AUTHENTICATION_TOKEN,
    EXPIRES_AT,
    VOIDED,
    ArrayNode,
    Constant,
    FirstOf,
    Form,
    Hole,
    Node,
    ObjectNode,
    ScalarNode,
    TextNode,
)
from passmill.domain.apple.text_nodes import TextNodes
from passmill.domain.templates.content import (
    AppleFeaturedAction,
    Barcode,
    Beacon,
    Colors,
    FieldPosition,
    Location,
    Nfc,
    PassStyle,
    RelevantDate,
    TemplateContent,
)
from passmill.domain.templates.placeholders import SERIAL_NUMBER
from passmill.domain.values import SlotType

Members = Iterator[tuple[str, Node]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionPins:
    """What a template revision is bound to besides its content: the signing certificate's
    identifiers, and where devices ask for updates (None: never; no `/v1` at its end)."""

    pass_type_identifier: str
    team_identifier: str
    web_service_url: str | None


def build_document(content: TemplateContent, pins: RevisionPins) -> ObjectNode:
    """The tree of pass.json. Raises TemplateNotRenderable."""
    return _Document(content, pins).build()


class _Document:
    def __init__(self, content: TemplateContent, pins: RevisionPins) -> None:
        self._content = content
        self._pins = pins
        self._nodes = TextNodes(content.slots)

    def build(self) -> ObjectNode:
        members = [
            *self._identity(),
            *self._texts(),
            *self._colors(self._content.colors),
            *self._barcodes(),
            *self._relevance(),
            *self._life(),
            *self._links(),
            *self._nfc(self._content.nfc),
            *self._apple_hints(),
            *self._top_semantics(),
            *self._style(),
        ]
        return ObjectNode(tuple(members), keep=True)

    def _text(self, path: str, text: str) -> TextNode:
        with at(path):
            return self._nodes.text(text)

    def _identity(self) -> Members:
        yield "formatVersion", Constant(1)
        yield "passTypeIdentifier", Constant(self._pins.pass_type_identifier)
        yield "teamIdentifier", Constant(self._pins.team_identifier)
        yield "serialNumber", TextNode((self._nodes.hole(SERIAL_NUMBER, Form.TEXT),))
        if self._pins.web_service_url is not None:
            yield "webServiceURL", Constant(self._pins.web_service_url)
            token = self._nodes.hole(AUTHENTICATION_TOKEN, Form.TEXT)
            yield "authenticationToken", TextNode((token,))

    def _texts(self) -> Members:
        content = self._content
        # Required by Apple even when empty, so they stand in every pass.
        yield "organizationName", self._text("organization_name", content.organization_name)
        yield "description", self._text("description", content.description)
        if content.title:
            yield "logoText", self._text("title", content.title)
        if content.apple.event_logo_text:
            text = self._text("apple.event_logo_text", content.apple.event_logo_text)
            yield "eventLogoText", text

    def _colors(self, colors: Colors) -> Members:
        for key, color in (
            ("backgroundColor", colors.background),
            ("foregroundColor", colors.foreground),
            ("labelColor", colors.label),
            ("footerBackgroundColor", colors.footer_background),
        ):
            if color:
                yield key, Constant(write_color(f"colors.{key}", color))

    def _barcodes(self) -> Members:
        yield from _list("barcodes", map(self._barcode, range(len(self._content.barcodes))))

    def _barcode(self, index: int) -> Node:
        barcode: Barcode = self._content.barcodes[index]
        path = f"barcodes[{index}]"
        message = self._text(f"{path}.message", barcode.message)
        members: list[tuple[str, Node]] = [
            ("format", Constant(names.BARCODE_FORMATS[barcode.format])),
            ("message", message),
            ("messageEncoding", _encoding(message)),
        ]
        if barcode.alt_text:
            members.append(("altText", self._text(f"{path}.alt_text", barcode.alt_text)))
        return ObjectNode(tuple(members), whole=frozenset({"message"}))

    def _relevance(self) -> Members:
        content = self._content
        yield from _list("locations", map(self._location, range(len(content.locations))))
        yield from _list("beacons", map(self._beacon, range(len(content.beacons))))
        if content.max_distance_meters is not None:
            yield "maxDistance", _number("max_distance_meters", content.max_distance_meters)
        dates = content.relevant_dates
        yield from _list("relevantDates", map(self._relevant_date, range(len(dates))))
        if dates:
            # The only form that systems before iOS 18 read.
            yield "relevantDate", FirstOf(tuple(map(self._start, range(len(dates)))))

    def _location(self, index: int) -> Node:
        location: Location = self._content.locations[index]
        path = f"locations[{index}]"
        members: list[tuple[str, Node]] = [
            ("latitude", _number(f"{path}.latitude", location.latitude)),
            ("longitude", _number(f"{path}.longitude", location.longitude)),
        ]
        if location.altitude_meters is not None:
            altitude = _number(f"{path}.altitude_meters", location.altitude_meters)
            members.append(("altitude", altitude))
        if location.relevant_text:
            text = self._text(f"{path}.relevant_text", location.relevant_text)
            members.append(("relevantText", text))
        return ObjectNode(tuple(members))

    def _beacon(self, index: int) -> Node:
        beacon: Beacon = self._content.beacons[index]
        members: list[tuple[str, Node]] = [("proximityUUID", Constant(beacon.proximity_uuid))]
        if beacon.major is not None:
            members.append(("major", Constant(beacon.major)))
        if beacon.minor is not None:
            members.append(("minor", Constant(beacon.minor)))
        if beacon.relevant_text:
            text = self._text(f"beacons[{index}].relevant_text", beacon.relevant_text)
            members.append(("relevantText", text))
        return ObjectNode(tuple(members))

    def _start(self, index: int) -> Node:
        with at(f"relevant_dates[{index}].start"):
            return self._nodes.date(self._content.relevant_dates[index].start)

    def _relevant_date(self, index: int) -> Node:
        date: RelevantDate = self._content.relevant_dates[index]
        start = self._start(index)
        if not date.end:
            # iOS 18's first SDK called it relevantDate; date is what came of it.
            return ObjectNode((("date", start), ("relevantDate", start)))
        with at(f"relevant_dates[{index}].end"):
            end = self._nodes.date(date.end)
        return ObjectNode(
            (("startDate", start), ("endDate", end)), whole=frozenset({"startDate", "endDate"})
        )

    def _life(self) -> Members:
        override = TextNode((self._nodes.hole(EXPIRES_AT, Form.DATE),))
        alternatives: tuple[Node, ...] = (override,)
        if self._content.expires:
            with at("expires"):
                alternatives = (override, self._nodes.date(self._content.expires))
        yield "expirationDate", FirstOf(alternatives)
        yield "voided", ScalarNode(self._nodes.hole(VOIDED, Form.BOOLEAN))
        if self._content.sharing_prohibited:
            yield "sharingProhibited", Constant(value=True)

    def _links(self) -> Members:
        order = list(names.LINK_KEYS)
        indexed = sorted(enumerate(self._content.links), key=lambda pair: order.index(pair[1].kind))
        for index, link in indexed:
            plain = link.kind in names.EMAIL_LINKS | names.PHONE_LINKS
            with at(f"links[{index}].target"):
                target = self._nodes.text(link.target) if plain else self._nodes.url(link.target)
            yield names.LINK_KEYS[link.kind], target

    def _nfc(self, nfc: Nfc | None) -> Members:
        if nfc is None:
            return
        message = self._text("nfc.message", nfc.message)
        yield (
            "nfc",
            ObjectNode(
                (
                    ("message", message),
                    ("encryptionPublicKey", Constant(nfc.encryption_public_key)),
                    ("requiresAuthentication", Constant(nfc.requires_authentication)),
                ),
                whole=frozenset({"message"}),
            ),
        )

    def _apple_hints(self) -> Members:
        hints, nodes = self._content.apple, self._nodes
        if hints.style_scheme is not None:
            schemes = (
                names.STYLE_SCHEMES[hints.style_scheme],
                names.STYLE_KEYS[self._content.style],
            )
            yield "preferredStyleSchemes", ArrayNode(tuple(map(Constant, schemes)))
        if hints.grouping_identifier:
            group = self._text("apple.grouping_identifier", hints.grouping_identifier)
            yield "groupingIdentifier", group
        if hints.suppress_strip_shine is not None:
            yield "suppressStripShine", Constant(hints.suppress_strip_shine)
        if hints.suppress_header_darkening:
            yield "suppressHeaderDarkening", Constant(value=True)
        if hints.use_automatic_colors:
            yield "useAutomaticColors", Constant(value=True)
        yield from _list(
            "associatedStoreIdentifiers", map(Constant, hints.associated_store_identifiers)
        )
        yield from _list(
            "auxiliaryStoreIdentifiers", map(Constant, hints.auxiliary_store_identifiers)
        )
        yield from _list("featuredActions", map(self._action, range(len(hints.featured_actions))))
        upcoming: list[Node] = []
        for index, entry in enumerate(hints.upcoming_pass_information):
            with at(f"apple.upcoming_pass_information[{index}]"):
                upcoming.append(nodes.structured(entry))
        yield from _list("upcomingPassInformation", upcoming)
        if hints.user_info:
            with at("apple.user_info"):
                yield "userInfo", nodes.structured(hints.user_info)

    def _action(self, index: int) -> Node:
        action: AppleFeaturedAction = self._content.apple.featured_actions[index]
        members: list[tuple[str, Node]] = [
            ("identifier", Constant(action.identifier)),
            ("type", Constant(names.ACTION_TYPES[action.type])),
        ]
        needed = frozenset[str]()
        if action.url:
            with at(f"apple.featured_actions[{index}].url"):
                members.append(("url", self._nodes.url(action.url)))
            needed = frozenset({"url"})
        if action.place_identifier:
            members.append(("placeIdentifier", Constant(action.place_identifier)))
        return ObjectNode(tuple(members), whole=needed)

    def _top_semantics(self) -> Members:
        if self._content.semantics:
            with at("semantics"):
                yield "semantics", self._nodes.semantics(self._content.semantics)

    def _style(self) -> Members:
        members: list[tuple[str, Node]] = []
        content = self._content
        if content.style is PassStyle.BOARDING_PASS and content.transit_type is not None:
            members.append(("transitType", Constant(names.TRANSIT_TYPES[content.transit_type])))
        for position in FieldPosition:
            fields = [
                field_node(self._nodes, index, field)
                for index, field in enumerate(content.fields)
                if field.position is position
            ]
            members.extend(_list(names.POSITION_KEYS[position], fields))
        yield names.STYLE_KEYS[content.style], ObjectNode(tuple(members), keep=True)


def write_color(path: str, color: str) -> str:
    """`#rrggbb` as `rgb(r, g, b)`, the one form that every Wallet reads."""
    try:
        red, green, blue = bytes.fromhex(color.removeprefix("#"))
    except ValueError as error:
        raise TemplateNotRenderable(path, "must be a colour such as #1a2b3c") from error
    return f"rgb({red}, {green}, {blue})"


def _encoding(message: TextNode) -> Node:
    fixed = "".join(part for part in message.parts if isinstance(part, str))
    if not fits_latin1(fixed):
        return Constant("utf-8")
    sources = tuple(
        source
        for part in message.parts
        if isinstance(part, Hole) and part.type in {SlotType.TEXT, SlotType.URL}
        for source in part.sources
    )
    if not sources:
        return Constant("iso-8859-1")
    return TextNode((Hole(sources, SlotType.TEXT, Form.ENCODING),))


def fits_latin1(text: str) -> bool:
    """Whether ISO 8859-1, which most scanners read best, can hold the text."""
    return text.isascii() or max(text) <= "\xff"


def _list(key: str, items: Iterable[Node]) -> Members:
    listed = tuple(items)
    if listed:
        yield key, ArrayNode(listed)


def _number(path: str, number: float) -> Constant:
    if not math.isfinite(number):
        raise TemplateNotRenderable(path, "must be a finite number")
    return Constant(int(number) if float(number).is_integer() else number)
