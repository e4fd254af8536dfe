"""Whether it is the tokens that are bad, or the whole topic: a wrong certificate gets the same
answers for every token as a dead token does."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

_WINDOW_SECONDS: Final = 60
_FEW: Final = 5
_SHARE: Final = 100  # one in so many


@dataclass(slots=True)
class _Second:
    second: int
    accepted: int = 0
    blamed: int = 0


class TopicTally:
    """What became of a topic's pushes in the last minute. Times: seconds of any clock."""

    __slots__ = ("_accepted", "_blamed", "_counts")

    def __init__(self) -> None:
        self._counts: deque[_Second] = deque()
        self._accepted = 0
        self._blamed = 0

    def note(self, *, accepted: int, blamed: int, now: float) -> None:
        """Counts pushes. `blamed`: refused for their token, with nothing that says since when."""
        second = int(now)
        if not self._counts or self._counts[-1].second != second:
            self._counts.append(_Second(second))
        self._counts[-1].accepted += accepted
        self._counts[-1].blamed += blamed
        self._accepted += accepted
        self._blamed += blamed
        while self._counts[0].second <= second - _WINDOW_SECONDS:
            gone = self._counts.popleft()
            self._accepted -= gone.accepted
            self._blamed -= gone.blamed

    def clear(self) -> None:
        """Forgets all: the topic begins anew."""
        self._counts.clear()
        self._accepted = self._blamed = 0

    def __len__(self) -> int:
        """How many seconds it remembers."""
        return len(self._counts)

    @property
    def is_in_doubt(self) -> bool:
        """More tokens are refused than die by themselves: it may be the topic."""
        return self._blamed > max(_FEW, (self._accepted + self._blamed) // _SHARE)
