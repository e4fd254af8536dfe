"""Many entries posted at once: what `post_entry` does to one, in a handful of statements.

The balances are locked, so what is reckoned here from them is so. Whether a key is new is decided
by the unique index alone, as ever; should it know better than what was read, all is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from passmill.domain.ids import new_uuid
from passmill.domain.ledger import (
    Balance,
    EntryId,
    EntryRefusal,
    LedgerEntry,
    NewEntry,
    Posted,
    earliest,
)
from passmill.store.database import Transaction
from passmill.store.expiries import lock_settled
from passmill.store.ledger_rows import (
    ENTRY_COLUMNS,
    entry_of,
    insert_entries,
    made_of,
    open_balances,
    write_balances,
)


async def post_entries(
    tx: Transaction, drafts: Sequence[NewEntry], *, now: datetime
) -> list[Posted]:
    """What came of each, in this order, in which those of one account and unit are posted too; as
    `post_entry` says of one. None takes another back, captures a hold or frees any. KeysTaken."""
    keys = sorted({(each.account_id, each.unit) for each in drafts})
    await open_balances(tx, keys)
    balances = (await lock_settled(tx, keys, now=now)).balances
    known = await _find_entries(tx, [each.request_id for each in drafts])
    posted: list[Posted] = []
    made: list[LedgerEntry] = []
    for draft in drafts:
        outcome = _reckon(draft, balances[draft.account_id, draft.unit], known, now=now)
        if outcome.entry is not None and not outcome.is_repeated:
            made.append(outcome.entry)
            known[draft.request_id] = outcome.entry
            balances[draft.account_id, draft.unit] = outcome.balance
        posted.append(outcome)
    if made:
        await insert_entries(tx, made)
        moved = sorted({(each.account_id, each.unit) for each in made})
        await write_balances(tx, [balances[key] for key in moved])
        if any(balances[key].is_due(now) for key in moved):
            await lock_settled(tx, moved, now=now)
    return posted


def _reckon(
    draft: NewEntry, before: Balance, known: dict[UUID, LedgerEntry], *, now: datetime
) -> Posted:
    kept = known.get(draft.request_id)
    if kept is not None:
        if kept.is_of(draft):
            return Posted(balance=before, entry=kept, is_repeated=True)
        return Posted(balance=before, refusal=EntryRefusal.REQUEST_ID_REUSED)
    if refusal := before.refusal_of(draft):
        return Posted(balance=before, refusal=refusal)
    after = replace(
        before,
        version=before.version + 1,
        balance=before.balance + draft.amount,
        earned=before.earned + draft.earned,
        next_expire_time=earliest(before.next_expire_time, draft.first_end(now)),
    )
    entry = made_of(
        draft, EntryId(new_uuid()), sequence=after.version, balance_after=after.balance, now=now
    )
    return Posted(balance=after, entry=entry)


async def _find_entries(tx: Transaction, request_ids: Sequence[UUID]) -> dict[UUID, LedgerEntry]:
    # Under the balances' locks, so whoever posted to them before has committed.
    rows = await tx.fetch(
        f"SELECT {ENTRY_COLUMNS} FROM ledger_entries"  # noqa: S608 - names of ours
        " WHERE tenant_id = $1 AND request_id = ANY($2)",
        tx.tenant_id,
        request_ids,
    )
    return {row["request_id"]: entry_of(row) for row in rows}
