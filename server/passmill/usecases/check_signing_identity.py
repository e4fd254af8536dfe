"""Check a stored signing identity: open it, look at its dates, make a trial signature."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from passmill import errors
from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import SigningIdentityId
from passmill.domain.keyring import Keyring
from passmill.domain.tenants import StoredIdentity
from passmill.signing.identities import require_in_time, try_signature
from passmill.signing.native import SignerError
from passmill.store.signing_identities import IdentityReader


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityCheck:
    """What a check found. `problem` is empty when the identity can sign now, else why not and what
    to do. `days_left`: whole days until it expires, negative when it has."""

    identity: StoredIdentity
    problem: str
    days_left: int


class CheckSigningIdentity:
    """Checks identities; what is wrong with one is an answer here, not an error."""

    __slots__ = ("_clock", "_identities", "_keyring")

    def __init__(self, *, identities: IdentityReader, keyring: Keyring, clock: Clock) -> None:
        self._identities = identities
        self._keyring = keyring
        self._clock = clock

    async def __call__(
        self, caller: Caller, *, signing_identity_id: SigningIdentityId
    ) -> IdentityCheck:
        """Loads the identity anew, past every cache. AppError NOT_FOUND."""
        identity = await self._identities.get(caller, signing_identity_id)
        now = self._clock.now()
        return IdentityCheck(
            identity=identity,
            problem=await self._problem(identity, now),
            days_left=(identity.expire_time - now) // timedelta(days=1),
        )

    async def _problem(self, identity: StoredIdentity, now: datetime) -> str:
        try:
            require_in_time(identity, now)
            await asyncio.to_thread(
                try_signature, identity, wrapping_key=self._keyring.wrapping_key, now=now
            )
        except errors.AppError as refusal:
            return refusal.message
        except SignerError as error:
            return str(error)
        return ""
