"""Apple's authentication tokens: derived, so that no table holds them."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from passmill.domain.barcodes import HANDLE_KEY_BYTES, BarcodeHandles
from passmill.domain.ids import PassId, TenantId

KEY_BYTES: Final = 32
# A pass gets a new generation when its tokens became known; more often than this it is issued anew.
LAST_GENERATION: Final = 15


class PassTokens:
    """The key that tokens are derived from (32 bytes, itself derived from the master key), which
    the edge has and no other. Never shown: `repr` tells nothing."""

    __slots__ = ("_key", "check_value")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("The edge key must be 32 bytes.")
        self._key = key
        # Tells this key from another, and nothing of it.
        self.check_value = HKDF(
            algorithm=SHA256(), length=16, salt=None, info=b"passmill/edge-check-value"
        ).derive(key)

    def __repr__(self) -> str:
        return "PassTokens(…)"

    def of(self, tenant_id: TenantId, pass_id: PassId, generation: int) -> str:
        """Apple's per-pass authenticationToken: 32 URL-safe symbols, 192 bits.

        It must not change over updates, so it is bound to the pass and a generation, not to the
        content (https://developer.apple.com/documentation/walletpasses/pass).
        """
        return self._token(tenant_id, pass_id, generation).decode("ascii")

    def first_of_many(self, tenant_id: TenantId, pass_ids: Sequence[bytes]) -> list[str]:
        """`of` generation 0 of many passes, each given by its 16 bytes, in their order, quickly."""
        prefix, key, digest = b"%d/" % tenant_id, self._key, hmac.digest
        joined = b"".join(
            [digest(key, prefix + pass_id + b"/0", "sha256")[:24] for pass_id in pass_ids]
        )
        text = base64.urlsafe_b64encode(joined).decode("ascii")
        return [text[at : at + 32] for at in range(0, len(text), 32)]

    def find_generation(self, tenant_id: TenantId, pass_id: PassId, token: str) -> int | None:
        """The generation whose token of this pass it is, None for none: whether that is the pass's
        current one its row says. Compared in constant time."""
        given = token.encode("utf-8", "replace")
        for generation in range(LAST_GENERATION + 1):
            if hmac.compare_digest(given, self._token(tenant_id, pass_id, generation)):
                return generation
        return None

    def barcode_handles(self, tenant_id: TenantId) -> BarcodeHandles:
        """The handles that this tenant's passes show as barcodes, under a key of its own. Some 20
        microseconds."""
        key = HKDF(
            algorithm=SHA256(),
            length=HANDLE_KEY_BYTES,
            salt=None,
            info=b"passmill/barcode-handle/%d" % tenant_id,
        ).derive(self._key)
        return BarcodeHandles(key)

    def _token(self, tenant_id: TenantId, pass_id: PassId, generation: int) -> bytes:
        message = b"%d/%s/%d" % (tenant_id, pass_id.bytes, generation)
        return base64.urlsafe_b64encode(hmac.digest(self._key, message, "sha256")[:24])
