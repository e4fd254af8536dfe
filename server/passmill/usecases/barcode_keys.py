"""The keys that seal barcodes: read once in a while, made when they are needed first."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from weakref import WeakValueDictionary

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from passmill.domain.barcodes import LAST_KEY_ID, BarcodeKey, BarcodeKeyId, BarcodeSigner
from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.domain.keyring import Keyring
from passmill.domain.recent import Recent
from passmill.errors import AppError, Reason
from passmill.store import barcode_keys
from passmill.store.barcode_keys import StoredBarcodeKey
from passmill.store.database import Database, Transaction
from passmill.store.outbox import insert_event

_FRESH_SECONDS: Final = 4.0
_MAX_TENANTS: Final = 10_000
_MOST_KEYS: Final = 10_000  # so that a free number is soon found


@dataclass(frozen=True, slots=True)
class _Keys:
    """A tenant's keys, and the one of them that seals, opened. `asked`: when the database was."""

    by_id: Mapping[BarcodeKeyId, BarcodeKey]
    signer: BarcodeSigner | None
    revoked: Set[BarcodeKeyId]
    asked: float


class BarcodeKeys:
    """The barcode keys of each tenant. What is known of them may be four seconds old: so a revoked
    key is refused within five seconds everywhere."""

    __slots__ = ("_clock", "_database", "_keyring", "_known", "_monotonic", "_reading")

    def __init__(
        self,
        *,
        database: Database,
        keyring: Keyring,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`monotonic`: seconds that no clock correction moves."""
        self._database = database
        self._keyring = keyring
        self._clock = clock
        self._monotonic = monotonic
        self._known: Recent[TenantId, _Keys] = Recent(capacity=_MAX_TENANTS)
        # A lock lives as long as somebody holds it or waits for it.
        self._reading: WeakValueDictionary[TenantId, asyncio.Lock] = WeakValueDictionary()

    async def find(self, caller: Caller, key_id: BarcodeKeyId) -> BarcodeKey | None:
        """The tenant's key of this id, None when it has none. AppError UNAVAILABLE,
        DEADLINE_EXCEEDED."""
        known = self._known.find(caller.tenant_id, now=self._monotonic())
        if known is None or key_id not in known.by_id:  # another process may just have made it
            known = await self._read_together(caller)
        return known.by_id.get(key_id)

    async def sealing(self, caller: Caller) -> tuple[BarcodeSigner, Set[BarcodeKeyId]]:
        """The key that seals the tenant's barcodes now, made if there is none yet, and those that
        are revoked. AppError as `find`; INTERNAL when the key is of another master key."""
        known = self._known.find(caller.tenant_id, now=self._monotonic())
        if known is None or known.signer is None:
            known = await self._read_together(caller)
        if known.signer is None:
            await self._make_first(caller)
            known = await self._read_together(caller)
        if known.signer is None:
            raise AppError(
                reason=Reason.INTERNAL,
                message="The barcode key cannot be opened. Its operator should run"
                " RotateBarcodeKey.",
            )
        return known.signer, known.revoked

    def forget(self, tenant_id: TenantId) -> None:
        """Lets a committed change show at once in this process."""
        self._known.forget(tenant_id)

    async def _read_together(self, caller: Caller) -> _Keys:
        """The keys as they are now: those who ask meanwhile wait for one answer."""
        asked = self._monotonic()
        lock = self._reading.get(caller.tenant_id)
        if lock is None:
            lock = self._reading[caller.tenant_id] = asyncio.Lock()
        async with lock:
            known = self._known.find(caller.tenant_id, now=self._monotonic())
            if known is not None and known.asked > asked:
                return known
            return await self._read(caller)

    async def _read(self, caller: Caller) -> _Keys:
        # Counted from before the question: the answer may be as old as that when it arrives.
        asked = self._monotonic()
        async with self._database.transaction(caller, read_only=True) as tx:
            stored = await barcode_keys.list_barcode_keys(tx)
        known = _Keys(
            by_id={each.key.key_id: each.key for each in stored},
            signer=self._open(caller.tenant_id, stored),
            revoked={each.key.key_id for each in stored if each.key.revoke_time is not None},
            asked=asked,
        )
        self._known.keep(caller.tenant_id, known, until=asked + _FRESH_SECONDS)
        return known

    async def _make_first(self, caller: Caller) -> None:
        async with self._database.transaction(caller) as tx:
            await barcode_keys.lock_barcode_keys(tx)
            stored = await barcode_keys.list_barcode_keys(tx)
            if all(each.wrapped_private_key is None for each in stored):
                await make_key(tx, stored, keyring=self._keyring, now=self._clock.now())

    def _open(
        self, tenant_id: TenantId, stored: Sequence[StoredBarcodeKey]
    ) -> BarcodeSigner | None:
        for each in stored:
            if each.wrapped_private_key is not None:
                try:
                    private_key = self._keyring.unwrap_barcode_key(
                        each.wrapped_private_key, context=_context(tenant_id, each.key.key_id)
                    )
                except ValueError:  # of another master key; what it has sealed is read all the same
                    return None
                return BarcodeSigner(
                    tenant_id=tenant_id, key_id=each.key.key_id, private_key=private_key
                )
        return None


async def make_key(
    tx: Transaction, before: Sequence[StoredBarcodeKey], *, keyring: Keyring, now: datetime
) -> BarcodeKey:
    """Writes a new key, which seals from now on, with its event. `before`: all that there are, none
    of which seals any more, under the lock. AppError RATE_LIMITED when the numbers are used up."""
    taken = {each.key.key_id for each in before}
    if len(taken) >= _MOST_KEYS:
        raise AppError(
            reason=Reason.RATE_LIMITED, message=f"A tenant has at most {_MOST_KEYS} barcode keys."
        )
    key_id = BarcodeKeyId(1 + secrets.randbelow(LAST_KEY_ID))
    while key_id in taken:
        key_id = BarcodeKeyId(1 + secrets.randbelow(LAST_KEY_ID))
    private_key = Ed25519PrivateKey.generate()
    key = BarcodeKey(
        key_id=key_id, public_key=private_key.public_key().public_bytes_raw(), create_time=now
    )
    wrapped = keyring.wrap_barcode_key(
        private_key.private_bytes_raw(), context=_context(tx.tenant_id, key_id)
    )
    await barcode_keys.insert_barcode_key(
        tx, StoredBarcodeKey(key=key, wrapped_private_key=wrapped)
    )
    await insert_event(
        tx,
        kind="barcode_key.created",
        pass_ids=[],
        detail=json.dumps({"barcode_key_id": str(key_id)}),
        now=now,
    )
    return key


def _context(tenant_id: TenantId, key_id: BarcodeKeyId) -> bytes:
    return b"%d/%d" % (tenant_id, key_id)
