"""Post many entries, each once under a key of its own: what tills noted while there was no service.

What happened happened: a pass that was voided or has expired since takes its entries all the same.
Passes show them a moment later, by a worker.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from passmill.domain.balance_units import BalanceRules
from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.events import EventKind
from passmill.domain.ids import PassId, ProgramId
from passmill.domain.ledger import AccountId, EntryRefusal, LedgerEntry, NewEntry
from passmill.errors import AppError, Reason
from passmill.store.accounts import settle_accounts
from passmill.store.balance_jobs import enqueue_show_balances
from passmill.store.balance_units import read_rules
from passmill.store.database import Database, Transaction
from passmill.store.ledger_batch import post_entries
from passmill.store.ledger_rows import KeysTaken
from passmill.store.outbox import insert_event
from passmill.store.passes import ListedPass
from passmill.usecases.find_pass import FindPass, PassRef
from passmill.usecases.post_entry import EntryDraft

_TRIES: Final = 5  # each but the first because somebody has just used a key for another account


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedDraft:
    """An entry as a till noted it, under a key that the till made."""

    request_id: UUID
    ref: PassRef
    draft: EntryDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryOutcome:
    """What came of a keyed draft. `is_repeated`: it was posted before."""

    request_id: UUID
    entry: LedgerEntry | None = None
    refusal: EntryRefusal | None = None
    is_repeated: bool = False


class PostEntries:
    """Posts entries in one transaction, one's refusal apart from the others."""

    def __init__(self, *, database: Database, find_pass: FindPass, clock: Clock) -> None:
        self._database = database
        self._find_pass = find_pass
        self._clock = clock

    async def __call__(self, caller: Caller, drafts: Sequence[KeyedDraft]) -> list[EntryOutcome]:
        """What came of each, in this order. Those of one account and unit are posted in this order.
        When this raises none was posted by it; AppError UNAVAILABLE, DEADLINE_EXCEEDED."""
        found = await self._find_pass.known(caller, [each.ref for each in drafts])
        for _ in range(_TRIES):
            try:
                async with self._database.transaction(caller) as tx:
                    return await self._post(tx, drafts, found)
            except KeysTaken:
                continue
        raise AppError(
            reason=Reason.UNAVAILABLE,
            message="Others post under the same keys all the time. Send the entries again.",
            retry_after=timedelta(milliseconds=500),
        )

    async def _post(
        self, tx: Transaction, drafts: Sequence[KeyedDraft], found: Sequence[ListedPass | None]
    ) -> list[EntryOutcome]:
        now = self._clock.now()
        rules = {
            program_id: await read_rules(tx, program_id)
            for program_id in {each.program_id for each in found if each is not None}
        }
        pass_ids = {each.wallet_pass.pass_id for each in found if each is not None}
        accounts = await settle_accounts(tx, sorted(pass_ids))
        outcomes: dict[int, EntryOutcome] = {}
        fit: list[tuple[NewEntry, int]] = []
        for at, (keyed, listed) in enumerate(zip(drafts, found, strict=True)):
            if listed is None or (refusal := _refusal(keyed, listed, rules)):
                outcomes[at] = EntryOutcome(
                    request_id=keyed.request_id,
                    refusal=EntryRefusal.UNKNOWN_PASS if listed is None else refusal,
                )
                continue
            account_id = accounts[listed.wallet_pass.pass_id]
            entry = keyed.draft.for_account(account_id, request_id=keyed.request_id, now=now)
            fit.append((entry, at))
        posted = await post_entries(tx, [entry for entry, _ in fit], now=now)
        for (entry, at), outcome in zip(fit, posted, strict=True):
            outcomes[at] = EntryOutcome(
                request_id=entry.request_id,
                entry=outcome.entry,
                refusal=outcome.refusal,
                is_repeated=outcome.is_repeated,
            )
        await self._tell(tx, found, accounts, outcomes)
        return [outcomes[at] for at in range(len(drafts))]

    async def _tell(
        self,
        tx: Transaction,
        found: Sequence[ListedPass | None],
        accounts: Mapping[PassId, AccountId],
        outcomes: Mapping[int, EntryOutcome],
    ) -> None:
        moved = sorted(
            {
                listed.wallet_pass.pass_id
                for at, listed in enumerate(found)
                if listed is not None
                and outcomes[at].entry is not None
                and not outcomes[at].is_repeated
            }
        )
        if not moved:
            return
        await insert_event(
            tx,
            kind=EventKind.BALANCE_POSTED,
            pass_ids=moved,
            detail=json.dumps({}),
            now=self._clock.now(),
        )
        await enqueue_show_balances(tx, sorted({accounts[pass_id] for pass_id in moved}))


def _refusal(
    keyed: KeyedDraft, listed: ListedPass, rules: Mapping[ProgramId, BalanceRules]
) -> EntryRefusal | None:
    if keyed.draft.unit not in rules[listed.program_id].units:
        return EntryRefusal.UNKNOWN_UNIT
    return None
