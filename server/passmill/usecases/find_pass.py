"""Find a pass by any of the names a caller may know it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from passmill.domain.callers import Caller
from passmill.domain.ids import PassId, SerialNumbers, parse_uuid
from passmill.domain.rates import Rates
from passmill.domain.reference_ids import ReferenceNumber, parse_reference_id
from passmill.errors import AppError, Reason, not_found
from passmill.store import passes
from passmill.store.database import Database
from passmill.store.passes import ListedPass
from passmill.usecases.tenant_numbers import TenantNumbers


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRef:
    """One name of a pass, as typed; exactly one is not None."""

    pass_id: str | None = None
    reference_id: str | None = None
    serial_number: str | None = None


class FindPass:
    """Resolves references. Unknown, malformed and foreign ones are all NOT_FOUND.

    Reference ids are short enough to be guessed: a key that has named too many that are none is
    RATE_LIMITED, whichever it names then.
    """

    def __init__(
        self, *, database: Database, numbers: TenantNumbers, misses: Rates | None = None
    ) -> None:
        """`misses`: how often each key may name a reference id that is none; None for work of the
        service's own, which guesses nothing."""
        self._database = database
        self._numbers = numbers
        self._misses = misses

    async def __call__(self, caller: Caller, ref: PassRef) -> ListedPass:
        """The pass. AppError NOT_FOUND when there is none, RATE_LIMITED."""
        return (await self.many(caller, [ref]))[0]

    async def many(self, caller: Caller, refs: Sequence[PassRef]) -> list[ListedPass]:
        """The passes, in this order. AppError NOT_FOUND when one does not exist, RATE_LIMITED."""
        found = [each for each in await self.known(caller, refs) if each is not None]
        if len(found) < len(refs):
            raise not_found("pass")
        return found

    async def known(self, caller: Caller, refs: Sequence[PassRef]) -> list[ListedPass | None]:
        """As `many`, with None for those that do not exist."""
        serial_numbers = await self._numbers.serial_numbers(caller)
        keys = [_key(ref, serial_numbers) for ref in refs]
        references = [key for key in keys if isinstance(key, int)]
        if references:
            self._require_misses_left(caller)
        async with self._database.statement(caller) as tx:
            found = await passes.find_passes(
                tx,
                pass_ids=[key for key in keys if isinstance(key, UUID)],
                references=references,
            )
        by_key: dict[UUID | int | None, ListedPass] = {}
        for each in found:
            by_key[each.wallet_pass.pass_id] = by_key[each.wallet_pass.reference_number] = each
        if references and self._misses:
            # Asked again, and charged without a wait in between: of many at once no more are told
            # anything, be it that there is such a pass, than one after the other.
            self._require_misses_left(caller)
            for reference in references:
                if reference not in by_key:
                    self._misses.charge(caller.key_id)
        return [by_key.get(key) for key in keys]

    def _require_misses_left(self, caller: Caller) -> None:
        if self._misses and (wait := self._misses.wait(caller.key_id)) > 0:
            raise _limited(wait)


def _limited(seconds: float) -> AppError:
    return AppError(
        reason=Reason.RATE_LIMITED,
        message="This key has named too many reference ids that are none. Wait, or scan the pass.",
        retry_after=timedelta(seconds=seconds),
    )


def _key(ref: PassRef, serial_numbers: SerialNumbers) -> PassId | ReferenceNumber | None:
    if ref.serial_number is not None:
        return serial_numbers.find(ref.serial_number)
    if ref.pass_id is not None:
        parsed = parse_uuid(ref.pass_id)
        return None if parsed is None else PassId(parsed)
    return parse_reference_id(ref.reference_id or "")
