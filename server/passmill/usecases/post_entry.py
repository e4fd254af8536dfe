"""Post one entry to the account of a pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from passmill.domain.balance_units import past_or_now
from passmill.domain.clock import Clock
from passmill.domain.ledger import AccountId, EntryKind, NewEntry, Posted, signed_amount
from passmill.domain.scanners import Desk, ScannerId, ScannerRight
from passmill.store.database import Transaction
from passmill.usecases.account_in_hand import CHANGE, AccountInHand
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_pass import PassRef
from passmill.usecases.mutation import Answer, Mutation


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDraft:
    """An entry as a caller asks for it. `amount`: positive, but of ADJUST either way."""

    unit: str
    kind: EntryKind
    amount: int
    expected_version: int | None = None
    reference: str = ""
    venue: str = ""
    occur_time: datetime | None = None
    expire_time: datetime | None = None
    scanner_id: ScannerId | None = None

    @property
    def right(self) -> ScannerRight:
        """What a scanner needs to post it."""
        is_usual = self.kind in (EntryKind.EARN, EntryKind.BURN)
        return ScannerRight.POST_BALANCES if is_usual else ScannerRight.MANAGE_BALANCES

    def at(self, desk: Desk) -> EntryDraft:
        """The draft as it is posted at a desk."""
        return replace(self, venue=desk.venue_of_entry(self.venue), scanner_id=desk.scanner_id)

    def for_account(self, account_id: AccountId, *, request_id: UUID, now: datetime) -> NewEntry:
        """The entry to be posted."""
        return NewEntry(
            account_id=account_id,
            unit=self.unit,
            kind=self.kind,
            amount=signed_amount(self.kind, self.amount),
            request_id=request_id,
            occur_time=past_or_now(self.occur_time, now),
            earned=self.amount if self.kind is EntryKind.EARN else 0,
            expected_version=self.expected_version,
            reference=self.reference,
            venue=self.venue,
            expire_time=self.expire_time,
            scanner_id=self.scanner_id,
        )


class PostEntry:
    """Posts entries, each once."""

    def __init__(self, *, edit_pass: EditPass, clock: Clock) -> None:
        self._edit_pass = edit_pass
        self._clock = clock

    async def __call__(
        self, mutation: Mutation[Posted], *, ref: PassRef, draft: EntryDraft
    ) -> Answer:
        """The answer with what came of it. AppError NOT_FOUND (the pass, the unit),
        REQUEST_ID_REUSED."""

        async def work(tx: Transaction, in_hand: PassInHand) -> Posted:
            now = self._clock.now()
            account = await AccountInHand.open(tx, in_hand, now=now)
            account.unit(draft.unit)
            return await account.post(
                draft.for_account(account.account_id, request_id=mutation.request_id, now=now)
            )

        return await self._edit_pass(mutation, ref, work, kind=CHANGE)
