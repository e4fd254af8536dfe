"""The one error type that crosses layers. Knows nothing of gRPC or HTTP: `rpc/status.py` maps kinds
to codes."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta


class ErrorKind(enum.Enum):
    """What the caller can do about it."""

    INVALID_INPUT = enum.auto()
    UNAUTHENTICATED = enum.auto()
    PERMISSION_DENIED = enum.auto()
    NOT_FOUND = enum.auto()
    ALREADY_EXISTS = enum.auto()
    OUT_OF_RANGE = enum.auto()
    FAILED_PRECONDITION = enum.auto()
    EXHAUSTED = enum.auto()
    CONFLICT = enum.auto()
    UNAVAILABLE = enum.auto()
    DEADLINE = enum.auto()
    INTERNAL = enum.auto()


class Reason(enum.StrEnum):
    """Mirrors `ErrorReason` of proto/passmill/v1/error_reason.proto, name for name (a test compares
    them)."""

    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    DEADLINE_REQUIRED = "DEADLINE_REQUIRED"
    INVALID_FIELD = "INVALID_FIELD"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    SCOPE_MISSING = "SCOPE_MISSING"
    NOT_FOUND = "NOT_FOUND"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    ETAG_MISMATCH = "ETAG_MISMATCH"
    RATE_LIMITED = "RATE_LIMITED"
    PROGRAM_ARCHIVED = "PROGRAM_ARCHIVED"
    TEMPLATE_ARCHIVED = "TEMPLATE_ARCHIVED"
    REVISION_NOT_PUBLISHED = "REVISION_NOT_PUBLISHED"
    TEMPLATE_HAS_ERRORS = "TEMPLATE_HAS_ERRORS"
    INVALID_VALUES = "INVALID_VALUES"
    PASS_VOIDED = "PASS_VOIDED"  # noqa: S105 - a state, not a password
    PASS_NOT_VOIDED = "PASS_NOT_VOIDED"  # noqa: S105 - a state, not a password
    BATCH_REFUSED = "BATCH_REFUSED"
    NO_SIGNING_IDENTITY = "NO_SIGNING_IDENTITY"
    SIGNING_IDENTITY_EXPIRED = "SIGNING_IDENTITY_EXPIRED"
    INVALID_SIGNING_IDENTITY = "INVALID_SIGNING_IDENTITY"
    INVALID_ASSET = "INVALID_ASSET"
    BUNDLE_TOO_LARGE = "BUNDLE_TOO_LARGE"
    TENANT_SUSPENDED = "TENANT_SUSPENDED"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    INVALID_PAGE_TOKEN = "INVALID_PAGE_TOKEN"  # noqa: S105 - a reason, not a password
    CAMPAIGN_STATE = "CAMPAIGN_STATE"
    OFFSET_GAP = "OFFSET_GAP"
    WRITER_FENCED = "WRITER_FENCED"
    STREAM_STATE = "STREAM_STATE"
    CHECKSUM_MISMATCH = "CHECKSUM_MISMATCH"
    DUPLICATE_RECIPIENT = "DUPLICATE_RECIPIENT"
    INVALID_CAMPAIGN = "INVALID_CAMPAIGN"
    INVALID_CURSOR = "INVALID_CURSOR"
    CURSOR_EXPIRED = "CURSOR_EXPIRED"
    SCANNER_RIGHT_MISSING = "SCANNER_RIGHT_MISSING"
    TOO_MANY_DEVICES = "TOO_MANY_DEVICES"
    PASS_ERASED = "PASS_ERASED"  # noqa: S105 - a state, not a password


KIND_OF_REASON: Mapping[Reason, ErrorKind] = {
    Reason.INTERNAL: ErrorKind.INTERNAL,
    Reason.UNAVAILABLE: ErrorKind.UNAVAILABLE,
    Reason.DEADLINE_EXCEEDED: ErrorKind.DEADLINE,
    Reason.DEADLINE_REQUIRED: ErrorKind.INVALID_INPUT,
    Reason.INVALID_FIELD: ErrorKind.INVALID_INPUT,
    Reason.UNAUTHENTICATED: ErrorKind.UNAUTHENTICATED,
    Reason.SCOPE_MISSING: ErrorKind.PERMISSION_DENIED,
    Reason.SCANNER_RIGHT_MISSING: ErrorKind.PERMISSION_DENIED,
    Reason.NOT_FOUND: ErrorKind.NOT_FOUND,
    Reason.REQUEST_ID_REUSED: ErrorKind.ALREADY_EXISTS,
    Reason.ETAG_MISMATCH: ErrorKind.CONFLICT,
    Reason.RATE_LIMITED: ErrorKind.EXHAUSTED,
    Reason.PROGRAM_ARCHIVED: ErrorKind.FAILED_PRECONDITION,
    Reason.TEMPLATE_ARCHIVED: ErrorKind.FAILED_PRECONDITION,
    Reason.REVISION_NOT_PUBLISHED: ErrorKind.FAILED_PRECONDITION,
    Reason.TEMPLATE_HAS_ERRORS: ErrorKind.FAILED_PRECONDITION,
    Reason.INVALID_VALUES: ErrorKind.INVALID_INPUT,
    Reason.PASS_VOIDED: ErrorKind.FAILED_PRECONDITION,
    Reason.PASS_NOT_VOIDED: ErrorKind.FAILED_PRECONDITION,
    Reason.BATCH_REFUSED: ErrorKind.INVALID_INPUT,
    Reason.NO_SIGNING_IDENTITY: ErrorKind.FAILED_PRECONDITION,
    Reason.SIGNING_IDENTITY_EXPIRED: ErrorKind.FAILED_PRECONDITION,
    Reason.INVALID_SIGNING_IDENTITY: ErrorKind.INVALID_INPUT,
    Reason.INVALID_ASSET: ErrorKind.INVALID_INPUT,
    Reason.BUNDLE_TOO_LARGE: ErrorKind.FAILED_PRECONDITION,
    Reason.TENANT_SUSPENDED: ErrorKind.PERMISSION_DENIED,
    Reason.ALREADY_EXISTS: ErrorKind.ALREADY_EXISTS,
    Reason.INVALID_PAGE_TOKEN: ErrorKind.INVALID_INPUT,
    Reason.CAMPAIGN_STATE: ErrorKind.FAILED_PRECONDITION,
    Reason.OFFSET_GAP: ErrorKind.OUT_OF_RANGE,
    Reason.WRITER_FENCED: ErrorKind.FAILED_PRECONDITION,
    Reason.STREAM_STATE: ErrorKind.FAILED_PRECONDITION,
    Reason.CHECKSUM_MISMATCH: ErrorKind.INVALID_INPUT,
    Reason.DUPLICATE_RECIPIENT: ErrorKind.ALREADY_EXISTS,
    Reason.INVALID_CAMPAIGN: ErrorKind.INVALID_INPUT,
    Reason.INVALID_CURSOR: ErrorKind.INVALID_INPUT,
    Reason.CURSOR_EXPIRED: ErrorKind.OUT_OF_RANGE,
    Reason.TOO_MANY_DEVICES: ErrorKind.PERMISSION_DENIED,
    Reason.PASS_ERASED: ErrorKind.FAILED_PRECONDITION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One field that is not as it must be: `path` as in the request ("draft.values[\\"points\\"]"),
    `message` with what to do."""

    path: str
    message: str


@dataclass(slots=True, kw_only=True, eq=False)
class AppError(Exception):
    """A refusal or failure with a reason a client may branch on.

    `message` is for people and holds no secret and no driver's text. `metadata` are short
    machine-readable facts. `retry_after` is set when waiting helps.
    """

    reason: Reason
    message: str
    fields: Sequence[FieldError] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after: timedelta | None = None

    @property
    def kind(self) -> ErrorKind:
        """What the caller can do about it."""
        return KIND_OF_REASON[self.reason]

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def not_found(noun: str) -> AppError:
    """The same answer for an id that is unknown, malformed or another tenant's, so that nobody
    learns which."""
    return AppError(reason=Reason.NOT_FOUND, message=f"No {noun} with this id.")


def invalid_field(path: str, message: str) -> AppError:
    """One bad field."""
    return AppError(
        reason=Reason.INVALID_FIELD,
        message=f"{path}: {message}",
        fields=(FieldError(path=path, message=message),),
    )


def etag_mismatch(noun: str) -> AppError:
    """Somebody else changed it first."""
    return AppError(
        reason=Reason.ETAG_MISMATCH,
        message=f"The {noun} was changed since it was read. Read it again and repeat the change.",
    )
