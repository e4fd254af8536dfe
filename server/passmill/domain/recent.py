"""What was looked up a moment ago and may be used again for a while."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A bounded map whose entries end by time; when it is full the least recently used one goes.

    Times are seconds of whatever clock the owner reads, the same one in every call.
    """

    __slots__ = ("_capacity", "_entries")

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[K, tuple[V, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: K, *, now: float = 0.0) -> V | None:
        """The value kept under `key`, None when there is none or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, until = entry
        if now >= until:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def keep(self, key: K, value: V, *, until: float = math.inf) -> None:
        """Keeps `value` under `key` before the moment `until`."""
        self._entries[key] = (value, until)
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def forget(self, key: K) -> None:
        """Drops what is kept under `key`."""
        self._entries.pop(key, None)
