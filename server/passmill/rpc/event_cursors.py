"""Cursors of events: a place in their order, bound to its tenant, and signed."""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from typing import Final
from uuid import UUID

from passmill.domain.events import EventPlace
from passmill.domain.ids import TenantId
from passmill.domain.keyring import Keyring
from passmill.errors import AppError, Reason

_MAC_BYTES: Final = 16
_PLACE: Final = struct.Struct(">Q16s")


class EventCursors:
    """Makes and reads cursors. They are good for every method and filter of their tenant's."""

    __slots__ = ("_keyring",)

    def __init__(self, *, keyring: Keyring) -> None:
        self._keyring = keyring

    def text(self, tenant_id: TenantId, place: EventPlace) -> str:
        """The cursor of what comes behind a place: 54 URL-safe symbols."""
        body = _PLACE.pack(place.transaction_id, place.event_id.bytes)
        return base64.urlsafe_b64encode(self._mac(tenant_id, body) + body).decode("ascii")

    def place(self, tenant_id: TenantId, text: str) -> EventPlace | None:
        """The place a cursor holds, None for the empty one. AppError INVALID_CURSOR when it is not
        one of ours for this tenant."""
        if not text:
            return None
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise _invalid() from None
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(tenant_id, body)):
            raise _invalid()
        transaction_id, event_id = _PLACE.unpack(body)
        return EventPlace(transaction_id, UUID(bytes=event_id))

    def _mac(self, tenant_id: TenantId, body: bytes) -> bytes:
        # Apart from page tokens, which begin with the name of a request.
        return self._keyring.page_mac(b"event-cursor/%d\0" % tenant_id + body)


def _invalid() -> AppError:
    return AppError(
        reason=Reason.INVALID_CURSOR,
        message="The cursor is none of this service's. Start again without one.",
    )
