"""Signing identities ready to sign: opened once, kept while there is room, checked on each use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol, TypeAlias
from weakref import WeakValueDictionary

from passmill._signer import (
    IdentityExpired,
    InvalidIdentity,
    PreparedRevision,
    SigningCertificate,
    SigningIdentity,
    sign_batch,
)
from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import SigningIdentityId, TenantId
from passmill.domain.recent import Recent
from passmill.domain.tenants import StoredIdentity
from passmill.errors import AppError, Reason

_ACTIVE_SECONDS: Final = 4.0
_MAX_IDENTITIES: Final = 1_000  # an opened RSA key takes some kilobytes
_MAX_ACTIVE: Final = 10_000

# A pixel, as a bundle needs an icon.
_TRIAL_ICON: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55000000"
    "0a4944415478da6360000000020001e527defc0000000049454e44ae426082"
)
# The pass `{}`, and its line.
_TRIAL_DOCUMENT: Final = (
    '{"built_ins":[],"slots":[],"decimals":{},"document":{"object":[],"whole":[],"keep":true}}'
)
_TRIAL_LINE: Final = b"[{}]\n"

_IdentityKey: TypeAlias = tuple[TenantId, SigningIdentityId]
_TypeKey: TypeAlias = tuple[TenantId, str]


class IdentityLoader(Protocol):
    """Reads identities as they are stored (`store.signing_identities.IdentityReader`)."""

    async def get(self, caller: Caller, signing_identity_id: SigningIdentityId) -> StoredIdentity:
        """The identity. AppError NOT_FOUND."""
        ...

    async def find_active(self, caller: Caller, pass_type_identifier: str) -> StoredIdentity | None:
        """The identity that signs this pass type."""
        ...


class IdentityCache:
    """Opened identities of one process.

    Whoever asks for one that is being opened waits for that; when it fails or its asker goes away,
    the next in line tries. Keys never leave the signer: what is kept here is an opaque handle,
    whose key is wiped when it is given up.
    """

    __slots__ = (
        "_active",
        "_certificates",
        "_clock",
        "_identities",
        "_loader",
        "_loading",
        "_monotonic",
        "_wrapping_key",
    )

    def __init__(
        self,
        *,
        loader: IdentityLoader,
        wrapping_key: bytes,
        clock: Clock,
        capacity: int = _MAX_IDENTITIES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wrapping_key`: 32 bytes, under which the stored keys are encrypted. `capacity`: so many
        stay open. `monotonic`: seconds that no clock correction moves."""
        self._monotonic = monotonic
        self._loader = loader
        self._wrapping_key = wrapping_key
        self._clock = clock
        self._identities: Recent[_IdentityKey, SigningIdentity] = Recent(capacity=capacity)
        self._certificates: Recent[_IdentityKey, SigningCertificate] = Recent(capacity=capacity)
        self._active: Recent[_TypeKey, SigningIdentityId] = Recent(capacity=_MAX_ACTIVE)
        # A lock lives as long as somebody holds it or waits for it.
        self._loading: WeakValueDictionary[_IdentityKey | _TypeKey, asyncio.Lock] = (
            WeakValueDictionary()
        )

    async def load(self, caller: Caller, signing_identity_id: SigningIdentityId) -> SigningIdentity:
        """The caller's identity with this id, opened.

        AppError NOT_FOUND, or SIGNING_IDENTITY_EXPIRED when now is not within its dates.
        """
        key = (caller.tenant_id, signing_identity_id)
        identity = self._identities.find(key)
        if identity is None:
            async with self._lock(key):
                identity = self._identities.find(key)
                if identity is None:
                    stored = await self._loader.get(caller, signing_identity_id)
                    identity = await self._open(key, stored)
        self._require_in_time(identity.certificate)
        return identity

    async def active(
        self, caller: Caller, pass_type_identifier: str
    ) -> tuple[SigningIdentityId, SigningIdentity]:
        """The identity that signs this pass type, opened; which one that is may be four seconds
        old.

        AppError NO_SIGNING_IDENTITY, or SIGNING_IDENTITY_EXPIRED when now is not within its dates.
        """
        key = (caller.tenant_id, pass_type_identifier)
        found = self._find_active(key)
        if found is None:
            async with self._lock(key):
                found = self._find_active(key) or await self._load_active(caller, key)
        self._require_in_time(found[1].certificate)
        return found

    async def certificate(
        self, caller: Caller, signing_identity_id: SigningIdentityId
    ) -> SigningCertificate:
        """The public half, enough to assemble what was signed, also after it expired. AppError
        NOT_FOUND."""
        key = (caller.tenant_id, signing_identity_id)
        certificate = self._certificates.find(key)
        if certificate is None:
            certificate = certificate_of(await self._loader.get(caller, signing_identity_id))
            self._certificates.keep(key, certificate)
        return certificate

    def _find_active(self, key: _TypeKey) -> tuple[SigningIdentityId, SigningIdentity] | None:
        identity_id = self._active.find(key, now=self._monotonic())
        if identity_id is None:
            return None
        identity = self._identities.find((key[0], identity_id))
        if identity is None or self._is_out_of_time(identity.certificate):
            return None  # an expired one may have been replaced a moment ago: look again
        return identity_id, identity

    async def _load_active(
        self, caller: Caller, key: _TypeKey
    ) -> tuple[SigningIdentityId, SigningIdentity]:
        # Counted from before the question: the answer may be as old as that when it arrives.
        asked = self._monotonic()
        stored = await self._loader.find_active(caller, key[1])
        if stored is None:
            raise AppError(
                reason=Reason.NO_SIGNING_IDENTITY,
                message=f"No active signing identity for {key[1]}. Upload its certificate with"
                " UploadSigningIdentity and activate it.",
                metadata={"pass_type_identifier": key[1]},
            )
        identity_key = (key[0], stored.signing_identity_id)
        identity = self._identities.find(identity_key)
        if identity is None:
            async with self._lock(identity_key):
                identity = self._identities.find(identity_key)
                if identity is None:
                    identity = await self._open(identity_key, stored)
        self._active.keep(key, stored.signing_identity_id, until=asked + _ACTIVE_SECONDS)
        return stored.signing_identity_id, identity

    async def _open(self, key: _IdentityKey, stored: StoredIdentity) -> SigningIdentity:
        now = self._clock.now()
        require_in_time(stored, now)
        try:
            identity = await asyncio.to_thread(
                open_identity, stored, wrapping_key=self._wrapping_key, now=now
            )
        except IdentityExpired as error:
            raise refusal_of(error) from error
        except InvalidIdentity as error:
            # It was checked when it was uploaded: the fault is not the caller's.
            raise AppError(
                reason=Reason.INTERNAL,
                message="The stored signing identity cannot be opened. Its operator should run"
                " CheckSigningIdentity.",
                metadata={"cause": error.reason},
            ) from error
        self._identities.keep(key, identity)
        self._certificates.keep(key, identity.certificate)
        return identity

    def _lock(self, key: _IdentityKey | _TypeKey) -> asyncio.Lock:
        lock = self._loading.get(key)
        if lock is None:
            lock = self._loading[key] = asyncio.Lock()
        return lock

    def _is_out_of_time(self, certificate: SigningCertificate) -> bool:
        now = self._clock.now().timestamp()
        return not certificate.not_before <= now <= certificate.not_after

    def _require_in_time(self, certificate: SigningCertificate) -> None:
        if self._is_out_of_time(certificate):
            raise _out_of_time(certificate.pass_type_identifier)


