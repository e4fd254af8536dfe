"""Request ids as callers choose them."""

from __future__ import annotations

from uuid import UUID

from passmill.domain.ids import is_derived
from passmill.errors import invalid_field


def request_id_from(text: str, *, path: str) -> UUID:
    """A caller's request id, at this place of the request. AppError INVALID_FIELD for one that the
    service keeps for itself."""
    request_id = UUID(text)
    if is_derived(request_id):
        raise invalid_field(path, "is of version 8, which is the service's own; make a random one")
    return request_id
