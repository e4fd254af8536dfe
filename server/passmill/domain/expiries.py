"""Which points are left of those that end, and what is to be taken when an end has come.

The rule. What is taken from a balance takes first what ends first, of what has not ended; then what
has no end. But:

- A hold is for what ends first, even if that ends while it is held: of what has ended only so much
  is taken as is more than what is held, and the rest when the hold has ended otherwise. A capture
  spends what ends first, ended or not.
- An earning taken back takes what is left of itself first.
- A spending taken back gives each end what it took of it; what has ended meanwhile is taken again.
  An expiry taken back gives what has no end.
- An EXPIRE of the service's own names the end that has come, and takes of that.

What is left by ends, and what has none, sum up to the balance after each entry.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from passmill.domain.ids import derived_uuid
from passmill.domain.ledger import AccountId, EntryId, EntryKind

_Part = tuple[datetime | None, int]  # so much with this end; None: with none


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """What the rule looks at of an entry. `expire_time`: when what was earned ends, or the end that
    had come, of what the service took."""

    entry_id: EntryId
    kind: EntryKind
    amount: int
    post_time: datetime
    expire_time: datetime | None = None
    reversed_entry_id: EntryId | None = None
    is_capture: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """So much is to be taken because its end has come. `before`: how often something of this end
    was taken already; 0 unless part of it was held, or came back."""

    end: datetime
    amount: int
    before: int

    def request_id(self, account_id: AccountId, unit: str) -> UUID:
        """The key under which it is posted, the same whoever finds it."""
        return derived_uuid(f"expiry {self.before} of {account_id} {unit} {self.end.isoformat()}")


@dataclass(slots=True, kw_only=True)
class Lots:
    """What is left of a balance, by end; `endless`, of what has none."""

    left: dict[datetime, int] = field(default_factory=dict)
    endless: int = 0
    _ends: list[datetime] = field(default_factory=list)  # of `left`, in order
    _parts: dict[EntryId, list[_Part]] = field(default_factory=dict)
    _expired: dict[datetime, int] = field(default_factory=dict)

    @classmethod
    def of(cls, movements: Iterable[Movement]) -> Lots:
        """What the entries of one account and unit leave, all of them in their order."""
        lots = cls()
        unlike: set[EntryId] = set()
        for each in movements:
            undone = each.reversed_entry_id
            if each.amount < 0:
                parts = lots._take_for(each)
            elif undone is None:
                parts = [(each.expire_time, each.amount)]
            else:
                parts = [(None, each.amount)] if undone in unlike else lots._parts[undone]
            if each.amount > 0:
                for end, amount in parts:
                    lots._give(end, amount)
            if each.kind is EntryKind.EXPIRE:
                unlike.add(each.entry_id)
                if each.expire_time is not None:
                    lots._expired[each.expire_time] = lots._expired.get(each.expire_time, 0) + 1
            lots._parts[each.entry_id] = parts
        return lots

    def due(self, *, held: int, now: datetime) -> list[Expiry]:
        """What is to be taken now, of which so much is held; by end."""
        due = []
        for end in self._ends[: bisect_right(self._ends, now)]:
            kept = min(self.left[end], held)
            held -= kept
            if amount := self.left[end] - kept:
                due.append(Expiry(end=end, amount=amount, before=self._expired.get(end, 0)))
        return due

    def first_end(self, expired: Sequence[Expiry] = ()) -> datetime | None:
        """The earliest end of which something is left when these are taken; None for no end."""
        taken = {each.end: each.amount for each in expired}
        return next((end for end in self._ends if self.left[end] > taken.get(end, 0)), None)

    def next_after(self, now: datetime) -> tuple[datetime, int] | None:
        """What ends next, and how much; None when nothing that is left does."""
        at = bisect_right(self._ends, now)
        return None if at == len(self._ends) else (self._ends[at], self.left[self._ends[at]])

    def _give(self, end: datetime | None, amount: int) -> None:
        if end is None:
            self.endless += amount
            return
        if end not in self.left:
            self.left[end] = 0
            insort(self._ends, end)
        self.left[end] += amount

    def _take_for(self, each: Movement) -> list[_Part]:
        """Takes what the entry takes; gives of what ends."""
        wanted = -each.amount
        live = 0 if each.is_capture else bisect_right(self._ends, each.post_time)
        order: list[datetime | None] = [*self._ends[live:], None, *self._ends[:live]]
        if each.reversed_entry_id is not None:
            order.insert(0, self._parts[each.reversed_entry_id][0][0])
        elif each.expire_time is not None:
            order.insert(0, each.expire_time)
        parts: list[_Part] = []
        for end in order:
            there = self.endless if end is None else self.left.get(end, 0)
            if taken := min(there, wanted):
                self._remove(end, taken)
                parts.append((end, taken))
                wanted -= taken
            if not wanted:
                break
        return parts

    def _remove(self, end: datetime | None, amount: int) -> None:
        if end is None:
            self.endless -= amount
            return
        self.left[end] -= amount
        if not self.left[end]:
            del self.left[end]
            self._ends.remove(end)
