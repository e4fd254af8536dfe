"""How every change that is a pass's own is made: under its lock, if the etag still fits."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

from passmill.domain.passes import WalletPass
from passmill.errors import etag_mismatch
from passmill.signing.revisions import LoadedRevision
from passmill.store.balance_units import ledger_slots
from passmill.store.database import Transaction
from passmill.usecases.edit_pass import EditPass, PassInHand
from passmill.usecases.find_pass import PassRef
from passmill.usecases.issue_passes import IssuedPass
from passmill.usecases.mutation import Answer, Mutation
from passmill.usecases.shown_balances import show_where_moved


@dataclass(frozen=True, slots=True, kw_only=True)
class PassChange:
    """What to do to a pass.

    `alter`: the pass as it shall be, from the pass as it is, its present revision, the one it shall
    show, and the slots in which it shows the ledger; it raises AppError to refuse. `revision`:
    number of the revision it shall show, None to keep its own. `event`: the outbox kind. `etag`:
    empty, or what the caller believes the pass to be.
    """

    ref: PassRef
    etag: str
    event: str
    alter: Callable[[WalletPass, LoadedRevision, LoadedRevision, Set[str]], WalletPass]
    revision: int | None = None


class ChangePass:
    """Makes changes of passes, each once."""

    def __init__(self, *, edit_pass: EditPass) -> None:
        self._edit_pass = edit_pass

    async def __call__(self, mutation: Mutation[IssuedPass], change: PassChange) -> Answer:
        """The answer with the pass as it is after the change. AppError as EditPass, ETAG_MISMATCH,
        and what `alter` refuses."""

        async def work(tx: Transaction, in_hand: PassInHand) -> IssuedPass:
            ledger = await ledger_slots(tx, in_hand.prepared.listed.template_id)
            current = await in_hand.lock()
            if change.etag and change.etag != current.etag:
                raise etag_mismatch("pass")
            prepared = in_hand.prepared
            altered = change.alter(current, prepared.before, prepared.after, ledger)
            issued = await in_hand.change(current, altered, event=change.event)
            await show_where_moved(tx, [(current, issued.wallet_pass)], ledger)
            return issued

        return await self._edit_pass(
            mutation,
            change.ref,
            work,
            revision=change.revision,
            kind=change.event.removeprefix("pass."),
        )