def require_team(identity: SigningIdentity, team_identifier: str) -> None:
    """AppError NO_SIGNING_IDENTITY when the certificate is not of the team that a revision names:
    Wallet would refuse every such pass."""
    if identity.certificate.team_identifier != team_identifier:
        raise AppError(
            reason=Reason.NO_SIGNING_IDENTITY,
            message="The active signing identity is of another team than the revision. Publish the"
            " template again, or activate an identity of its team.",
        )


def certificate_of(stored: StoredIdentity) -> SigningCertificate:
    """The public half of a stored identity."""
    return SigningCertificate.from_der(stored.leaf_der, stored.intermediate_der)


def open_identity(stored: StoredIdentity, *, wrapping_key: bytes, now: datetime) -> SigningIdentity:
    """A stored identity with its key: some milliseconds, so off the loop. InvalidIdentity when it
    was wrapped under another key, IdentityExpired when `now` is not within its dates."""
    return SigningIdentity.unwrap(
        stored.wrapped_key,
        wrapping_key=wrapping_key,
        certificate=certificate_of(stored),
        now=int(now.timestamp()),
    )


def try_signature(stored: StoredIdentity, *, wrapping_key: bytes, now: datetime) -> None:
    """Opens an identity and signs nothing of use with it, off the loop. SignerError when it cannot:
    the signer checks each signature with the public key."""
    identity = open_identity(stored, wrapping_key=wrapping_key, now=now)
    revision = PreparedRevision({"icon.png": _TRIAL_ICON}, _TRIAL_DOCUMENT)
    sign_batch(revision, _TRIAL_LINE, identity, [int(now.timestamp())], threads=1)


def require_in_time(stored: StoredIdentity, now: datetime) -> None:
    """AppError SIGNING_IDENTITY_EXPIRED when `now` is not within the identity's dates."""
    if not stored.valid_from <= now <= stored.expire_time:
        raise _out_of_time(stored.pass_type_identifier)


def refusal_of(error: InvalidIdentity) -> AppError:
    """The signer's refusal of an identity as ours, with its reason as `cause`."""
    return AppError(
        reason=Reason.SIGNING_IDENTITY_EXPIRED
        if isinstance(error, IdentityExpired)
        else Reason.INVALID_SIGNING_IDENTITY,
        message=str(error),
        metadata={"cause": error.reason},
    )


def _out_of_time(pass_type_identifier: str) -> AppError:
    return AppError(
        reason=Reason.SIGNING_IDENTITY_EXPIRED,
        message=f"The signing identity of {pass_type_identifier} is expired or not yet valid."
        " Upload a current certificate and activate it.",
        metadata={"pass_type_identifier": pass_type_identifier},
    )
