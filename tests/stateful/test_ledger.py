"""The ledger against a plain model: entries, reversals, holds, captures, releases, time that
goes by, keys sent again, transactions rolled back. After each step the database holds what the
model holds."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from passmill.domain.ledger import (
    AccountId,
    EntryKind,
    EntryRefusal,
    Hold,
    HoldId,
    HoldState,
    LedgerEntry,
    NewEntry,
    Posted,
)
from passmill.store.database import Database as Pool
from passmill.store.holds import end_hold, free_held, insert_hold, list_open_holds, lock_balance
from passmill.store.ledger import get_balances, list_entries, post_entry
from tests.support.ledgers import NOON, draft, new_account, pool, tenant
from tests.support.postgres import Database

T = TypeVar("T")
Made: TypeAlias = MultipleResults[T] | T  # one thing for a bundle, or none

UNITS = ("points", "EUR")
amounts = st.integers(min_value=-60, max_value=60).filter(bool)
whole = st.integers(min_value=1, max_value=60)


@dataclass(kw_only=True)
class Account:
    """What an account's unit must hold: amounts in order, and open holds (amount, end)."""

    amounts: list[int] = field(default_factory=list)
    earned: int = 0
    holds: dict[HoldId, tuple[int, datetime]] = field(default_factory=dict)

    def held(self, now: datetime) -> int:
        """What is held at a time."""
        return sum(amount for amount, end in self.holds.values() if end > now)

    @property
    def balance(self) -> int:
        """The sum."""
        return sum(self.amounts)


class _Undone(Exception):
    pass


