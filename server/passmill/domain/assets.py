"""Assets: images stored once and named by what they hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

_ID_SYMBOLS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A stored PNG without its bytes. `asset_id`: their SHA-256 in lower hex; `width`, `height`: in
    pixels."""

    asset_id: str
    width: int
    height: int
    size_bytes: int


def asset_id_of(content: bytes) -> str:
    """The id of the asset that holds these bytes."""
    return hashlib.sha256(content).hexdigest()


def parse_asset_id(text: str) -> bytes | None:
    """The digest that an asset id spells, else None: any other spelling names no asset."""
    if len(text) != _ID_SYMBOLS or text != text.lower():
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
