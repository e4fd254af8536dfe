"""When a push that did not get through is made again."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

_ROUNDS: Final = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=3))
_LONGEST: Final = timedelta(hours=1)
# A day, as the delays add up.
_MOST_UNPROVEN: Final = 30


def next_round(rounds: int, *, is_unproven: bool) -> timedelta | None:
    """How long to wait, after so many rounds in vain and one more; None: it is not made again.

    `is_unproven`: nothing tells whether it is the token, or APNs or the pass type, which somebody
    mends: it is made again for a day, after twice as long each time and an hour at most.
    """
    if rounds < len(_ROUNDS):
        return _ROUNDS[rounds]
    if not is_unproven or rounds >= _MOST_UNPROVEN:
        return None
    return min(_ROUNDS[-1] * (1 << (rounds - len(_ROUNDS) + 1)), _LONGEST)
