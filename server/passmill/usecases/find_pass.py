"""Find a pass by any of the names a caller may know it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from passmill.domain.callers import Caller
from passmill.domain.ids import PassId, parse_uuid
from passmill.domain.reference_ids import parse_reference_id
from passmill.errors import not_found
from passmill.store import passes
from passmill.store.database import Database, Transaction
from passmill.store.passes import ListedPass
from passmill.usecases.tenant_numbers import TenantNumbers


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRef:
    """One name of a pass, as typed; exactly one is not None."""

    pass_id: str | None = None
    reference_id: str | None = None
    serial_number: str | None = None


class FindPass:
    """Resolves references. Unknown, malformed and foreign ones are all NOT_FOUND."""

    def __init__(self, *, database: Database, numbers: TenantNumbers) -> None:
        self._database = database
        self._numbers = numbers

    async def __call__(self, caller: Caller, ref: PassRef) -> ListedPass:
        """The pass. AppError NOT_FOUND when there is none."""
        return (await self.many(caller, [ref]))[0]

    async def many(self, caller: Caller, refs: Sequence[PassRef]) -> list[ListedPass]:
        """The passes, in this order. AppError NOT_FOUND when one does not exist."""
        serial_numbers = await self._numbers.serial_numbers(caller)
        async with self._database.transaction(caller, read_only=True) as tx:
            pass_ids: list[PassId] = []
            for ref in refs:
                pass_id = (
                    serial_numbers.find(ref.serial_number)
                    if ref.serial_number is not None
                    else await _resolve(tx, ref)
                )
                if pass_id is None:
                    raise not_found("pass")
                pass_ids.append(pass_id)
            return await passes.get_passes(tx, pass_ids)


async def _resolve(tx: Transaction, ref: PassRef) -> PassId | None:
    if ref.pass_id is not None:
        parsed = parse_uuid(ref.pass_id)
        return None if parsed is None else PassId(parsed)
    number = parse_reference_id(ref.reference_id or "")
    return None if number is None else await passes.find_pass_id(tx, number)
