"""From what staff have in hand to the pass: a barcode, a number read out, a telephone number.

What can be guessed is limited for each key: reference ids by those that are none (`FindPass`), of
telephone numbers each, as they find somebody too often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from passmill.domain.barcodes import CodeRefusal
from passmill.domain.callers import Caller
from passmill.domain.passes import PassState
from passmill.domain.rates import Rates
from passmill.domain.scanners import Desk, ScannerRight
from passmill.domain.scans import RefusalReason
from passmill.domain.telephones import is_e164, without_punctuation
from passmill.errors import AppError, Reason
from passmill.store.database import Database
from passmill.store.passes import ListedPass, PassFilter, newest_passes
from passmill.usecases.find_pass import FindPass, PassRef
from passmill.usecases.read_barcode import ReadBarcode, ReadCode

MOST_OF_A_PHONE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRef:
    """What staff have of a pass, as read or typed; exactly one is not None."""

    barcode: str | None = field(default=None, repr=False)
    serial_number: str | None = field(default=None, repr=False)
    reference_id: str | None = None
    phone: str | None = field(default=None, repr=False)
    pass_id: str | None = None

    @property
    def is_typed(self) -> bool:
        """Whether it is short enough to be guessed, so that looking it up takes a right."""
        return self.reference_id is not None or self.phone is not None


class ResolveScan:
    """Finds passes by what was scanned or typed."""

    __slots__ = ("_database", "_find_pass", "_phones", "_read_barcode")

    def __init__(
        self,
        *,
        database: Database,
        find_pass: FindPass,
        read_barcode: ReadBarcode,
        phones: Rates,
    ) -> None:
        """`phones`: how often each key may ask for a telephone number."""
        self._database = database
        self._find_pass = find_pass
        self._read_barcode = read_barcode
        self._phones = phones

    async def name(self, caller: Caller, desk: Desk, ref: ScanRef) -> PassRef | RefusalReason:
        """One pass's name, or why there is none; whether it exists is not looked at, but of a
        telephone number. AppError RATE_LIMITED."""
        if ref.is_typed and not desk.may(ScannerRight.LOOK_UP):
            return RefusalReason.RIGHT_MISSING
        if ref.phone is not None:
            found = await self._by_phone(caller, ref.phone)
            good = [each for each in found if each.wallet_pass.state is not PassState.VOIDED]
            found = good or found
            if len(found) > 1:
                return RefusalReason.SEVERAL_PASSES
            if not found:
                return RefusalReason.UNKNOWN_CODE
            return PassRef(pass_id=str(found[0].wallet_pass.pass_id))
        if ref.barcode is not None:
            return await self._by_barcode(caller, ref.barcode)
        return PassRef(
            pass_id=ref.pass_id, reference_id=ref.reference_id, serial_number=ref.serial_number
        )

    async def passes(
        self, caller: Caller, desk: Desk, ref: ScanRef
    ) -> Sequence[ListedPass] | RefusalReason:
        """The passes that fit, or why there is none: one, but of a telephone number up to twenty,
        the newest first. AppError RATE_LIMITED."""
        if ref.phone is not None:
            if not desk.may(ScannerRight.LOOK_UP):
                return RefusalReason.RIGHT_MISSING
            return await self._by_phone(caller, ref.phone) or RefusalReason.UNKNOWN_CODE
        name = await self.name(caller, desk, ref)
        if isinstance(name, RefusalReason):
            return name
        try:
            return [await self._find_pass(caller, name)]
        except AppError as error:
            if error.reason is not Reason.NOT_FOUND:
                raise
        return RefusalReason.UNKNOWN_CODE

    async def _by_barcode(self, caller: Caller, text: str) -> PassRef | RefusalReason:
        read = await self._read_barcode(caller, text)
        if isinstance(read, ReadCode):
            return PassRef(pass_id=str(read.pass_id))
        if read.reason is CodeRefusal.EXPIRED_CODE and read.pass_id is not None:
            # Signed by us, and certainly of this pass: it may have been prolonged since, and its
            # row says so.
            return PassRef(pass_id=str(read.pass_id))
        return RefusalReason[read.reason.name]

    async def _by_phone(self, caller: Caller, text: str) -> list[ListedPass]:
        wait = self._phones.wait(caller.key_id)
        if wait > 0:
            raise _limited(wait)
        self._phones.charge(caller.key_id)
        phone = without_punctuation(text)
        found: list[ListedPass] = []
        if is_e164(phone):
            async with self._database.statement(caller) as tx:
                wanted = PassFilter(holder_phone=phone)
                found = await newest_passes(tx, wanted, at_most=MOST_OF_A_PHONE)
        return found


def _limited(seconds: float) -> AppError:
    return AppError(
        reason=Reason.RATE_LIMITED,
        message="This key has asked for too many telephone numbers. Scan the pass, or wait.",
        retry_after=timedelta(seconds=seconds),
    )
