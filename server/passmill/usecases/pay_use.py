"""Pay for the use of an offer from the balance of the pass, inside the redemption's transaction."""

from __future__ import annotations

from datetime import datetime

from passmill.domain.ids import derived_uuid
from passmill.domain.ledger import Balance, EntryKind, EntryRefusal, NewEntry
from passmill.domain.redemptions import Redemption
from passmill.domain.scans import RefusalReason
from passmill.store.database import Transaction
from passmill.store.ledger import find_entry_of_request
from passmill.usecases.account_in_hand import AccountInHand
from passmill.usecases.edit_pass import PassInHand


async def pay_use(
    tx: Transaction, in_hand: PassInHand, redemption: Redemption, *, now: datetime
) -> Balance | RefusalReason:
    """Burns what a redemption costs, and shows it on the pass, which is locked then: the balance
    after it, or why it cannot be paid. That the pass was good when it was shown has been seen."""
    cost = redemption.cost
    if cost is None:
        raise ValueError("The redemption costs nothing.")
    account = await AccountInHand.open(tx, in_hand, now=now)
    posted = await account.post(
        NewEntry(
            account_id=account.account_id,
            unit=cost.unit,
            kind=EntryKind.BURN,
            amount=-cost.amount,
            request_id=redemption.redemption_id,
            occur_time=redemption.scan_time,
            reference=f"redemption {redemption.redemption_id}",
            venue=str(redemption.venue_id or ""),
        ),
        is_judged=True,
    )
    if posted.refusal is None:
        return posted.balance
    return RefusalReason.INSUFFICIENT_BALANCE


async def pay_back(
    tx: Transaction, in_hand: PassInHand, redemption: Redemption, *, now: datetime
) -> Balance | RefusalReason | None:
    """Takes back what a redemption has burnt, and shows it on the pass: the balance after it, why
    the account cannot take it, None when nothing was burnt or that was taken back already."""
    account = await AccountInHand.open(tx, in_hand, now=now)
    entry = await find_entry_of_request(tx, redemption.redemption_id)
    if entry is None:
        return None
    posted = await account.post(
        NewEntry(
            account_id=entry.account_id,
            unit=entry.unit,
            kind=EntryKind.REVERSAL,
            amount=-entry.amount,
            request_id=derived_uuid(f"reversal of redemption {redemption.redemption_id}"),
            occur_time=now,
            reversed_entry_id=entry.entry_id,
            reference=f"reversal of redemption {redemption.redemption_id}",
            venue=entry.venue,
        )
    )
    if posted.refusal is None:
        return posted.balance
    if posted.refusal is EntryRefusal.ALREADY_REVERSED:
        return None
    return RefusalReason.BALANCE_TOO_LARGE
