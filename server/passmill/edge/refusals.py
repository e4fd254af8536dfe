"""Why a request is refused, and as which status: the one table from our errors to HTTP's
(RFC 9110, 15)."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from passmill.edge.exchange import Answer, Header
from passmill.errors import AppError, ErrorKind

_BUSY_SECONDS: Final = 1.0
# What only an operator or a worker can put right takes longer.
_STATE_SECONDS: Final = 30.0


class RefusalReason(enum.Enum):
    """What is said to the client, and counted."""

    MALFORMED = "malformed"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    WRONG_METHOD = "wrong_method"
    TOO_SLOW = "too_slow"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    INTERNAL = "internal"


STATUS_OF_REASON: Final[Mapping[RefusalReason, HTTPStatus]] = {
    RefusalReason.MALFORMED: HTTPStatus.BAD_REQUEST,
    RefusalReason.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    RefusalReason.NOT_FOUND: HTTPStatus.NOT_FOUND,
    RefusalReason.WRONG_METHOD: HTTPStatus.METHOD_NOT_ALLOWED,
    RefusalReason.TOO_SLOW: HTTPStatus.REQUEST_TIMEOUT,
    RefusalReason.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RefusalReason.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    RefusalReason.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    RefusalReason.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    RefusalReason.DEADLINE: HTTPStatus.SERVICE_UNAVAILABLE,
    RefusalReason.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}

# For a device there is nothing between "this pass is yours" and "it is not": whoever knows the
# token of a pass may know all of it, and to others we say the same of every pass.
#
# A device that the sharing policy keeps out hears the same, PERMISSION_DENIED. Of what Apple's
# protocol has for a registration (200, 201, 401) it is the one refusal. No answer to a registration
# takes the pass from the phone, and after any error Wallet tries a few times, at growing intervals,
# and leaves it at that. 429 and 503 would ask it to come back soon, for nothing.
# https://developer.apple.com/documentation/walletpasses/register-a-pass-for-update-notifications
_REASON_OF_KIND: Final[Mapping[ErrorKind, RefusalReason]] = {
    ErrorKind.INVALID_INPUT: RefusalReason.MALFORMED,
    ErrorKind.OUT_OF_RANGE: RefusalReason.MALFORMED,
    ErrorKind.UNAUTHENTICATED: RefusalReason.UNAUTHORIZED,
    ErrorKind.PERMISSION_DENIED: RefusalReason.UNAUTHORIZED,
    ErrorKind.NOT_FOUND: RefusalReason.UNAUTHORIZED,
    ErrorKind.ALREADY_EXISTS: RefusalReason.UNAVAILABLE,
    ErrorKind.FAILED_PRECONDITION: RefusalReason.UNAVAILABLE,
    ErrorKind.CONFLICT: RefusalReason.UNAVAILABLE,
    ErrorKind.UNAVAILABLE: RefusalReason.UNAVAILABLE,
    ErrorKind.EXHAUSTED: RefusalReason.RATE_LIMITED,
    ErrorKind.DEADLINE: RefusalReason.DEADLINE,
    ErrorKind.INTERNAL: RefusalReason.INTERNAL,
}
_WAITS: Final[Mapping[RefusalReason, float]] = {
    RefusalReason.RATE_LIMITED: _BUSY_SECONDS,
    RefusalReason.BUSY: _BUSY_SECONDS,
    RefusalReason.DEADLINE: _BUSY_SECONDS,
    RefusalReason.UNAVAILABLE: _BUSY_SECONDS,
}


@dataclass(slots=True, eq=False)
class Refusal(Exception):
    """A request is not served. `retry_after`: seconds, where waiting helps; `allow`: the methods
    that would do."""

    reason: RefusalReason
    retry_after: float | None = None
    allow: str = ""


def refusal_of(error: AppError) -> Refusal:
    """An error of a use case as a device hears of it: its text stays here."""
    reason = _REASON_OF_KIND[error.kind]
    if error.retry_after is not None:
        return Refusal(reason, retry_after=error.retry_after.total_seconds())
    if error.kind in (ErrorKind.FAILED_PRECONDITION, ErrorKind.ALREADY_EXISTS):
        return Refusal(reason, retry_after=_STATE_SECONDS)
    return Refusal(reason)


def answer_of(refusal: Refusal) -> Answer:
    """What the client gets: the status, the reason in a word, and when to come back."""
    status = STATUS_OF_REASON[refusal.reason]
    headers: list[Header] = [(b"content-type", b"application/json")]
    wait = refusal.retry_after if refusal.retry_after is not None else _WAITS.get(refusal.reason)
    if wait is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(wait))))
    if refusal.allow:
        headers.append((b"allow", refusal.allow.encode()))
    if refusal.reason is RefusalReason.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"ApplePass"))
    body = b'{"error":"%s"}' % refusal.reason.value.encode()
    return Answer(status=status, headers=headers, body=body)
