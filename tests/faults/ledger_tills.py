"""Tills that post, reverse, hold, capture, release and pay at random, also when nobody answers, and
note down what they were told."""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol, TextIO, TypeVar

from passmill_client import AsyncClient, PassmillError
from passmill_client.messages import (
    ENTRY_KIND_ADJUST,
    ENTRY_KIND_BURN,
    ENTRY_KIND_EARN,
    ENTRY_KIND_EXPIRE,
    EntryKind,
    EntryOutcome,
    EntryRefusal,
    KeyedEntry,
    LedgerEntry,
    Money,
)
from passmill_client.operations.balances import keyed_entry

Answer = TypeVar("Answer")

UNITS: Final = ("credit", "points")  # the second shows on the pass
# Who sends something must hear of it in the end, or never knows: so long it is sent again.
_PATIENCE_SECONDS: Final = 120.0
_HASTE_SECONDS: Final = 0.03  # how long a till waits that goes away before it is answered
# Reasons for which a call is sent again: what happened is not known.
_PASSING: Final = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RATE_LIMITED", "CANCELLED"}


class _Refusable(Protocol):
    @property
    def refusal(self) -> EntryRefusal.ValueType: ...

    @property
    def entry(self) -> LedgerEntry: ...


@dataclass(kw_only=True)
class Counts:
    """What was done. `errors`: by reason, of calls that were sent again; `faults`: that should not
    be."""

    operations: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


