"""Whether it is the tokens that are bad, or the whole topic: a wrong certificate gets the same
answers for every token as a dead token does."""

from __future__ import annotations

from collections import deque
from typing import Final

_WINDOW_SECONDS: Final = 60.0
_FEW: Final = 5
_SHARE: Final = 100  # one in so many


class TopicTally:
    """What became of a topic's pushes in the last minute. Times: seconds of any clock."""

    __slots__ = ("_accepted", "_blamed", "_counts")

    def __init__(self) -> None:
        self._counts: deque[tuple[float, int, int]] = deque()
        self._accepted = 0
        self._blamed = 0

    def note(self, *, accepted: int, blamed: int, now: float) -> None:
        """Counts pushes. `blamed`: refused for their token, with nothing that says since when."""
        self._counts.append((now, accepted, blamed))
        self._accepted += accepted
        self._blamed += blamed
        while self._counts[0][0] <= now - _WINDOW_SECONDS:
            _, accepted, blamed = self._counts.popleft()
            self._accepted -= accepted
            self._blamed -= blamed

    def clear(self) -> None:
        """Forgets all: the topic begins anew."""
        self._counts.clear()
        self._accepted = self._blamed = 0

    @property
    def is_in_doubt(self) -> bool:
        """More tokens are refused than die by themselves: it may be the topic."""
        return self._blamed > max(_FEW, (self._accepted + self._blamed) // _SHARE)

    @property
    def are_tokens_to_blame(self) -> bool:
        """So few tokens are refused, while others are accepted, that each is dead by itself."""
        return self._accepted > 0 and not self.is_in_doubt
