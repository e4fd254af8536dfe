"""What a shard may meet while it is served: somebody else's change, a signer that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from passmill.domain.callers import Caller
from passmill.signing.native import PreparedRevision, SignerError, SigningIdentity
from passmill.signing.sealer import Sealer, Signed, SignRequest
from passmill.store.database import Database, Transaction


class Interrupted(Database):
    """A database where something else happens before each transaction that writes."""

    __slots__ = ("before_writing",)

    def __init__(self, inner: Database, before_writing: Callable[[], Awaitable[object]]) -> None:
        super().__init__(inner._pool)
        self.before_writing = before_writing

    @asynccontextmanager
    async def transaction(
        self,
        caller: Caller,
        *,
        read_only: bool = False,
        presented_key: str = "",
        presented_secret: bytes = b"",
    ) -> AsyncIterator[Transaction]:
        if not read_only:
            await self.before_writing()
        async with super().transaction(
            caller,
            read_only=read_only,
            presented_key=presented_key,
            presented_secret=presented_secret,
        ) as tx:
            yield tx


class PickySealer(Sealer):
    """A signer that fails on every batch with the pass of this serial number in it."""

    __slots__ = ("_serial_number",)

    def __init__(self, inner: Sealer, serial_number: str) -> None:
        super().__init__(executor=inner._executor, metrics=inner._metrics)
        self._serial_number = serial_number.encode()

    async def sign(
        self,
        prepared: PreparedRevision,
        identity: SigningIdentity,
        requests: Sequence[SignRequest],
    ) -> list[Signed]:
        if any(self._serial_number in each.line for each in requests):
            raise SignerError("a defect of the signer")
        return await super().sign(prepared, identity, requests)
