"""What a barcode says of its pass, so that it can be checked: a handle, which only the service can
read, or a token signed with Ed25519 (RFC 8032), which whoever has the public key can check, also
without a network.

A token is `P.` and 127 symbols of base64url (RFC 4648, no padding) of 95 bytes, big-endian:

    version 1 | key id 2 | tenant id 8 | pass id 16 | not after 4 | signature 64

`not after` is a Unix second, 0 for never. The signature is over the 31 bytes before it. All but key
id, time and signature is in the pass's row already: those 70 bytes are its seal.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NewType
from urllib.parse import unquote, urlsplit
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from passmill.domain.ids import PassId, TenantId

BarcodeKeyId = NewType("BarcodeKeyId", int)

LAST_KEY_ID: Final = 32_767
HANDLE_KEY_BYTES: Final = 16
SEAL_BYTES: Final = 70
# What stands for a barcode where none is made: of the same characters, as long.
SAMPLE_HANDLE: Final = "A" * 22
SAMPLE_SIGNED: Final = "P." + "A" * 127
SAMPLE_SEAL: Final = bytes(SEAL_BYTES)

_VERSION: Final = 1
_CLAIMS: Final = struct.Struct(">BHq16sI")  # 31 bytes
_SEAL: Final = struct.Struct(">HI64s")
_SIGNED: Final = re.compile(r"P\.[A-Za-z0-9_-]{127}", re.ASCII)
_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]", re.ASCII)  # the last symbol holds two bits
_SERIAL_NUMBER: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}", re.ASCII)
# What some scanners put before the message: the symbology (ISO/IEC 15424).
_AIM_IDENTIFIER: Final = re.compile(r"\][A-Za-z][0-9A-Za-z]")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://")
_MAX_TEXT: Final = 4_096
_LAST_SECOND: Final = (1 << 32) - 1


class CodeKind(enum.StrEnum):
    """How a scanned text names its pass."""

    SIGNED = "signed"
    HANDLE = "handle"
    SERIAL = "serial"


class CodeRefusal(enum.StrEnum):
    """Why a scanned text names no pass."""

    UNKNOWN_CODE = "unknown_code"  # nothing that this service writes into barcodes
    BAD_SIGNATURE = "bad_signature"  # no key of this tenant signed it
    WRONG_TENANT = "wrong_tenant"  # it is of another tenant's pass, or says so
    EXPIRED_CODE = "expired_code"  # signed by us, and over
    KEY_REVOKED = "key_revoked"  # its key may be in wrong hands: it proves nothing any more


@dataclass(frozen=True, slots=True, kw_only=True)
class BarcodeKey:
    """The public half of a key that seals barcodes: 32 bytes. A retired key seals no more, but what
    it has sealed stays good; a revoked one proves nothing."""

    key_id: BarcodeKeyId
    public_key: bytes
    create_time: datetime
    retire_time: datetime | None = None
    revoke_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBarcode:
    """What a token says, checked or not. `not_after`: a Unix second, 0 for never."""

    key_id: BarcodeKeyId
    tenant_id: TenantId
    pass_id: PassId
    not_after: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class ScannedCode:
    """The part of a scanned text that names a pass, and how."""

    kind: CodeKind
    text: str


class BarcodeSigner:
    """A tenant's key that seals barcodes now."""

    __slots__ = ("_key", "_tenant_id", "key_id")

    def __init__(self, *, tenant_id: TenantId, key_id: BarcodeKeyId, private_key: bytes) -> None:
        """`private_key`: the 32 bytes of RFC 8032, section 5.1.5."""
        self._tenant_id = tenant_id
        self.key_id = key_id
        self._key = Ed25519PrivateKey.from_private_bytes(private_key)

    def seal(self, pass_id: bytes, *, not_after: int) -> bytes:
        """The seal of a pass's barcode (`SEAL_BYTES`), from the 16 bytes of its id: always the same
        for the same. Some 30 microseconds."""
        claims = _CLAIMS.pack(_VERSION, self.key_id, self._tenant_id, pass_id, not_after)
        return _SEAL.pack(self.key_id, not_after, self._key.sign(claims))


