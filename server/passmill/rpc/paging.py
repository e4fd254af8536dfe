"""Page tokens (https://google.aip.dev/158): the last key of a page, bound to its list and filter,
and signed."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Sequence

from google.protobuf.message import Message

from passmill.domain.keyring import Keyring
from passmill.errors import AppError, Reason

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500
_MAC_BYTES = 16


class Pages:
    """Makes and reads page tokens."""

    __slots__ = ("_keyring",)

    def __init__(self, *, keyring: Keyring) -> None:
        self._keyring = keyring

    def size(self, asked: int) -> int:
        """The page size for the one asked: 0 means the default, too much means the most."""
        return min(asked, MAX_PAGE_SIZE) if asked > 0 else DEFAULT_PAGE_SIZE

    def token(self, request: Message, key: Sequence[str | int]) -> str:
        """The token for the page after `key`, good for this request's list and filter only."""
        body = json.dumps(list(key), separators=(",", ":")).encode()
        mac = self._keyring.page_mac(_scope(request) + body)
        return base64.urlsafe_b64encode(mac + body).decode("ascii")

    def key(self, request: Message, token: str) -> list[str | int] | None:
        """The key a token holds, None for the first page (empty token). AppError INVALID_PAGE_TOKEN
        when it is not one of ours for this list and filter."""
        if not token:
            return None
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii"))
        except (ValueError, binascii.Error):
            raise _invalid() from None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._keyring.page_mac(_scope(request) + body)):
            raise _invalid()
        key: list[str | int] = json.loads(body)
        return key


def _scope(request: Message) -> bytes:
    # Everything of the request but the page itself; the page size may change from page to page.
    bare = type(request)()
    bare.CopyFrom(request)
    for field in ("page_token", "page_size"):
        bare.ClearField(field)
    name: str = request.DESCRIPTOR.full_name
    return name.encode() + b"\0" + bare.SerializeToString(deterministic=True) + b"\0"


def _invalid() -> AppError:
    return AppError(
        reason=Reason.INVALID_PAGE_TOKEN,
        message="The page token is not of this list and filter. Start from the first page.",
    )
