"""API keys as they are written: `pm_<key id>_<secret>`, sent as `authorization: Bearer …`
(RFC 6750).

The key id finds the key and is no secret; the secret has 256 bits of the system's randomness, so
one SHA-256 of it is all that has to be kept.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

_KEY_ID_SYMBOLS = "abcdefghijklmnopqrstuvwxyz0123456789"
_KEY_ID_LENGTH = 12
_SECRET_BYTES = 32  # 43 symbols of URL-safe base 64
_API_KEY = re.compile(r"pm_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_BEARER = "bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedKey:
    """An API key as somebody sent it: which one it claims to be, and the SHA-256 of its secret."""

    key_id: str
    secret_hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key just made. `text` is the whole key, to be shown once."""

    key_id: str
    text: str = field(repr=False)
    secret_hash: bytes = field(repr=False)


def new_api_key() -> NewKey:
    """A key that nobody can guess."""
    key_id = "".join(secrets.choice(_KEY_ID_SYMBOLS) for _ in range(_KEY_ID_LENGTH))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    return NewKey(key_id=key_id, text=f"pm_{key_id}_{secret}", secret_hash=hash_secret(secret))


def bearer_token(header: str | None) -> str | None:
    """The token of an `authorization` header, None when it is missing or of another scheme."""
    if header is None or header[: len(_BEARER)].lower() != _BEARER:
        return None
    return header[len(_BEARER) :].strip(" ")


def parse_api_key(token: str) -> PresentedKey | None:
    """The key that `token` spells, None when it is none of ours."""
    found = _API_KEY.fullmatch(token)
    if found is None:
        return None
    return PresentedKey(key_id=found[1], secret_hash=hash_secret(found[2]))


def hash_secret(secret: str) -> bytes:
    """SHA-256. No slow hash: what is hashed has 256 random bits, and each call pays for it."""
    return hashlib.sha256(secret.encode()).digest()
