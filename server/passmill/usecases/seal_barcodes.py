"""Seal barcodes: where passes are made and changed. Whoever shows a pass later has no key."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime

from passmill.domain.barcodes import (
    BarcodeKeyId,
    BarcodeSigner,
    not_after_of,
    seal_key_id,
    seal_not_after,
)
from passmill.domain.callers import Caller
from passmill.usecases.barcode_keys import BarcodeKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class BarcodeSealer:
    """Seals the barcodes of one tenant. `revoked`: keys whose seals prove nothing any more."""

    signer: BarcodeSigner
    revoked: Set[BarcodeKeyId]

    def seal(self, pass_id: bytes, *, expire_time: datetime | None, before: bytes | None) -> bytes:
        """The seal of a pass that expires then. The one that it had `before` in the same revision
        stays as long as it is good: so a key that is rotated changes no pass by itself."""
        not_after = not_after_of(expire_time)
        if (
            before is not None
            and seal_not_after(before) == not_after
            and seal_key_id(before) not in self.revoked
        ):
            return before
        return self.signer.seal(pass_id, not_after=not_after)


class SealBarcodes:
    """Gives each tenant its sealer."""

    __slots__ = ("_keys",)

    def __init__(self, *, keys: BarcodeKeys) -> None:
        self._keys = keys

    async def __call__(self, caller: Caller) -> BarcodeSealer:
        """The sealer of the caller's tenant, whose first key is made when there is none. AppError
        UNAVAILABLE, DEADLINE_EXCEEDED."""
        signer, revoked = await self._keys.sealing(caller)
        return BarcodeSealer(signer=signer, revoked=revoked)
