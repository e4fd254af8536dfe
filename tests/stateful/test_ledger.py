"""The ledger against a plain model: entries, some of which end, reversals, holds, captures,
releases, time that goes by, upkeep, keys sent again, transactions rolled back. After each step the
database holds what the model holds."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable
from copy import deepcopy
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

from passmill.domain.expiries import Movement
from passmill.domain.ledger import (
    AccountId,
    EntryId,
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
from passmill.store.expiries import lock_settled
from passmill.store.holds import end_hold, free_held, insert_hold, list_open_holds, lock_balance
from passmill.store.ledger import get_balances, list_entries, post_entry
from tests.support.ledgers import NOON, draft, new_account, pool, tenant
from tests.support.points import PointByPoint
from tests.support.postgres import Database

T = TypeVar("T")
Made: TypeAlias = MultipleResults[T] | T  # one thing for a bundle, or none

UNITS = ("points", "EUR")
amounts = st.integers(min_value=-60, max_value=60).filter(bool)
whole = st.integers(min_value=1, max_value=60)


@dataclass(kw_only=True)
class Account:
    """What an account's unit must hold: amounts in order, single points, and open holds (amount,
    end)."""

    amounts: list[int] = field(default_factory=list)
    points: PointByPoint = field(default_factory=PointByPoint)
    earned: int = 0
    holds: dict[HoldId, tuple[int, datetime]] = field(default_factory=dict)

    def held(self, now: datetime) -> int:
        """What is held at a time."""
        return sum(amount for amount, end in self.holds.values() if end > now)

    @property
    def balance(self) -> int:
        """The sum."""
        return sum(self.amounts)

    def expired(self, now: datetime) -> int:
        """What has ended and is not held."""
        return sum(count for _, count in self.points.due(held=self.held(now), now=now))

    def settle(self, now: datetime) -> None:
        """What has ended is taken, an entry for each end."""
        for end, count in self.points.due(held=self.held(now), now=now):
            self._play(EntryId(uuid.uuid4()), EntryKind.EXPIRE, -count, now=now, end=end)

    def post(self, entry: NewEntry, entry_id: EntryId, *, now: datetime) -> EntryRefusal | None:
        """Posts an entry, or gives why not. Before anything is taken, and after everything, what
        has ended is."""
        refusal = self._refusal(entry, now)
        if refusal or (entry.amount < 0 and not entry.freed):
            self.settle(now)
            refusal = self._refusal(entry, now)
        if refusal:
            return refusal
        self.holds.pop(entry.hold_id or HoldId(uuid.UUID(int=0)), None)
        self._play(
            entry_id,
            entry.kind,
            entry.amount,
            now=now,
            end=entry.expire_time,
            undone=entry.reversed_entry_id,
            is_capture=entry.hold_id is not None,
        )
        self.earned += entry.earned
        self.settle(now)
        return None

    def _refusal(self, entry: NewEntry, now: datetime) -> EntryRefusal | None:
        if entry.expected_version not in (None, len(self.amounts)):
            return EntryRefusal.VERSION_MISMATCH
        if self.balance + entry.amount < self.held(now) - entry.freed:
            return EntryRefusal.INSUFFICIENT_BALANCE
        return None

    def _play(
        self,
        entry_id: EntryId,
        kind: EntryKind,
        amount: int,
        *,
        now: datetime,
        end: datetime | None = None,
        undone: EntryId | None = None,
        is_capture: bool = False,
    ) -> None:
        self.amounts.append(amount)
        self.points.play(
            Movement(
                entry_id=entry_id,
                kind=kind,
                amount=amount,
                post_time=now,
                expire_time=end,
                reversed_entry_id=undone,
                is_capture=is_capture,
            )
        )


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

    def _check(self, entry: NewEntry, outcome: Posted, *, is_undone: bool = False) -> bool:
        """Compares what came of a new entry with the model, which goes on unless it was undone;
        gives whether it was posted."""
        key = (entry.account_id, entry.unit)
        account = deepcopy(self._model[key])
        entry_id = EntryId(uuid.uuid4()) if outcome.entry is None else outcome.entry.entry_id
        assert outcome.refusal == account.post(entry, entry_id, now=self._now)
        assert outcome.balance.balance == account.balance
        assert outcome.balance.version == len(account.amounts)
        if not is_undone:
            self._model[key] = account
        return outcome.refusal is None

    @rule(
        target=posted,
        at=st.integers(0, 1),
        unit=st.sampled_from(UNITS),
        amount=amounts,
        version=st.none() | st.integers(0, 8),
        minutes=st.none() | st.integers(-5, 90),
        is_undone=st.booleans(),
    )
    def post(
        self,
        *,
        at: int,
        unit: str,
        amount: int,
        version: int | None,
        minutes: int | None,
        is_undone: bool,
    ) -> Made[tuple[NewEntry, LedgerEntry]]:
        """A new entry, that ends after some minutes if it is earned, in a transaction that may be
        rolled back."""
        account_id, unit = self._key(at, unit)
        end = None
        if amount > 0 and minutes is not None:
            end = self._now + timedelta(minutes=minutes)
        entry = draft(account_id, amount, unit=unit, expected_version=version, expire_time=end)
        outcome = self._run(self._post(entry, is_undone=is_undone))
        if not self._check(entry, outcome, is_undone=is_undone) or is_undone:
            return multiple()
        assert outcome.entry is not None
        return entry, outcome.entry

    @rule()
    def expire(self) -> None:
        """A worker takes what has ended of everybody, twice."""

        async def work() -> None:
            for again in (False, True):
                async with self._database.transaction(tenant()) as tx:
                    settled = await lock_settled(tx, sorted(self._model), now=self._now)
                    assert not (again and settled.entries)

        self._run(work())
        for account in self._model.values():
            account.settle(self._now)

    @rule(made=posted)
    def post_again(self, made: tuple[NewEntry, LedgerEntry]) -> None:
        """The same entry under the same key."""
        entry, first = made
        outcome = self._run(self._post(entry))
        assert outcome.is_repeated
        assert (outcome.entry, outcome.refusal) == (first, None)
        self._model[entry.account_id, entry.unit].settle(self._now)

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
            self._model[entry.account_id, entry.unit].settle(self._now)
            return
        if self._check(back, outcome):
            self._reversed.add(first.entry_id)

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
                await lock_settled(tx, [(account_id, unit)], now=self._now)
                return await insert_hold(tx, made)

        account = self._model[account_id, unit]
        account.settle(self._now)
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
        is_open = known is not None and known[1] > self._now
        spent = draft(
            held.account_id,
            -min(part, held.amount),
            unit=held.unit,
            hold_id=held.hold_id,
            freed=held.amount,
        )

        async def work() -> Posted | None:
            state = HoldState.CAPTURED if is_captured else HoldState.RELEASED
            async with self._database.transaction(tenant()) as tx:
                await lock_balance(tx, held.account_id, held.unit, now=self._now)
                assert await end_hold(tx, held.hold_id, state, now=self._now) == is_open
                if not is_open:
                    return None
                if is_captured:
                    return await post_entry(tx, spent, now=self._now)
                await free_held(tx, held)
                await lock_settled(tx, [(held.account_id, held.unit)], now=self._now)
                return None

        outcome = self._run(work())
        if outcome is not None:
            assert self._check(spent, outcome)
        elif is_open:
            del account.holds[held.hold_id]
            account.settle(self._now)

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
                    assert found.expired == model.expired(self._now)
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
