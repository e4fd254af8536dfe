"""Make a new key that seals barcodes."""

from __future__ import annotations

import structlog

from passmill.domain.barcodes import BarcodeKey
from passmill.domain.clock import Clock
from passmill.domain.keyring import Keyring
from passmill.store import barcode_keys
from passmill.store.database import Transaction
from passmill.store.tenants import get_tenant
from passmill.usecases.barcode_keys import BarcodeKeys, make_key
from passmill.usecases.mutation import Answer, Mutation, Mutator


class RotateBarcodeKey:
    """Makes keys of the tenant that the mutation's caller acts for."""

    __slots__ = ("_audit", "_clock", "_keyring", "_keys", "_mutator")

    def __init__(
        self, *, mutator: Mutator, keyring: Keyring, keys: BarcodeKeys, clock: Clock
    ) -> None:
        self._mutator = mutator
        self._keyring = keyring
        self._keys = keys
        self._clock = clock
        self._audit = structlog.get_logger("passmill.audit")

    async def __call__(self, mutation: Mutation[BarcodeKey]) -> Answer:
        """The new key, with which all processes seal within five seconds. What the one before has
        sealed stays good, and no pass changes by itself. AppError NOT_FOUND when there is no such
        tenant."""

        async def work(tx: Transaction) -> BarcodeKey:
            await get_tenant(tx, tx.tenant_id)
            return await replace_sealing_key(tx, keyring=self._keyring, clock=self._clock)

        answer = await self._mutator.run(mutation, work)
        if not (answer.is_replayed or mutation.validate_only):
            self._keys.forget(mutation.caller.tenant_id)
            self._audit.info(
                "barcode_key.created",
                tenant_id=mutation.caller.tenant_id,
                by=mutation.caller.key_id,
            )
        return answer


async def replace_sealing_key(tx: Transaction, *, keyring: Keyring, clock: Clock) -> BarcodeKey:
    """Retires the key that seals, if there is one, and makes its successor."""
    await barcode_keys.lock_barcode_keys(tx)
    now = clock.now()
    await barcode_keys.retire_active_key(tx, now=now)
    return await make_key(tx, await barcode_keys.list_barcode_keys(tx), keyring=keyring, now=now)
