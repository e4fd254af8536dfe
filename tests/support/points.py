"""Points that end, told one by one: the plain model of `passmill.domain.expiries`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from passmill.domain.expiries import Movement
from passmill.domain.ledger import EntryId, EntryKind

NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class PointByPoint:
    """A balance as a heap of points, of which only the ends differ. `heap`: the end of each."""

    heap: list[datetime] = field(default_factory=list)
    _moved: dict[EntryId, tuple[EntryKind, list[datetime]]] = field(default_factory=dict)

    def play(self, each: Movement) -> None:
        """Adds or takes the points of an entry."""
        moved: list[datetime] = []
        if each.amount > 0:
            moved = [each.expire_time or NEVER] * each.amount
            if each.reversed_entry_id is not None:
                kind, spent = self._moved[each.reversed_entry_id]
                moved = [NEVER] * each.amount if kind is EntryKind.EXPIRE else spent
            self.heap += moved
        for _ in range(-each.amount):
            moved.append(min(self.heap, key=lambda end: self._place(end, each)))
            self.heap.remove(moved[-1])
        self._moved[each.entry_id] = (each.kind, moved)

    def left(self) -> Counter[datetime]:
        """How many there are of each end."""
        return Counter(self.heap)

    def due(self, *, held: int, now: datetime) -> list[tuple[datetime, int]]:
        """What has ended, without the first of it that are held: how many of which end."""
        ended = sorted(end for end in self.heap if end <= now)
        return sorted(Counter(ended[held:]).items())

    def _place(self, end: datetime, each: Movement) -> tuple[bool, bool, datetime]:
        own = each.expire_time
        if each.reversed_entry_id is not None:
            own = self._moved[each.reversed_entry_id][1][0]
        has_ended = end <= each.post_time and not each.is_capture
        return end != own, has_ended, end
