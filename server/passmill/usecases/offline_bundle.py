"""Offline bundle: what a scanner needs to check signed barcodes while it has no network."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from passmill.domain.barcodes import BarcodeKey
from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.domain.recent import Recent
from passmill.store.barcode_keys import list_barcode_keys
from passmill.store.database import Database
from passmill.store.voided_barcodes import read_voided_hashes

_VALID_FOR: Final = timedelta(hours=24)
_FRESH_SECONDS: Final = 10.0
_MAX_TENANTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineBundle:
    """Barcodes are to be taken that one of `keys` has signed, that are not over, and whose pass is
    not in `voided`: the `barcodes.offline_hash` of each such pass, 8 bytes each, sorted.

    `digest`: 16 bytes, the same as long as keys and passes are: who has it needs no copy.
    `valid_until`: then a scanner must have asked again.
    """

    keys: Sequence[BarcodeKey]
    voided: bytes = field(repr=False)
    digest: bytes
    create_time: datetime
    valid_until: datetime


class GetOfflineBundle:
    """Gives bundles of the caller's tenant. One that was made in the last ten seconds is given to
    others too, so that many scanners cost no more than one."""

    __slots__ = ("_clock", "_database", "_made", "_monotonic", "_valid_for")

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        valid_for: timedelta = _VALID_FOR,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`valid_for`: how long a scanner may go without another one. `monotonic`: seconds that no
        clock correction moves."""
        self._database = database
        self._clock = clock
        self._valid_for = valid_for
        self._monotonic = monotonic
        self._made: Recent[TenantId, OfflineBundle] = Recent(capacity=_MAX_TENANTS)

    async def __call__(self, caller: Caller) -> OfflineBundle:
        """The tenant's bundle. AppError UNAVAILABLE, DEADLINE_EXCEEDED."""
        asked = self._monotonic()
        bundle = self._made.find(caller.tenant_id, now=asked)
        if bundle is None:
            bundle = await self._make(caller)
            self._made.keep(caller.tenant_id, bundle, until=asked + _FRESH_SECONDS)
        return bundle

    async def _make(self, caller: Caller) -> OfflineBundle:
        now = self._clock.now()
        async with self._database.transaction(caller, read_only=True) as tx:
            keys = [each.key for each in await list_barcode_keys(tx)]
            trusted = [each for each in keys if each.revoke_time is None]
            voided = await read_voided_hashes(
                tx, trusted=[each.key_id for each in trusted], now=now
            )
        digest = hashlib.blake2b(voided, digest_size=16)
        for each in trusted:
            digest.update(each.key_id.to_bytes(2, "big") + each.public_key)
        return OfflineBundle(
            keys=trusted,
            voided=voided,
            digest=digest.digest(),
            create_time=now,
            valid_until=now + self._valid_for,
        )
