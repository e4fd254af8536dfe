"""The numbers of a tenant's passes: serial numbers, and reference numbers taken from its counter in
blocks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from passmill.domain.callers import Caller
from passmill.domain.ids import SerialNumbers, TenantId
from passmill.domain.reference_ids import ReferenceNumber, ReferencePermutation
from passmill.store import tenants
from passmill.store.database import Database

_FIRST_BLOCK = 16
_LARGEST_BLOCK = 4096


@dataclass(slots=True, kw_only=True)
class _TenantCounter:
    serial_numbers: SerialNumbers
    references: ReferencePermutation
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_index: int = 0
    end_index: int = 0
    block: int = _FIRST_BLOCK


class TenantNumbers:
    """Numbers for new passes, and the way from a serial number back to its pass.

    Reference numbers are taken from the tenant's row in blocks that grow with use, in a transaction
    of their own, so that issuing never waits for that row. A block's rest is lost with the process:
    numbers need not be dense.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._counters: dict[TenantId, _TenantCounter] = {}

    def find_serial_numbers(self, tenant_id: TenantId) -> SerialNumbers | None:
        """A tenant's serial numbers, None when they have not been asked for yet."""
        counter = self._counters.get(tenant_id)
        return None if counter is None else counter.serial_numbers

    async def serial_numbers(self, caller: Caller) -> SerialNumbers:
        """The serial numbers of the caller's tenant."""
        return (await self._counter(caller)).serial_numbers

    async def references(self, caller: Caller) -> ReferencePermutation:
        """The permutation that makes the tenant's indexes its reference numbers."""
        return (await self._counter(caller)).references

    async def take_references(self, caller: Caller, count: int) -> list[ReferenceNumber]:
        """`count` reference numbers that no pass of the tenant has or will have."""
        counter = await self._counter(caller)
        taken: list[ReferenceNumber] = []
        async with counter.lock:
            while len(taken) < count:
                if counter.next_index == counter.end_index:
                    await self._take_block(caller, counter, at_least=count - len(taken))
                size = min(count - len(taken), counter.end_index - counter.next_index)
                taken += [
                    counter.references.number(index)
                    for index in range(counter.next_index, counter.next_index + size)
                ]
                counter.next_index += size
        return taken

    async def _take_block(self, caller: Caller, counter: _TenantCounter, *, at_least: int) -> None:
        size = max(counter.block, at_least)
        async with self._database.transaction(caller) as tx:
            end_index = await tenants.take_reference_block(tx, size)
        # Only now are they ours: before its end the transaction may still be lost.
        counter.next_index, counter.end_index = end_index - size, end_index
        counter.block = min(counter.block * 2, _LARGEST_BLOCK)

    async def _counter(self, caller: Caller) -> _TenantCounter:
        known = self._counters.get(caller.tenant_id)
        if known is not None:
            return known
        async with self._database.transaction(caller, read_only=True) as tx:
            tenant = await tenants.get_tenant(tx, caller.tenant_id)
        # Two first calls may both come here; the first one's counter stays.
        return self._counters.setdefault(
            caller.tenant_id,
            _TenantCounter(
                serial_numbers=SerialNumbers(tenant.serial_key),
                references=ReferencePermutation(tenant.reference_key),
            ),
        )
