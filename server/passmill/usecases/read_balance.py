"""What the account of a pass has, and how it came to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ledger import AccountId, Balance, Hold, LedgerEntry
from passmill.errors import not_found
from passmill.store.accounts import find_accounts
from passmill.store.balance_units import read_rules
from passmill.store.database import Database
from passmill.store.expiries import read_lots
from passmill.store.holds import list_open_holds
from passmill.store.ledger import list_entries
from passmill.store.passes import ListedPass
from passmill.usecases.find_pass import FindPass, PassRef
from passmill.usecases.shown_balances import read_standing


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """An account: a balance for each unit of the program, in the order of their names; the tier's
    name, empty when there is none; what is held, the oldest first; when something of a unit ends
    next and how much, by unit."""

    account_id: AccountId
    balances: Sequence[Balance]
    tier: str
    holds: Sequence[Hold]
    next_expiries: Mapping[str, tuple[datetime, int]]


class ReadBalance:
    """Reads accounts."""

    def __init__(self, *, database: Database, find_pass: FindPass, clock: Clock) -> None:
        self._database = database
        self._find_pass = find_pass
        self._clock = clock

    async def __call__(self, caller: Caller, ref: PassRef) -> AccountView:
        """The account of a pass. AppError NOT_FOUND."""
        return await self.of(caller, await self._find_pass(caller, ref))

    async def of(self, caller: Caller, listed: ListedPass) -> AccountView:
        """The account of a pass that was found."""
        now = self._clock.now()
        pass_id = listed.wallet_pass.pass_id
        async with self._database.transaction(caller, read_only=True) as tx:
            rules = await read_rules(tx, listed.program_id)
            account_id = (await find_accounts(tx, [pass_id]))[pass_id]
            standing = await read_standing(tx, rules, account_id, now=now)
            has_held = any(each.held for each in standing.balances.values())
            holds = await list_open_holds(tx, account_id, now=now) if has_held else []
            ending = [
                (account_id, unit)
                for unit in rules.units
                if unit in standing.balances and standing.balances[unit].next_expire_time
            ]
            lots = await read_lots(tx, ending) if ending else {}
        return AccountView(
            account_id=account_id,
            balances=[
                standing.balances.get(unit, Balance(account_id=account_id, unit=unit))
                for unit in rules.units
            ],
            tier="" if standing.tier is None else standing.tier.tier,
            holds=holds,
            next_expiries={
                unit: following
                for (_, unit), each in lots.items()
                if (following := each.next_after(now))
            },
        )

    async def entries(
        self, caller: Caller, ref: PassRef, *, unit: str, before: int, at_most: int
    ) -> Sequence[LedgerEntry]:
        """Entries of the pass's account of a smaller sequence than `before`, the newest first.
        AppError NOT_FOUND (the pass, the unit)."""
        listed = await self._find_pass(caller, ref)
        pass_id = listed.wallet_pass.pass_id
        async with self._database.transaction(caller, read_only=True) as tx:
            if unit not in (await read_rules(tx, listed.program_id)).units:
                raise not_found("unit")
            account_id = (await find_accounts(tx, [pass_id]))[pass_id]
            return await list_entries(tx, account_id, unit, before=before, at_most=at_most)
