"""Signed barcodes, read and checked without the service.

A token is `P.` and 127 symbols of base64url (RFC 4648, no padding) of 95 bytes, big-endian:

    version 1 | key id 2 | tenant id 8 | pass id 16 | not after 4 | signature 64

`not after` is a Unix second, 0 for never. The signature is Ed25519 (RFC 8032) over the 31 bytes
before it. Another version is one that this till cannot read.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PUBLIC_KEY_BYTES: Final = 32

_PREFIX: Final = "P."
_TOKEN: Final = re.compile(r"P\.[A-Za-z0-9_-]{127}", re.ASCII)
_VERSION: Final = 1
_CLAIMS: Final = struct.Struct(">BHq16sI")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBarcode:
    """What a token says, checked or not. `not_after`: a Unix second, 0 for never. `claims`: the
    bytes that are signed."""

    key_id: int
    tenant_id: int
    pass_id: UUID
    not_after: int
    claims: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def is_signed_by(self, public_key: bytes) -> bool:
        """Whether the key (32 bytes) made the signature."""
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(self.signature, self.claims)
        except InvalidSignature:
            return False
        return True


def is_meant_as_signed(text: str) -> bool:
    """Whether a text begins as tokens do, and as no other code of the service does."""
    return text.startswith(_PREFIX)


def parse_signed(text: str) -> SignedBarcode | None:
    """What a token says; None when it is none, in any other spelling than the service's too."""
    if _TOKEN.fullmatch(text) is None:
        return None
    try:
        token = base64.b64decode(text[len(_PREFIX) :] + "=", altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    # The last symbol has two bits to spare: one spelling only is taken.
    if _PREFIX + base64.urlsafe_b64encode(token).decode("ascii").rstrip("=") != text:
        return None
    claims, signature = token[: _CLAIMS.size], token[_CLAIMS.size :]
    version, key_id, tenant_id, pass_id, not_after = _CLAIMS.unpack(claims)
    if version != _VERSION:
        return None
    return SignedBarcode(
        key_id=key_id,
        tenant_id=tenant_id,
        pass_id=UUID(bytes=pass_id),
        not_after=not_after,
        claims=claims,
        signature=signature,
    )
