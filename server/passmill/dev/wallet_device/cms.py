"""A detached CMS signature taken apart by its DER (RFC 5652), by nothing of the service's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from passmill.dev.wallet_device.errors import BundleRefused

SEQUENCE, SET, INTEGER, OCTETS, OBJECT_ID, UTC_TIME = 0x30, 0x31, 0x02, 0x04, 0x06, 0x17
FIRST, SECOND = 0xA0, 0xA1
SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
DATA = bytes.fromhex("2a864886f70d010701")
CONTENT_TYPE = bytes.fromhex("2a864886f70d010903")
MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")
SIGNING_TIME = bytes.fromhex("2a864886f70d010905")
SHA256 = bytes.fromhex("608648016503040201")


@dataclass(frozen=True, slots=True)
class Element:
    """A DER element: `whole` with tag and length, `content` without."""

    tag: int
    whole: bytes
    content: bytes

    def children(self) -> list[Element]:
        """What is inside a constructed one."""
        return list(_elements(self.content))


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachedSignature:
    """What a signature says. `signed`: the bytes that were signed."""

    certificates: tuple[bytes, ...]
    issuer: bytes
    serial_number: int
    signed: bytes
    digest: bytes
    signing_time: datetime
    signature: bytes


def read_signature(der: bytes) -> DetachedSignature:
    """Takes a detached SignedData with one signer apart; BundleRefused when it is anything else."""
    try:
        return _read(der)
    except (LookupError, ValueError) as error:
        raise BundleRefused(f"the signature is no detached CMS: {error}") from error


def _read(der: bytes) -> DetachedSignature:
    outer = _only(list(_elements(der)), SEQUENCE)
    kind, wrapped = outer.children()
    _expect(kind.content == SIGNED_DATA, "no SignedData")
    fields = _only(wrapped.children(), SEQUENCE).children()
    version, _, encapsulated, *rest = fields
    _expect(version.content == b"\x01", "version 1 expected")
    _expect([each.content for each in encapsulated.children()] == [DATA], "content inside")
    _expect([each.tag for each in rest] == [FIRST, SET], "certificates and signers expected")
    certificates = tuple(each.whole for each in rest[0].children())
    signer = _only(rest[1].children(), SEQUENCE).children()
    _expect(len(signer) == 6, "signed attributes and no others expected")
    _, sid, digest_algorithm, attributes, _, signature = signer
    issuer, serial = sid.children()
    _expect(digest_algorithm.children()[0].content == SHA256, "SHA-256 expected")
    _expect(attributes.tag == FIRST and signature.tag == OCTETS, "a signer's fields")
    values = dict(_attribute(each) for each in attributes.children())
    _expect(values[CONTENT_TYPE].content == DATA, "content type")
    return DetachedSignature(
        certificates=certificates,
        issuer=issuer.whole,
        serial_number=int.from_bytes(serial.content, signed=True),
        signed=bytes([SET]) + attributes.whole[1:],
        digest=values[MESSAGE_DIGEST].content,
        signing_time=_time(values.get(SIGNING_TIME)),
        signature=signature.content,
    )


def _attribute(attribute: Element) -> tuple[bytes, Element]:
    name, values = attribute.children()
    [value] = values.children()
    return name.content, value


def _time(value: Element | None) -> datetime:
    if value is None or value.tag != UTC_TIME:
        raise ValueError("it must contain a signing date")
    return datetime.strptime(value.content.decode("ascii"), "%y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _only(elements: list[Element], tag: int) -> Element:
    [element] = elements
    _expect(element.tag == tag, f"tag {element.tag:#x}")
    return element


def _elements(data: bytes) -> Iterator[Element]:
    at = 0
    while at < len(data):
        tag, length, start = data[at], data[at + 1], at + 2
        if length >= 0x80:
            octets = length - 0x80
            _expect(1 <= octets <= 4, "an indefinite or endless length")
            length = int.from_bytes(data[start : start + octets])
            start += octets
        _expect(start + length <= len(data), "cut off")
        yield Element(tag, data[at : start + length], data[start : start + length])
        at = start + length


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
