"""The account of a pass inside the transaction of a mutation: post to it, and show it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from passmill.domain.balance_units import BalanceRules, BalanceUnit
from passmill.domain.events import EventKind
from passmill.domain.ledger import (
    AccountId,
    Balance,
    EntryKind,
    EntryRefusal,
    LedgerEntry,
    NewEntry,
    Posted,
)
from passmill.domain.passes import PassState
from passmill.errors import AppError, Reason, not_found
from passmill.store import outbox
from passmill.store.accounts import settle_account, sharing_passes
from passmill.store.balance_jobs import enqueue_show_balances
from passmill.store.balance_units import read_rules
from passmill.store.database import Transaction
from passmill.store.ledger import find_entry_of_request, get_balances, post_entry
from passmill.usecases.edit_pass import PassInHand
from passmill.usecases.pass_content import stored_values
from passmill.usecases.shown_balances import read_standing, with_standing

CHANGE: Final = "updated"
"""What metrics count a pass under that shows another balance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInHand:
    """An account with its program's rules. `in_hand`: the pass that is shown, whose row is locked
    after the balance's."""

    tx: Transaction
    in_hand: PassInHand
    account_id: AccountId
    rules: BalanceRules
    now: datetime

    @classmethod
    async def open(cls, tx: Transaction, in_hand: PassInHand, *, now: datetime) -> Self:
        """The account of the pass; no other until the transaction ends."""
        listed = in_hand.prepared.listed
        return cls(
            tx=tx,
            in_hand=in_hand,
            account_id=await settle_account(tx, listed.wallet_pass.pass_id),
            rules=await read_rules(tx, listed.program_id),
            now=now,
        )

    def unit(self, name: str) -> BalanceUnit:
        """A unit of the program. AppError NOT_FOUND."""
        unit = self.rules.units.get(name)
        if unit is None:
            raise not_found("unit")
        return unit

    async def balance(self, unit: str) -> Balance:
        """What the account has of a unit."""
        found = await get_balances(self.tx, [self.account_id], now=self.now)
        return found.get((self.account_id, unit), Balance(account_id=self.account_id, unit=unit))

    def refusal(self) -> EntryRefusal | None:
        """Why nothing is earned or spent with the pass now; None when it may be."""
        prepared = self.in_hand.prepared
        wallet_pass = prepared.listed.wallet_pass
        if wallet_pass.state is PassState.VOIDED:
            return EntryRefusal.PASS_VOIDED
        values = stored_values(prepared.before, wallet_pass)
        expire_time = prepared.content.expires_at(prepared.before, wallet_pass, values)
        if expire_time is not None and expire_time <= self.now:
            return EntryRefusal.PASS_EXPIRED
        return None

    async def post(self, draft: NewEntry, *, is_judged: bool = False) -> Posted:
        """Posts an entry and shows the account on its passes. What is earned or spent needs a pass
        that is usable, unless it was held, or posted, before; `is_judged`: that it was is known.
        AppError REQUEST_ID_REUSED."""
        is_of_use = draft.kind in (EntryKind.EARN, EntryKind.BURN)
        needs_pass = is_of_use and draft.hold_id is None and not is_judged
        if needs_pass and (refusal := self.refusal()):
            kept = await find_entry_of_request(self.tx, draft.request_id)
            if kept is None:
                return Posted(balance=await self.balance(draft.unit), refusal=refusal)
        posted = await post_entry(self.tx, draft, now=self.now)
        if posted.refusal is EntryRefusal.REQUEST_ID_REUSED:
            raise request_id_reused()
        if posted.entry is not None and posted.refusal is None and not posted.is_repeated:
            await self._show(posted.entry)
        return posted

    async def _show(self, entry: LedgerEntry) -> None:
        prepared = self.in_hand.prepared
        pass_id = prepared.listed.wallet_pass.pass_id
        detail = {
            "unit": entry.unit,
            "amount": entry.amount,
            "balance": entry.balance_after,
            "entry_id": str(entry.entry_id),
        }
        shared = await sharing_passes(self.tx, [self.account_id])
        if any(each != pass_id for each in shared):
            await enqueue_show_balances(self.tx, [self.account_id])
        current = await self.in_hand.lock()
        # Read under the pass's lock: who posted another unit before has committed.
        standing = await read_standing(self.tx, self.rules, self.account_id, now=self.now)
        altered = with_standing(prepared.before, current, self.rules, standing)
        if altered.slot_values != current.slot_values:
            kind = EventKind.BALANCE_POSTED
            await self.in_hand.change(current, altered, event=kind, detail=detail)
            return
        await outbox.insert_event(
            self.tx,
            kind=EventKind.BALANCE_POSTED,
            pass_ids=[pass_id],
            detail=json.dumps({**detail, "visible": False}, separators=(",", ":")),
            now=self.now,
        )


def request_id_reused() -> AppError:
    """Another entry was posted under the caller's key."""
    return AppError(
        reason=Reason.REQUEST_ID_REUSED,
        message="Another entry was posted under this request_id. Make a new one.",
    )
