"""Authenticate: from an `authorization` header to the caller and its rights.

Whatever is wrong with a credential, the answer is the same. What the database said of a key is
used again for a few seconds, so that a till's calls do not each pay for it, and a revoked key is
refused within five seconds everywhere.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from passmill.domain.api_keys import bearer_token, hash_secret, parse_api_key
from passmill.domain.callers import Caller, internal_caller, operator_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import OPERATOR_TENANT
from passmill.domain.recent import Recent
from passmill.domain.tenants import ApiKey, TenantState
from passmill.errors import AppError, Reason
from passmill.store.api_keys import find_presented_key
from passmill.store.database import Database

_KNOWN_SECONDS: Final = 4.0
_UNKNOWN_SECONDS: Final = 1.0
_MAX_KNOWN: Final = 10_000
_MAX_UNKNOWN: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _KnownKey:
    api_key: ApiKey
    tenant_state: TenantState


class Authenticate:
    """Knows callers by their API keys."""

    __slots__ = ("_clock", "_database", "_known", "_looking_up", "_monotonic", "_unknown")

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`monotonic`: seconds that no clock correction moves, for how long answers are kept."""
        self._database = database
        self._clock = clock
        self._monotonic = monotonic
        self._known: Recent[str, _KnownKey] = Recent(capacity=_MAX_KNOWN)
        # Apart, so that guessed key ids cannot drive out those in use.
        self._unknown: Recent[str, bool] = Recent(capacity=_MAX_UNKNOWN)
        # A lock lives as long as somebody holds it or waits for it.
        self._looking_up: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def authenticate(self, credential: str | None, *, deadline: float) -> Caller:
        """The caller behind an `authorization` header; `deadline` in seconds of the loop's clock.

        AppError UNAUTHENTICATED when the key is missing, malformed, unknown, revoked or expired;
        TENANT_SUSPENDED when the key is right and its tenant was stopped.
        """
        token = bearer_token(credential)
        presented = parse_api_key(token) if token is not None else None
        if presented is None:
            raise _unauthenticated()
        known = await self._find(presented.key_id, deadline)
        if known is None:
            raise _unauthenticated()
        api_key = known.api_key
        if not hmac.compare_digest(api_key.secret_hash, presented.secret_hash):
            raise _unauthenticated()
        if not api_key.is_usable(self._clock.now()):
            raise _unauthenticated()
        if known.tenant_state is TenantState.SUSPENDED:
            raise AppError(
                reason=Reason.TENANT_SUSPENDED,
                message="The tenant of this API key is suspended. Ask the service's operator.",
            )
        return Caller(
            tenant_id=api_key.tenant_id,
            key_id=api_key.key_id,
            scopes=api_key.scopes,
            deadline=deadline,
        )

    async def _find(self, key_id: str, deadline: float) -> _KnownKey | None:
        is_recent, known = self._recall(key_id)
        if is_recent:
            return known
        lock = self._looking_up.get(key_id)
        if lock is None:
            lock = self._looking_up[key_id] = asyncio.Lock()
        async with lock:
            is_recent, known = self._recall(key_id)
            return known if is_recent else await self._look_up(key_id, deadline)

    def _recall(self, key_id: str) -> tuple[bool, _KnownKey | None]:
        now = self._monotonic()
        known = self._known.find(key_id, now=now)
        return known is not None or self._unknown.find(key_id, now=now) is not None, known

    async def _look_up(self, key_id: str, deadline: float) -> _KnownKey | None:
        # Counted from before the question: the answer may be as old as that when it arrives.
        asked = self._monotonic()
        nobody = internal_caller(OPERATOR_TENANT, deadline=deadline)
        async with self._database.transaction(nobody, read_only=True, presented_key=key_id) as tx:
            found = await find_presented_key(tx, key_id)
        if found is None:
            self._unknown.keep(key_id, True, until=asked + _UNKNOWN_SECONDS)
            return None
        known = _KnownKey(api_key=found[0], tenant_state=found[1])
        self._known.keep(key_id, known, until=asked + _KNOWN_SECONDS)
        return known


class AuthenticateOperator:
    """For the admin port: knows the operator by the operator's key, others by their API keys."""

    __slots__ = ("_authenticate", "_operator_key_hash")

    def __init__(self, *, authenticate: Authenticate, operator_key_hash: bytes) -> None:
        """`operator_key_hash`: SHA-256 of the operator's key (32 bytes)."""
        if len(operator_key_hash) != 32:
            raise ValueError("The operator key's hash must be a SHA-256, 32 bytes.")
        self._authenticate = authenticate
        self._operator_key_hash = operator_key_hash

    async def authenticate(self, credential: str | None, *, deadline: float) -> Caller:
        """As `Authenticate.authenticate`, and the operator for the operator's key."""
        token = bearer_token(credential)
        if token and hmac.compare_digest(hash_secret(token), self._operator_key_hash):
            return operator_caller(deadline=deadline)
        return await self._authenticate.authenticate(credential, deadline=deadline)


def _unauthenticated() -> AppError:
    return AppError(
        reason=Reason.UNAUTHENTICATED,
        message="No valid API key. Send one as `authorization: Bearer pm_…`.",
    )
