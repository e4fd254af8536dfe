"""How much is under way in this process: calls, streams, and the bytes of requests."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from passmill.errors import AppError, Reason

_SOON: Final = timedelta(milliseconds=200)
# So long a key's own calls usually are under way; others' are not in its way.
_A_LITTLE: Final = timedelta(seconds=1)
_SMALL: Final = 64 << 10


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
        """The caller has this key: only now, or others could take its places."""
        self._of_keys[key_id] = self._of_keys.get(key_id, 0) + 1

    def require_share(self, key_id: str) -> None:
        """AppError RATE_LIMITED when the key has more calls than its share."""
        if self._of_keys[key_id] > self._most_of_key:
            raise _greedy("many calls")

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
    """The bytes of requests that are under way: so many in all, and a share of them for each key.
    Small requests count in all alone: a key has only so many calls."""

    __slots__ = ("_most", "_most_of_key", "_of_keys", "_taken")

    def __init__(self, *, most: int, most_of_key: int) -> None:
        self._most = most
        self._most_of_key = most_of_key
        self._taken = 0
        self._of_keys: dict[str, int] = {}

    def enter(self, size: int) -> None:
        """A request comes, not yet known whose. `leave` ends it."""
        self._taken += size

    def require(self) -> None:
        """AppError RATE_LIMITED when it is too much."""
        if self._taken > self._most:
            raise crowded()

    def take(self, key_id: str, size: int) -> None:
        """A request that has entered is this key's."""
        if size > _SMALL:
            self._of_keys[key_id] = self._of_keys.get(key_id, 0) + size

    def require_share(self, key_id: str) -> None:
        """AppError RATE_LIMITED when the key has too much."""
        if self._of_keys and self._of_keys.get(key_id, 0) > self._most_of_key:
            raise _greedy("much")

    def leave(self, key_id: str, size: int) -> None:
        """A request has ended. `key_id`: of whom it was taken, empty when that was not found
        out."""
        self._taken -= size
        if key_id and size > _SMALL:
            taken = self._of_keys[key_id] - size
            if taken:
                self._of_keys[key_id] = taken
            else:
                del self._of_keys[key_id]


def crowded() -> AppError:
    """Too much at once."""
    message = "Too many calls at once. Retry with the same request_id."
    return AppError(reason=Reason.RATE_LIMITED, message=message, retry_after=_SOON)


def _greedy(what: str) -> AppError:
    message = f"Too {what} of this key at once. Retry with the same request_id."
    return AppError(reason=Reason.RATE_LIMITED, message=message, retry_after=_A_LITTLE)
