"""Take an entry back, by another one."""

from __future__ import annotations

from datetime import datetime

from passmill.domain.clock import Clock
from passmill.domain.ids import parse_uuid
from passmill.domain.ledger import EntryId, EntryKind, EntryRefusal, LedgerEntry, NewEntry, Posted
from passmill.domain.scanners import OWN_REVERSAL, Desk, ScannerRight
from passmill.errors import not_found
from passmill.store.database import Database, Transaction
from passmill.store.ledger import find_entry_of_request, get_entry
from passmill.usecases.account_in_hand import CHANGE, AccountInHand
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_pass import PassRef
from passmill.usecases.mutation import Answer, Mutation


class ReverseEntry:
    """Reverses entries, each once."""

    def __init__(self, *, database: Database, edit_pass: EditPass, clock: Clock) -> None:
        self._database = database
        self._edit_pass = edit_pass
        self._clock = clock

    async def __call__(
        self,
        mutation: Mutation[Posted],
        *,
        entry_id: str,
        posted_request_id: str | None,
        reference: str,
        desk: Desk,
    ) -> Answer:
        """The answer with what came of it. The entry by its id, or by the key it was posted under.
        AppError NOT_FOUND, REQUEST_ID_REUSED, SCANNER_RIGHT_MISSING."""
        _require_reversing(desk)
        entry = await self._find(mutation, entry_id, posted_request_id)

        async def work(tx: Transaction, in_hand: PassInHand) -> Posted:
            now = self._clock.now()
            desk.require(right_to_reverse(desk, entry, now=now))
            account = await AccountInHand.open(tx, in_hand, now=now)
            if entry.kind is EntryKind.REVERSAL:
                return Posted(
                    balance=await account.balance(entry.unit), refusal=EntryRefusal.NOT_REVERSIBLE
                )
            return await account.post(
                NewEntry(
                    account_id=entry.account_id,
                    unit=entry.unit,
                    kind=EntryKind.REVERSAL,
                    amount=-entry.amount,
                    request_id=mutation.request_id,
                    occur_time=account.now,
                    earned=-entry.amount if entry.kind is EntryKind.EARN else 0,
                    reversed_entry_id=entry.entry_id,
                    reference=reference,
                    venue=desk.venue_of_entry(entry.venue),
                    scanner_id=desk.scanner_id,
                )
            )

        # A pass whose account has entries stays with it, so this one shows the account.
        ref = PassRef(pass_id=str(entry.account_id))
        return await self._edit_pass(mutation, ref, work, kind=CHANGE)

    async def _find(
        self, mutation: Mutation[Posted], entry_id: str, posted_request_id: str | None
    ) -> LedgerEntry:
        parsed = parse_uuid(entry_id if posted_request_id is None else posted_request_id)
        if parsed is None:
            raise not_found("entry")
        async with self._database.statement(mutation.caller) as tx:
            if posted_request_id is None:
                return await get_entry(tx, EntryId(parsed))
            found = await find_entry_of_request(tx, parsed)
        if found is None:
            raise not_found("entry")
        return found


def _require_reversing(desk: Desk) -> None:
    """AppError SCANNER_RIGHT_MISSING when there is no entry that the desk may take back."""
    if not desk.may(ScannerRight.POST_BALANCES):
        desk.require(ScannerRight.MANAGE_BALANCES)


def right_to_reverse(desk: Desk, entry: LedgerEntry, *, now: datetime) -> ScannerRight:
    """What it takes a scanner to take this entry back: less when it posted it a moment ago."""
    is_own = entry.scanner_id is not None and entry.scanner_id == desk.scanner_id
    if is_own and now - entry.create_time <= OWN_REVERSAL:
        return ScannerRight.POST_BALANCES
    return ScannerRight.MANAGE_BALANCES
