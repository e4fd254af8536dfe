"""Keys derived from the deployment's one master key, each for one purpose, and what is computed
with them."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from passmill.domain.claim_tokens import ClaimTokens
from passmill.domain.ids import TenantId
from passmill.domain.pass_tokens import PassTokens

_NONCE_BYTES = 12


class Keyring:
    """The master key (32 bytes) and its children by HKDF-SHA-256 (RFC 5869). Never shown: `repr`
    tells nothing."""

    __slots__ = (
        "_answers",
        "_barcode_keys",
        "_fingerprints",
        "_identities",
        "_pages",
        "check_value",
        "claim_tokens",
        "edge_key",
        "pass_tokens",
        "wrapping_key",
    )

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != 32:
            raise ValueError("The master key must be 32 bytes.")

        def child(purpose: str) -> bytes:
            derived: bytes = HKDF(
                algorithm=SHA256(), length=32, salt=None, info=b"passmill/" + purpose.encode()
            ).derive(master_key)
            return derived

        self.wrapping_key = child("signing-identity")
        # Tells this master key from another, and nothing of it.
        self.check_value = child("check-value")[:16]
        # What the edge has of all this: enough to know a pass's token, and to open nothing.
        self.edge_key = child("authentication-token")
        self.pass_tokens = PassTokens(self.edge_key)
        self.claim_tokens = ClaimTokens(child("claim-link"))
        self._pages = child("page-token")
        self._fingerprints = child("request-fingerprint")
        self._identities = child("holder-identity")
        self._answers = AESGCM(child("stored-answer"))
        self._barcode_keys = AESGCM(child("barcode-key"))

    def __repr__(self) -> str:
        return "Keyring(…)"

    def request_fingerprint(self, request: bytes) -> bytes:
        """16 bytes that tell one request body from another; keyed, so a stored one reveals no short
        password."""
        return hashlib.blake2b(request, digest_size=16, key=self._fingerprints).digest()

    def identity_hash(self, tenant_id: TenantId, identity: bytes) -> bytes:
        """32 bytes by which a tenant finds an identity again, and which tell nobody else what it
        is: HMAC-SHA-256 under a key of the tenant's."""
        of_tenant = hmac.digest(self._identities, tenant_id.to_bytes(8, "big"), "sha256")
        return hmac.digest(of_tenant, identity, "sha256")

    def page_mac(self, message: bytes) -> bytes:
        """16 bytes that prove a page token is ours."""
        return hmac.digest(self._pages, message, "sha256")[:16]

    def seal_answer(self, answer: bytes, *, context: bytes) -> bytes:
        """An answer that holds a secret, encrypted for storage (AES-256-GCM) and bound to its
        request."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._answers.encrypt(nonce, answer, context)

    def open_answer(self, sealed: bytes, *, context: bytes) -> bytes:
        """The inverse of `seal_answer`. ValueError when it was sealed by another key or for another
        request."""
        try:
            return self._answers.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except InvalidTag:
            raise ValueError("The stored answer was sealed under another master key.") from None

    def wrap_barcode_key(self, private_key: bytes, *, context: bytes) -> bytes:
        """A private key that seals barcodes, encrypted for storage (AES-256-GCM) and bound to its
        row."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._barcode_keys.encrypt(nonce, private_key, context)

    def unwrap_barcode_key(self, wrapped: bytes, *, context: bytes) -> bytes:
        """The inverse of `wrap_barcode_key`. ValueError when it was wrapped by another key or for
        another row."""
        try:
            return self._barcode_keys.decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context
            )
        except InvalidTag:
            raise ValueError("The barcode key was wrapped under another master key.") from None