class LedgerLife(RuleBasedStateMachine):
    """Two accounts of two units."""

    posted: Bundle[tuple[NewEntry, LedgerEntry]] = Bundle("posted")
    holds: Bundle[Hold] = Bundle("holds")

    def __init__(self, runner: asyncio.Runner, database: Pool) -> None:
        super().__init__()
        self._runner = runner
        self._database = database
        self._now = NOON
        self._reversed: set[uuid.UUID] = set()

    def _run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self._runner.run(wait())

    @initialize()
    def open(self) -> None:
        """New accounts."""
        self._accounts = [new_account(), new_account()]
        self._model = {(each, unit): Account() for each in self._accounts for unit in UNITS}

    def _key(self, at: int, unit: str) -> tuple[AccountId, str]:
        return self._accounts[at], unit

    async def _post(self, entry: NewEntry, *, is_undone: bool = False) -> Posted:
        outcome: Posted
        try:
            async with self._database.transaction(tenant()) as tx:
                outcome = await post_entry(tx, entry, now=self._now)
                if is_undone:
                    raise _Undone
        except _Undone:
            pass
        return outcome

    def _check(self, entry: NewEntry, outcome: Posted) -> bool:
        """Compares what came of a new entry with the model; gives whether it was posted."""
        account = self._model[entry.account_id, entry.unit]
        if entry.expected_version not in (None, len(account.amounts)):
            assert outcome.refusal is EntryRefusal.VERSION_MISMATCH
        elif account.balance + entry.amount < account.held(self._now):
            assert outcome.refusal is EntryRefusal.INSUFFICIENT_BALANCE
        else:
            assert outcome.refusal is None
            assert outcome.entry is not None
            assert outcome.entry.balance_after == account.balance + entry.amount
            return True
        assert outcome.entry is None
        return False

    @rule(
        target=posted,
        at=st.integers(0, 1),
        unit=st.sampled_from(UNITS),
        amount=amounts,
        version=st.none() | st.integers(0, 8),
        is_undone=st.booleans(),
    )
    def post(
        self, *, at: int, unit: str, amount: int, version: int | None, is_undone: bool
    ) -> Made[tuple[NewEntry, LedgerEntry]]:
        """A new entry, in a transaction that may be rolled back."""
        account_id, unit = self._key(at, unit)
        entry = draft(account_id, amount, unit=unit, expected_version=version)
        outcome = self._run(self._post(entry, is_undone=is_undone))
        if not self._check(entry, outcome) or is_undone:
            return multiple()
        assert outcome.entry is not None
        self._model[account_id, unit].amounts.append(amount)
        self._model[account_id, unit].earned += entry.earned
        return entry, outcome.entry

    @rule(made=posted)
    def post_again(self, made: tuple[NewEntry, LedgerEntry]) -> None:
        """The same entry under the same key."""
        entry, first = made
        outcome = self._run(self._post(entry))
        assert outcome.is_repeated
        assert (outcome.entry, outcome.refusal) == (first, None)

    @rule(made=posted, at=st.integers(0, 1), amount=amounts)
    def reuse_a_key(self, made: tuple[NewEntry, LedgerEntry], at: int, amount: int) -> None:
        """Another entry under a key that was used."""
        entry, first = made
        other = draft(self._accounts[at], amount, request_id=entry.request_id)
        if first.is_of(other):
            return
        outcome = self._run(self._post(other))
        assert outcome.refusal is EntryRefusal.REQUEST_ID_REUSED

    @rule(made=posted)
    def reverse(self, made: tuple[NewEntry, LedgerEntry]) -> None:
        """An entry is taken back, if it was not before and there is enough."""
        entry, first = made
        back = draft(
            entry.account_id,
            -entry.amount,
            unit=entry.unit,
            kind=EntryKind.REVERSAL,
            earned=-entry.earned,
            reversed_entry_id=first.entry_id,
        )
        outcome = self._run(self._post(back))
        if first.entry_id in self._reversed:
            assert outcome.refusal is EntryRefusal.ALREADY_REVERSED
            return
        if self._check(back, outcome):
            self._reversed.add(first.entry_id)
            self._model[entry.account_id, entry.unit].amounts.append(-entry.amount)
            self._model[entry.account_id, entry.unit].earned -= entry.earned

    @rule(
        target=holds, at=st.integers(0, 1), unit=st.sampled_from(UNITS), amount=whole, minutes=whole
    )
    def hold(self, at: int, unit: str, amount: int, minutes: int) -> Made[Hold]:
        """Part of a balance is set aside."""
        account_id, unit = self._key(at, unit)
        made = Hold(
            hold_id=HoldId(uuid.uuid4()),
            account_id=account_id,
            unit=unit,
            amount=amount,
            state=HoldState.OPEN,
            reference="",
            expire_time=self._now + timedelta(minutes=minutes),
            create_time=self._now,
        )

        async def work() -> bool:
            async with self._database.transaction(tenant()) as tx:
                await lock_balance(tx, account_id, unit, now=self._now)
                return await insert_hold(tx, made)

        account = self._model[account_id, unit]
        fits = amount <= account.balance - account.held(self._now)
        assert self._run(work()) == fits
        if not fits:
            return multiple()
        account.holds[made.hold_id] = (amount, made.expire_time)
        return made

    @rule(held=holds, is_captured=st.booleans(), part=whole)
    def end_hold(self, *, held: Hold, is_captured: bool, part: int) -> None:
        """A hold is captured, in part or whole, or released, if it is open and in time."""
        account = self._model[held.account_id, held.unit]
        known = account.holds.get(held.hold_id)
        amount = min(part, held.amount)

        async def work() -> bool:
            state = HoldState.CAPTURED if is_captured else HoldState.RELEASED
            async with self._database.transaction(tenant()) as tx:
                await lock_balance(tx, held.account_id, held.unit, now=self._now)
                if not await end_hold(tx, held.hold_id, state, now=self._now):
                    return False
                if not is_captured:
                    await free_held(tx, held)
                    return True
                spent = draft(
                    held.account_id,
                    -amount,
                    unit=held.unit,
                    hold_id=held.hold_id,
                    freed=held.amount,
                )
                return (await post_entry(tx, spent, now=self._now)).entry is not None

        assert self._run(work()) == (known is not None and known[1] > self._now)
        if known is None or known[1] <= self._now:
            return
        del account.holds[held.hold_id]
        if is_captured:
            account.amounts.append(-amount)

    @rule(minutes=whole)
    def wait(self, minutes: int) -> None:
        """Time goes by."""
        self._now += timedelta(minutes=minutes)

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        """Balances, versions, what is held and earned, and every entry."""

        async def read() -> None:
            async with self._database.transaction(tenant(), read_only=True) as tx:
                balances = await get_balances(tx, self._accounts, now=self._now)
                for (account_id, unit), model in self._model.items():
                    entries = await list_entries(tx, account_id, unit, before=1 << 30, at_most=999)
                    assert [each.amount for each in reversed(entries)] == model.amounts
                    if (found := balances.get((account_id, unit))) is None:
                        assert not model.amounts
                        continue
                    assert found.version == len(model.amounts)
                    assert found.balance == model.balance
                    assert found.held == model.held(self._now)
                    assert found.earned == model.earned
                for account_id in self._accounts:
                    open_holds = await list_open_holds(tx, account_id, now=self._now)
                    wanted = {
                        hold_id
                        for (each, _), model in self._model.items()
                        if each == account_id
                        for hold_id, (_, end) in model.holds.items()
                        if end > self._now
                    }
                    assert {each.hold_id for each in open_holds} == wanted

        self._run(read())


@pytest.mark.timeout(300)  # some thousand steps, each with the whole ledger compared
def test_a_ledgers_life(database: Database) -> None:
    """Whatever is done in whatever order, the ledger is its model."""
    with asyncio.Runner() as runner:
        opened = pool(database.url)
        machine_pool = runner.run(opened.__aenter__())
        try:
            run_state_machine_as_test(
                lambda: LedgerLife(runner, machine_pool),  # type: ignore[arg-type] # any maker
                settings=settings(
                    deadline=None,
                    stateful_step_count=40,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
