"""The holder that something is linked to, inside a mutation: there already, or made by it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from passmill.domain.holders import HolderRefusal
from passmill.domain.ids import HolderId, PassId, new_uuid
from passmill.errors import AppError, Reason
from passmill.store import holders
from passmill.store.database import Transaction
from passmill.usecases.find_holder import HolderKey

T = TypeVar("T")

_TRIES: Final = 10  # each but the first because another call has just linked the same


class HolderMoved(Exception):
    """Somebody linked the same in the meantime. Raised to roll back, and try again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """What came of a link: the holder, or why there is none."""

    holder_id: HolderId | None = None
    refusal: HolderRefusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderInHand:
    """A holder that nobody erases before the transaction ends. `made_by`: the pass whose holder has
    no row yet; `make` writes it, when it is needed."""

    holder_id: HolderId
    made_by: PassId | None
    is_erased: bool

    async def make(self, tx: Transaction, *, now: datetime) -> None:
        """Makes sure that the holder is there. Raises HolderMoved when its pass has just got
        another."""
        if self.made_by is None:
            return
        if not await holders.insert_pass_holder(tx, self.made_by, self.holder_id, now=now):
            raise HolderMoved
        await holders.insert_holder(tx, self.holder_id, now=now)


async def take_holder(tx: Transaction, key: HolderKey) -> HolderInHand:
    """The holder that a key names, or would have made."""
    holder_id = await key.current(tx)
    if holder_id is None:
        return HolderInHand(holder_id=HolderId(new_uuid()), made_by=key.pass_id, is_erased=False)
    found = await holders.share_holder(tx, holder_id)
    if found is None or await key.current(tx) != holder_id:
        raise HolderMoved
    return HolderInHand(holder_id=holder_id, made_by=None, is_erased=found.is_erased)


async def retried(attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of a mutation that HolderMoved may roll back. AppError UNAVAILABLE when that does
    not end."""
    for _ in range(_TRIES):
        try:
            return await attempt()
        except HolderMoved:
            continue
    raise AppError(
        reason=Reason.UNAVAILABLE,
        message="The holder is changed all the time. Retry with the same request_id.",
        retry_after=timedelta(milliseconds=500),
    )
