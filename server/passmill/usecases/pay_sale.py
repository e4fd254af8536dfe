"""Pay part of a sale by points, stamps or stored money."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from passmill.domain.clock import Clock
from passmill.domain.ledger import Balance, EntryKind, EntryRefusal, Hold, LedgerEntry, NewEntry
from passmill.domain.money import Money
from passmill.domain.scanners import Desk, ScannerId
from passmill.errors import invalid_field
from passmill.store.database import Transaction
from passmill.store.expiries import lock_settled_balance
from passmill.store.ledger import find_entry_of_request
from passmill.usecases.account_in_hand import CHANGE, AccountInHand, request_id_reused
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_pass import PassRef
from passmill.usecases.hold_balance import USUAL_DURATION, HoldDraft, hold
from passmill.usecases.mutation import Answer, Mutation


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """A sale to be paid for. `max_amount`: of the unit; 0 for all that may be used. `only_hold`: it
    is captured or released when the sale is done."""

    unit: str
    total: Money
    max_amount: int = 0
    only_hold: bool = False
    duration: timedelta = USUAL_DURATION
    reference: str = ""
    venue: str = ""
    scanner_id: ScannerId | None = None

    def at(self, desk: Desk) -> Sale:
        """The sale as it is paid at a desk."""
        return replace(self, venue=desk.venue_of_entry(self.venue), scanner_id=desk.scanner_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What came of it: `amount` of the unit, worth `paid`; `due` is left to pay otherwise."""

    balance: Balance
    paid: Money
    due: Money
    amount: int = 0
    entry: LedgerEntry | None = None
    hold: Hold | None = None
    refusal: EntryRefusal | None = None


class PaySale:
    """Pays sales, each once."""

    def __init__(self, *, edit_pass: EditPass, clock: Clock) -> None:
        self._edit_pass = edit_pass
        self._clock = clock

    async def __call__(self, mutation: Mutation[Payment], *, ref: PassRef, sale: Sale) -> Answer:
        """The answer with what came of it. AppError NOT_FOUND (the pass, the unit), INVALID_FIELD,
        REQUEST_ID_REUSED."""
        if sale.total.minor_units <= 0:
            raise invalid_field("sale_total.minor_units", "must be more than 0")

        async def work(tx: Transaction, in_hand: PassInHand) -> Payment:
            account = await AccountInHand.open(tx, in_hand, now=self._clock.now())
            return await _pay(account, sale, request_id=mutation.request_id)

        return await self._edit_pass(mutation, ref, work, kind=CHANGE)


async def _pay(account: AccountInHand, sale: Sale, *, request_id: UUID) -> Payment:
    payment = account.unit(sale.unit).sale_payment
    balance = await lock_settled_balance(account.tx, account.account_id, sale.unit, now=account.now)
    refusal = account.refusal()
    if payment is None or payment.value.currency != sale.total.currency:
        refusal = EntryRefusal.NOT_PAYABLE
    amount, paid = 0, _nothing(sale)
    if payment is not None and refusal is None:
        wanted = sale.max_amount or balance.available
        amount, paid = payment.part_of(sale.total, at_most=min(wanted, balance.available))
        if amount == 0:
            refusal = EntryRefusal.NOTHING_TO_PAY
    if refusal is not None:
        return Payment(balance=balance, paid=_nothing(sale), due=sale.total, refusal=refusal)
    due = Money(minor_units=sale.total.minor_units - paid.minor_units, currency=sale.total.currency)
    if sale.only_hold:
        held = await hold(
            account,
            HoldDraft(
                unit=sale.unit, amount=amount, duration=sale.duration, reference=sale.reference
            ),
        )
        return Payment(balance=held.balance, amount=amount, paid=paid, due=due, hold=held.hold)
    if await find_entry_of_request(account.tx, request_id):
        # Posted in a batch, as an entry of its own: what it paid for is not known.
        raise request_id_reused()
    posted = await account.post(
        NewEntry(
            account_id=account.account_id,
            unit=sale.unit,
            kind=EntryKind.BURN,
            amount=-amount,
            request_id=request_id,
            occur_time=account.now,
            reference=sale.reference,
            venue=sale.venue,
            scanner_id=sale.scanner_id,
        )
    )
    return Payment(balance=posted.balance, amount=amount, paid=paid, due=due, entry=posted.entry)


def _nothing(sale: Sale) -> Money:
    return Money(minor_units=0, currency=sale.total.currency)
