"""What a pass shows of its account: balances in their slots, and the tier that was reached."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from passmill.domain.balance_units import BalanceRules, Tier
from passmill.domain.ledger import AccountId, Balance
from passmill.domain.passes import WalletPass
from passmill.domain.values import InvalidValue, Value, admit_value, values_to_json
from passmill.signing.revisions import LoadedRevision
from passmill.store.accounts import find_accounts
from passmill.store.balance_jobs import enqueue_show_balances
from passmill.store.database import Transaction
from passmill.store.ledger import earned_since, get_balances
from passmill.usecases.pass_content import stored_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an account has, by unit; the tier that it has reached by a program's rules."""

    balances: Mapping[str, Balance]
    tier: Tier | None


async def read_standing(
    tx: Transaction, rules: BalanceRules, account_id: AccountId, *, now: datetime
) -> Standing:
    """The account as it is now."""
    found = await get_balances(tx, [account_id], now=now)
    balances = {unit: balance for (_, unit), balance in found.items()}
    tier = None
    if rules.tiers:
        unit = rules.tiers[0].unit
        earned = {0: balances[unit].earned if unit in balances else 0}
        for days in rules.windows:
            earned[days] = await earned_since(tx, account_id, unit, now - timedelta(days=days))
        tier = rules.tier_of(earned)
    return Standing(balances=balances, tier=tier)


def with_standing(
    loaded: LoadedRevision, current: WalletPass, rules: BalanceRules, standing: Standing
) -> WalletPass:
    """The pass as it shall show the account. What its template has no slot for, or one of another
    type, is not shown; where it would make the pass another than its template allows, nothing is.
    """
    slots = {slot.name: slot for slot in loaded.content.slots}
    values = dict[str, Value](stored_values(loaded, current))
    for name, value in rules.values(standing.balances, standing.tier).items():
        slot = slots.get(name)
        if slot is None:
            continue
        if value is None:
            if slot.can_be_absent or slot.default_value is not None:
                values.pop(name, None)
            continue
        try:
            values[name] = admit_value(slot, value)
        except InvalidValue:
            continue
    checked = loaded.rules.check(
        values, holder_name=current.holder.name, holder_phone=current.holder.phone
    )
    if checked.violations:
        return current
    return replace(current, slot_values=values_to_json(checked.values))


async def show_where_moved(
    tx: Transaction, moves: Sequence[tuple[WalletPass, WalletPass]], ledger_slots: Set[str]
) -> None:
    """Has the ledger shown on passes (before and after a change) whose revision is another, as far
    as they did not show it in all these slots: what another revision holds there, a default or what
    it had long ago, is not the ledger's."""
    pass_ids = [
        after.pass_id
        for before, after in moves
        if before.revision_id != after.revision_id
        and not ledger_slots <= json.loads(before.slot_values).keys()
    ]
    if pass_ids:
        accounts = await find_accounts(tx, pass_ids)
        await enqueue_show_balances(tx, sorted(set(accounts.values())))
