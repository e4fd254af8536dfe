"""Read a barcode: from what a scanner gives to the pass that it names, or why it names none.

What is refused here is an ordinary answer. What is read names a pass; whether there is one, and in
which state, its row says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from passmill.domain.barcodes import (
    CodeKind,
    CodeRefusal,
    check_signed,
    find_code,
    parse_signed,
)
from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId
from passmill.domain.pass_tokens import PassTokens
from passmill.usecases.barcode_keys import BarcodeKeys
from passmill.usecases.tenant_numbers import TenantNumbers


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCode:
    """A code that names a pass of the caller's tenant."""

    pass_id: PassId
    kind: CodeKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCode:
    """A code that is not to be believed. `pass_id`: which pass it was of, where that is certain: of
    EXPIRED_CODE alone (its pass may have been prolonged since)."""

    reason: CodeRefusal
    pass_id: PassId | None = None


class ReadBarcode:
    """Reads the barcodes of the caller's tenant."""

    __slots__ = ("_clock", "_keys", "_numbers", "_tokens")

    def __init__(
        self, *, keys: BarcodeKeys, numbers: TenantNumbers, tokens: PassTokens, clock: Clock
    ) -> None:
        self._keys = keys
        self._numbers = numbers
        self._tokens = tokens
        self._clock = clock

    async def __call__(self, caller: Caller, scanned: str) -> ReadCode | RefusedCode:
        """The pass that a scanned text names. `scanned`: a signed token, a handle or a serial
        number, bare or in an address. AppError UNAVAILABLE, DEADLINE_EXCEEDED."""
        code = find_code(scanned)
        if code is None:
            return _UNKNOWN
        match code.kind:
            case CodeKind.SIGNED:
                return await self._read_signed(caller, code.text)
            case CodeKind.HANDLE:
                pass_id = self._tokens.barcode_handles(caller.tenant_id).find(code.text)
            case CodeKind.SERIAL:
                pass_id = (await self._numbers.serial_numbers(caller)).find(code.text)
            case _:
                assert_never(code.kind)
        return _UNKNOWN if pass_id is None else ReadCode(pass_id=pass_id, kind=code.kind)

    async def _read_signed(self, caller: Caller, text: str) -> ReadCode | RefusedCode:
        barcode = parse_signed(text)
        if barcode is None:
            return _UNKNOWN
        if barcode.tenant_id != caller.tenant_id:
            return RefusedCode(reason=CodeRefusal.WRONG_TENANT)
        key = await self._keys.find(caller, barcode.key_id)
        refusal = check_signed(barcode, key, tenant_id=caller.tenant_id, now=self._clock.now())
        if refusal is None:
            return ReadCode(pass_id=barcode.pass_id, kind=CodeKind.SIGNED)
        is_certain = refusal is CodeRefusal.EXPIRED_CODE
        return RefusedCode(reason=refusal, pass_id=barcode.pass_id if is_certain else None)


_UNKNOWN = RefusedCode(reason=CodeRefusal.UNKNOWN_CODE)
