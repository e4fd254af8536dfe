"""A few log lines a second of what may come by the thousand."""

from collections.abc import Callable
from time import monotonic


class Sampler:
    """Says which occurrence is to be logged: at most `per_second` of them."""

    __slots__ = ("_left", "_monotonic", "_per_second", "_second", "_suppressed")

    def __init__(self, *, per_second: int, monotonic: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._monotonic = monotonic
        self._second = -1
        self._left = 0
        self._suppressed = 0

    def take(self) -> int | None:
        """None: leave this one out. Else how many were left out since the last one that was not."""
        second = int(self._monotonic())
        if second != self._second:
            self._second, self._left = second, self._per_second
        if self._left == 0:
            self._suppressed += 1
            return None
        self._left -= 1
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