@dataclass(kw_only=True)
class Tills:
    """All tills together. `answers`: the list that the checker reads. `wanted`: how many operations
    there shall be."""

    client: AsyncClient
    pass_ids: Sequence[str]
    answers: TextIO
    wanted: int
    seed: int
    counts: Counts = field(default_factory=Counts)

    async def run(self, clients: int) -> None:
        """So many tills at once, until there are enough operations."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                till = _Till(tills=self, chance=random.Random(f"{self.seed}/{number}"))  # noqa: S311
                tasks.create_task(till.run())

    def note(self, key: str, account: str, unit: str, amount: int | None, answer: str) -> None:
        """A line for the checker."""
        told = "" if amount is None else amount
        self.answers.write(f"{key}\t{account}\t{unit}\t{told}\t{answer}\n")


@dataclass(kw_only=True)
class _Till:
    tills: Tills
    chance: random.Random
    posted: list[tuple[str, str, str]] = field(default_factory=list)  # key, account, unit
    sent: list[KeyedEntry] = field(default_factory=list)

    async def run(self) -> None:
        doings = (self._batch, self._single, self._reverse, self._hold, self._pay)
        while self.tills.counts.operations < self.tills.wanted:
            [doing] = self.chance.choices(doings, weights=(50, 8, 6, 6, 4))
            await doing()

    def _place(self) -> tuple[str, str]:
        unit = UNITS[self.chance.random() < 0.05]
        return self.chance.choice(self.tills.pass_ids), unit

    def _entry(self) -> KeyedEntry:
        account, unit = self._place()
        kind, amount = self._kind()
        return keyed_entry(kind, amount, unit=unit, pass_id=account, request_id=str(uuid.uuid4()))

    def _kind(self) -> tuple[EntryKind.ValueType, int]:
        amount = self.chance.randrange(1, 100)
        [kind] = self.chance.choices(
            (ENTRY_KIND_EARN, ENTRY_KIND_BURN, ENTRY_KIND_EXPIRE, ENTRY_KIND_ADJUST),
            weights=(45, 45, 5, 5),
        )
        is_taken = kind == ENTRY_KIND_ADJUST and self.chance.random() < 0.5
        return kind, -amount if is_taken else amount

    async def _batch(self) -> None:
        """Noted entries, some of them sent before already."""
        new = [self._entry() for _ in range(self.chance.randrange(1, 200))]
        known = self.chance.sample(self.sent, min(len(self.sent), self.chance.randrange(0, 4)))
        entries = [*new, *known]
        self.chance.shuffle(entries)
        self.tills.counts.operations += len(new)
        outcomes = await self._call(
            "batch_post_entries",
            lambda timeout: self.tills.client.batch_post_entries(entries, timeout=timeout),
        )
        by_key: dict[str, EntryOutcome] = {each.request_id: each for each in outcomes or ()}
        for each in new:
            self._note_keyed(each, by_key.get(each.request_id))
        for each in known:
            outcome = by_key.get(each.request_id)
            if outcome is not None and not outcome.is_repeated:
                self.tills.counts.faults["not_repeated"] += 1
        self.sent = (self.sent + [e for e in new if e.request_id in self._keys(by_key)])[-200:]

    def _keys(self, by_key: dict[str, EntryOutcome]) -> set[str]:
        return {key for key, outcome in by_key.items() if not outcome.refusal}

    def _note_keyed(self, each: KeyedEntry, outcome: EntryOutcome | None) -> None:
        entry = each.entry
        is_taken = entry.kind in (ENTRY_KIND_BURN, ENTRY_KIND_EXPIRE)
        amount = -entry.amount if is_taken else entry.amount
        account = each.ref.pass_id
        told = "unknown" if outcome is None else "refused" if outcome.refusal else "posted"
        self.tills.note(each.request_id, account, entry.unit, amount, told)
        if told == "posted":
            self._remember(each.request_id, account, entry.unit)

    def _remember(self, key: str, account: str, unit: str) -> None:
        self.posted = [*self.posted[-99:], (key, account, unit)]

    async def _single(self) -> None:
        account, unit = self._place()
        kind, amount = self._kind()
        key = str(uuid.uuid4())
        answer = await self._call(
            "post_entry",
            lambda timeout: self.tills.client.post_entry(
                kind, amount, unit=unit, pass_id=account, request_id=key, timeout=timeout
            ),
        )
        is_taken = kind in (ENTRY_KIND_BURN, ENTRY_KIND_EXPIRE)
        self._note(key, account, unit, answer, amount=-amount if is_taken else amount)

    async def _reverse(self) -> None:
        if not self.posted:
            return
        posted_key, account, unit = self.chance.choice(self.posted)
        key = str(uuid.uuid4())
        answer = await self._call(
            "reverse_entry",
            lambda timeout: self.tills.client.reverse_entry(
                posted_request_id=posted_key, request_id=key, timeout=timeout
            ),
        )
        self._note(key, account, unit, answer)

    async def _hold(self) -> None:
        """A hold that is captured, released, both, or left to end by itself."""
        account, unit = self._place()
        wanted, seconds = self.chance.randrange(1, 100), self.chance.choice((1, 5, 600))
        hold_key, key = str(uuid.uuid4()), str(uuid.uuid4())
        self.tills.counts.operations += 1
        held = await self._call(
            "hold_balance",
            lambda timeout: self.tills.client.hold_balance(
                wanted,
                unit=unit,
                duration=timedelta(seconds=seconds),
                pass_id=account,
                request_id=hold_key,
                timeout=timeout,
            ),
        )
        if held is None or held.refusal:
            return
        hold = held.hold
        if self.chance.random() < 0.6:
            part = self.chance.randrange(0, hold.amount + 1)
            captured = await self._call(
                "capture_hold",
                lambda timeout: self.tills.client.capture_hold(
                    hold.hold_id, amount=part, request_id=key, timeout=timeout
                ),
            )
            self._note(key, account, unit, captured)
        if self.chance.random() < 0.4:
            self.tills.counts.operations += 1
            release_key = str(uuid.uuid4())
            await self._call(
                "release_hold",
                lambda timeout: self.tills.client.release_hold(
                    hold.hold_id, request_id=release_key, timeout=timeout
                ),
            )

    async def _pay(self) -> None:
        account, unit = self._place()
        key, is_held = str(uuid.uuid4()), self.chance.random() < 0.3
        total = Money(minor_units=self.chance.randrange(1, 500), currency_code="EUR")
        answer = await self._call(
            "pay_sale",
            lambda timeout: self.tills.client.pay_sale(
                total,
                unit=unit,
                only_hold=is_held,
                pass_id=account,
                request_id=key,
                timeout=timeout,
            ),
        )
        if not is_held:
            self._note(key, account, unit, answer)

    def _note(
        self,
        key: str,
        account: str,
        unit: str,
        answer: _Refusable | None,
        *,
        amount: int | None = None,
    ) -> None:
        self.tills.counts.operations += 1
        if answer is None:
            self.tills.note(key, account, unit, amount, "unknown")
        elif answer.refusal:
            self.tills.note(key, account, unit, amount, "refused")
        else:
            self.tills.note(key, account, unit, answer.entry.amount, "posted")
            self._remember(key, account, unit)

    async def _call(self, name: str, send: Callable[[float], Awaitable[Answer]]) -> Answer | None:
        """Sends a request until it is answered. Now and then a till goes away before: then it sends
        it again, or never knows."""
        counts = self.tills.counts
        counts.calls[name] += 1
        is_hasty, gives_up = self.chance.random() < 0.1, self.chance.random() < 0.1
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        for attempt in itertools.count():
            try:
                return await send(_HASTE_SECONDS if is_hasty and attempt == 0 else 10.0)
            except PassmillError as error:
                counts.errors[error.reason] += 1
                if error.reason not in _PASSING:
                    counts.faults[f"{name} {error.reason}"] += 1
                    return None
            if is_hasty and gives_up:
                return None
            if asyncio.get_running_loop().time() > deadline:
                counts.faults[f"{name} never answered"] += 1
                return None
            await asyncio.sleep(self.chance.uniform(0.05, 0.3))
        raise AssertionError
