"""An issued pass and what may become of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from passmill.domain.ids import PassId, RevisionId, SigningIdentityId
from passmill.domain.reference_ids import ReferenceNumber
from passmill.domain.values import Value
from passmill.errors import AppError, FieldError, Reason


class PassState(enum.IntEnum):
    """Stored as its number."""

    ACTIVE = 1
    VOIDED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The person holding a pass. `phone` is E.164 or empty; `external_ids` maps a system's name to
    the id there."""

    name: str = ""
    phone: str = ""
    external_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassDraft:
    """What the issuer says of one pass; everything else comes from its template.

    `problems`: of values that could not even be read, by paths such as `values["points"]`.
    """

    holder: Holder
    values: Mapping[str, Value]
    expire_time: datetime | None
    tags: Sequence[str] = ()
    problems: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletPass:
    """One issued pass: the recipe its bundle is assembled from.

    `slot_values` is the canonical JSON of its values (`values_to_json`), which its revision's slots
    read. `digest` is the SHA-1 of the rendered pass.json that was, or shall be, signed at
    `signing_time` (whole seconds) by the identity named. `signature` is None between the commit of
    that intent and the signing. `tags`, sorted, are not on the pass. `personalize_time`: when its
    holder signed up with it in the wallet, None until then. `barcode_seal`: of its signed barcode
    (`domain/barcodes.py`), None where its revision has none. `is_erased`: voided and emptied with
    all that is its holder's, for good.
    """

    pass_id: PassId
    revision_id: RevisionId
    signing_identity_id: SigningIdentityId
    reference_number: ReferenceNumber
    create_time: datetime
    signing_time: datetime
    expire_time: datetime | None
    version: int
    token_generation: int
    state: PassState
    holder: Holder
    slot_values: str
    void_reason: str
    digest: bytes
    signature: bytes | None
    tags: tuple[str, ...] = ()
    personalize_time: datetime | None = None
    barcode_seal: bytes | None = None
    is_erased: bool = False

    @property
    def is_personalized(self) -> bool:
        """Whether its holder has signed up with it: it asks for no sign-up any more."""
        return self.personalize_time is not None

    @property
    def etag(self) -> str:
        """Changes with each change of content."""
        return f"v{self.version}"

    def require_not_erased(self) -> None:
        """AppError PASS_ERASED when its holder was erased: nothing is written on it any more."""
        if self.is_erased:
            raise AppError(
                reason=Reason.PASS_ERASED,
                message="The pass's holder was erased. Issue another pass instead.",
            )

    def with_digest(self, digest: bytes) -> WalletPass:
        """This pass, about to be signed with this digest."""
        return replace(self, digest=digest, signature=None)

    def voided(self, reason: str) -> WalletPass:
        """This pass made unusable. AppError PASS_VOIDED when it already is."""
        if self.state is PassState.VOIDED:
            raise AppError(reason=Reason.PASS_VOIDED, message="The pass is already voided.")
        return replace(self, state=PassState.VOIDED, void_reason=reason)

    def reinstated(self) -> WalletPass:
        """This pass made usable again. AppError PASS_NOT_VOIDED when it is usable, PASS_ERASED."""
        self.require_not_erased()
        if self.state is not PassState.VOIDED:
            raise AppError(reason=Reason.PASS_NOT_VOIDED, message="The pass is not voided.")
        return replace(self, state=PassState.ACTIVE, void_reason="")


def next_signing_time(now: datetime, *, previous: datetime | None) -> datetime:
    """When the next content is said to be signed: now in whole seconds, but at least a second after
    the previous one.

    A device compares whole seconds (If-Modified-Since), so two contents must never share one.
    """
    second = now.astimezone(UTC).replace(microsecond=0)
    if previous is None:
        return second
    return max(second, previous + timedelta(seconds=1))
