"""Which tenants a pass type belongs to: a device names it, and no tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from weakref import WeakValueDictionary

from passmill.domain.callers import operator_caller
from passmill.domain.ids import TenantId
from passmill.domain.recent import Recent
from passmill.domain.registrations import is_pass_type_identifier
from passmill.store import pass_types
from passmill.store.database import Database

_FRESH_SECONDS: Final = 1.0
_CAPACITY: Final = 10_000


class PassTypes:
    """Pass types and their tenants, at most a second old.

    Usually it is one tenant; several have the same where an agency or a group shares a certificate.
    What nobody has is remembered too, apart from the others, so that guesses push none of them out.
    A suspended tenant's are among them: its quarrel with us is not its customers'.
    """

    __slots__ = ("_asking", "_database", "_nobodys", "_tenants")

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._tenants: Recent[str, Sequence[TenantId]] = Recent(capacity=_CAPACITY)
        self._nobodys: Recent[str, Sequence[TenantId]] = Recent(capacity=_CAPACITY)
        # A lock lives as long as somebody holds it or waits for it.
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def tenants(self, pass_type_identifier: str, *, deadline: float) -> Sequence[TenantId]:
        """Whose pass type it is, none for one that nobody has. `deadline`: by the event loop's
        clock. AppError UNAVAILABLE, DEADLINE_EXCEEDED."""
        found = self.find(pass_type_identifier)
        if found is not None:
            return found
        if not is_pass_type_identifier(pass_type_identifier):
            return ()
        lock = self._asking.get(pass_type_identifier)
        if lock is None:
            lock = self._asking[pass_type_identifier] = asyncio.Lock()
        async with lock:
            found = self.find(pass_type_identifier)
            return await self._ask(pass_type_identifier, deadline) if found is None else found

    def find(self, pass_type_identifier: str) -> Sequence[TenantId] | None:
        """As `tenants`, where the answer is at hand: None when the database must be asked."""
        now = asyncio.get_running_loop().time()
        found = self._tenants.find(pass_type_identifier, now=now)
        return self._nobodys.find(pass_type_identifier, now=now) if found is None else found

    async def _ask(self, pass_type_identifier: str, deadline: float) -> Sequence[TenantId]:
        # Counted from before the question: the answer may be as old as that when it arrives.
        until = asyncio.get_running_loop().time() + _FRESH_SECONDS
        async with self._database.transaction(
            operator_caller(deadline=deadline), read_only=True
        ) as tx:
            found = tuple(await pass_types.find_tenants(tx, pass_type_identifier))
        (self._tenants if found else self._nobodys).keep(pass_type_identifier, found, until=until)
        return found
