"""How much is under way in this process: calls, streams, and the bytes of requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from passmill.errors import AppError, Reason

_SOON: Final = timedelta(milliseconds=200)
# So long a key's own calls usually are under way; others' are not in its way.
_A_LITTLE: Final = timedelta(seconds=1)


class Places:
    """Places for calls: so many in all, and a share of them for each key, so that nobody's calls
    take everybody's. Callers without a key share one key's."""

    __slots__ = ("_most", "_most_of_key", "_of_keys", "_taken")

    def __init__(self, *, most: int, most_of_key: int) -> None:
        self._most = most
        self._most_of_key = most_of_key
        self._taken = 0
        self._of_keys: dict[str, int] = {}

    def enter(self) -> None:
        """Somebody comes, not yet known who. `leave` ends it, whatever becomes of him."""
        self._taken += 1

    def require(self) -> None:
        """AppError RATE_LIMITED when there are more calls than places."""
        if self._taken > self._most:
            raise crowded()

    def take(self, key_id: str) -> None:
        """The caller has this key: only now, or others could take its places. AppError
        RATE_LIMITED when it has too many; it is counted all the same until it leaves."""
        count = self._of_keys.get(key_id, 0) + 1
        self._of_keys[key_id] = count
        if count > self._most_of_key:
            raise AppError(
                reason=Reason.RATE_LIMITED,
                message="Too many calls of this key at once. Retry with the same request_id.",
                retry_after=_A_LITTLE,
            )

    def leave(self, key_id: str) -> None:
        """A call has ended. `key_id`: of whom it was taken, empty when that was not found out."""
        self._taken -= 1
        if key_id:
            count = self._of_keys[key_id] - 1
            if count:
                self._of_keys[key_id] = count
            else:
                del self._of_keys[key_id]


class RequestBytes:
    """The bytes of requests that are under way."""

    __slots__ = ("_most", "_taken")

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._taken = 0

    def enter(self, size: int) -> None:
        """A request has come. `give_back` ends it."""
        self._taken += size

    def require(self) -> None:
        """AppError RATE_LIMITED when it is too much."""
        if self._taken > self._most:
            raise crowded()

    def take(self, size: int) -> None:
        """Counts a message of a stream. AppError RATE_LIMITED when it is too much; then it is not
        counted."""
        self._taken += size
        if self._taken > self._most:
            self._taken -= size
            raise crowded()

    def give_back(self, size: int) -> None:
        """A request is done with."""
        self._taken -= size


def crowded() -> AppError:
    """Too much at once."""
    message = "Too many calls at once. Retry with the same request_id."
    return AppError(reason=Reason.RATE_LIMITED, message=message, retry_after=_SOON)
