"""Tokens of the claim links that campaigns make: derived, so that no table holds them and results
can be exported again."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from typing import Final

from passmill.domain.ids import TenantId

_TOKEN_BYTES: Final = 16
# Base 64 writes 3 bytes as 4 symbols: with so many zeros behind it a token begins on a whole one.
_PADDING: Final = bytes(2)
_SYMBOLS, _PADDED_SYMBOLS = 22, 24


class ClaimTokens:
    """The key that tokens are derived from (32 bytes, itself derived from the master key), which
    the edge has not. Never shown: `repr` tells nothing."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "ClaimTokens(…)"

    def of_many(self, tenant_id: TenantId, link_ids: Sequence[bytes]) -> list[str]:
        """The tokens of links, each given by its id's 16 bytes, in their order: 128 bits of
        HMAC-SHA-256 under a key of the tenant's, in 22 URL-safe symbols."""
        digest = hmac.digest
        of_tenant = digest(self._key, tenant_id.to_bytes(8, "big"), "sha256")
        joined = b"".join(
            [digest(of_tenant, each, "sha256")[:_TOKEN_BYTES] + _PADDING for each in link_ids]
        )
        text = base64.urlsafe_b64encode(joined).decode("ascii")
        return [text[at : at + _SYMBOLS] for at in range(0, len(text), _PADDED_SYMBOLS)]
