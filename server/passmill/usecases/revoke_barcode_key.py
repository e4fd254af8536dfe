"""Revoke a barcode key: what it has sealed proves nothing any more."""

from __future__ import annotations

import json

import structlog

from passmill.domain.barcodes import BarcodeKey, BarcodeKeyId
from passmill.domain.clock import Clock
from passmill.domain.keyring import Keyring
from passmill.store import barcode_keys
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.usecases.barcode_keys import BarcodeKeys, make_key
from passmill.usecases.mutation import Answer, Mutation, Mutator


class RevokeBarcodeKey:
    """Ends keys of the tenant that the mutation's caller acts for."""

    __slots__ = ("_audit", "_clock", "_keyring", "_keys", "_mutator")

    def __init__(
        self, *, mutator: Mutator, keyring: Keyring, keys: BarcodeKeys, clock: Clock
    ) -> None:
        self._mutator = mutator
        self._keyring = keyring
        self._keys = keys
        self._clock = clock
        self._audit = structlog.get_logger("passmill.audit")

    async def __call__(self, mutation: Mutation[BarcodeKey], *, key_id: BarcodeKeyId) -> Answer:
        """The key, ended for good; all processes refuse what it sealed within five seconds. If it
        was the one that seals, its successor is made. One revoked before is left as it is.

        Passes that it sealed are sealed anew when they are changed. Those that are made while it is
        revoked may still have a seal of it for those five seconds. AppError NOT_FOUND.
        """

        async def work(tx: Transaction) -> BarcodeKey:
            await barcode_keys.lock_barcode_keys(tx)
            now = self._clock.now()
            key = await barcode_keys.revoke_barcode_key(tx, key_id, now=now)
            stored = await barcode_keys.list_barcode_keys(tx)
            if all(each.wrapped_private_key is None for each in stored):
                await make_key(tx, stored, keyring=self._keyring, now=now)
            await insert_event(
                tx,
                kind="barcode_key.revoked",
                pass_ids=[],
                detail=json.dumps({"barcode_key_id": str(key_id)}),
                now=now,
            )
            return key

        answer = await self._mutator.run(mutation, work)
        if not (answer.is_replayed or mutation.validate_only):
            self._keys.forget(mutation.caller.tenant_id)
            self._audit.info(
                "barcode_key.revoked",
                tenant_id=mutation.caller.tenant_id,
                barcode_key_id=key_id,
                by=mutation.caller.key_id,
            )
        return answer