class BarcodeHandles:
    """The handles of one tenant's passes: the pass id enciphered with AES-128, 22 symbols of
    base64url. As serial numbers are (`ids.SerialNumbers`), under another key: who knows the one
    knows nothing of the other."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        """`key`: 16 bytes."""
        self._cipher = Cipher(algorithms.AES128(key), modes.ECB())  # noqa: S305 - as in SerialNumbers

    def of(self, pass_id: PassId) -> str:
        """The handle of a pass."""
        return self.of_many([pass_id.bytes])[0]

    def of_many(self, pass_ids: Sequence[bytes]) -> list[str]:
        """The handles of passes, each given by its 16 bytes, in their order. From any thread."""
        # Blocks of 18 bytes, so that each is whole symbols: two bytes of nothing, cut off as AA.
        blocks = self._cipher.encryptor().update(b"".join(pass_ids))
        padded = b"".join([blocks[at : at + 16] + b"\0\0" for at in range(0, len(blocks), 16)])
        text = base64.urlsafe_b64encode(padded).decode("ascii")
        return [text[at : at + 22] for at in range(0, len(text), 24)]

    def find(self, handle: str) -> PassId | None:
        """The pass id behind a handle, None when no pass can have it; whether one has the database
        says."""
        if _HANDLE.fullmatch(handle) is None:
            return None
        block = base64.urlsafe_b64decode(handle + "==")
        return plausible_pass_id(self._cipher.decryptor().update(block))


def plausible_pass_id(block: bytes) -> PassId | None:
    """16 deciphered bytes as the id of a pass; None when they are none: pass ids are UUIDs of
    versions 7 and 8 (RFC 9562), others were never enciphered by us."""
    parsed = UUID(bytes=block)
    return PassId(parsed) if parsed.version in {7, 8} else None


def not_after_of(expire_time: datetime | None) -> int:
    """When a token ends, for a pass that expires then: its Unix second, 0 for never."""
    if expire_time is None:
        return 0
    return min(max(int(expire_time.timestamp()), 1), _LAST_SECOND)


def seal_key_id(seal: bytes) -> BarcodeKeyId:
    """Which key made a seal."""
    return BarcodeKeyId(_SEAL.unpack(seal)[0])


def seal_not_after(seal: bytes) -> int:
    """When the token of a seal ends, as `not_after_of`."""
    not_after: int = _SEAL.unpack(seal)[1]
    return not_after


def format_signed(tenant_id: TenantId, pass_id: bytes, seal: bytes) -> str:
    """The token of a pass, from the 16 bytes of its id and its seal: 129 characters."""
    key_id, not_after, signature = _SEAL.unpack(seal)
    claims = _CLAIMS.pack(_VERSION, key_id, tenant_id, pass_id, not_after)
    return "P." + base64.urlsafe_b64encode(claims + signature).decode("ascii")[:127]


def parse_signed(text: str) -> SignedBarcode | None:
    """What a token says; None when it is none, in any other spelling than ours too."""
    if _SIGNED.fullmatch(text) is None:
        return None
    try:
        token = base64.b64decode(text[2:] + "=", altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    version, key_id, tenant_id, pass_id, not_after = _CLAIMS.unpack_from(token)
    seal = _SEAL.pack(key_id, not_after, token[_CLAIMS.size :])
    # The last symbol has two bits to spare: one spelling only is taken.
    if version != _VERSION or format_signed(tenant_id, pass_id, seal) != text:
        return None
    return SignedBarcode(
        key_id=BarcodeKeyId(key_id),
        tenant_id=TenantId(tenant_id),
        pass_id=PassId(UUID(bytes=pass_id)),
        not_after=not_after,
        signature=token[_CLAIMS.size :],
    )


def check_signed(
    barcode: SignedBarcode, key: BarcodeKey | None, *, tenant_id: TenantId, now: datetime
) -> CodeRefusal | None:
    """Whether a token is to be believed by this tenant now: None, or why not. `key`: the tenant's
    key of the id that the token names, None when it has none."""
    if barcode.tenant_id != tenant_id:
        return CodeRefusal.WRONG_TENANT
    if key is None or not _is_signed(barcode, key.public_key):
        return CodeRefusal.BAD_SIGNATURE
    if key.revoke_time is not None:
        return CodeRefusal.KEY_REVOKED
    if barcode.not_after and now.timestamp() > barcode.not_after:
        return CodeRefusal.EXPIRED_CODE
    return None


def offline_hash(pass_id: PassId) -> bytes:
    """How a list for scanners names a pass: the first 8 bytes of the SHA-256 of its id's 16."""
    return hashlib.sha256(pass_id.bytes).digest()[:8]


def _is_signed(barcode: SignedBarcode, public_key: bytes) -> bool:
    claims = _CLAIMS.pack(
        _VERSION, barcode.key_id, barcode.tenant_id, barcode.pass_id.bytes, barcode.not_after
    )
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(barcode.signature, claims)
    except InvalidSignature:
        return False
    return True


def find_code(scanned: str) -> ScannedCode | None:
    """The code in what a scanner gives: as it is, or in an address that it is wrapped in (its
    query, its fragment, its path). None when there is none."""
    if len(scanned) > _MAX_TEXT:
        return None
    text = scanned.strip(" \t\r\n\x1d\x00")
    if (code := _as_code(text)) is not None:
        return code
    identifier = _AIM_IDENTIFIER.match(text)
    if identifier is not None:
        text = text[identifier.end() :]
        if (code := _as_code(text)) is not None:
            return code
    if _URL.match(text) is None:
        return None
    for part in _url_parts(text):
        if (code := _as_code(part)) is not None:
            return code
    return None


def _as_code(text: str) -> ScannedCode | None:
    if _SIGNED.fullmatch(text):
        return ScannedCode(CodeKind.SIGNED, text)
    if _HANDLE.fullmatch(text):
        return ScannedCode(CodeKind.HANDLE, text)
    # Serial numbers are typed too, and some scanners are set to small letters.
    if text.isascii() and _SERIAL_NUMBER.fullmatch(text.upper()):
        return ScannedCode(CodeKind.SERIAL, text.upper())
    return None


def _url_parts(text: str) -> list[str]:
    try:
        address = urlsplit(text)
    except ValueError:
        return []
    values = [pair.partition("=")[2] for pair in address.query.split("&")]
    segments = reversed(address.path.split("/"))
    return [unquote(part) for part in (*values, address.query, address.fragment, *segments)]
