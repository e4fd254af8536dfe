"""When to ask again after the service said "not now", and when to give up."""

from __future__ import annotations

import random
import time

import grpc

from passmill_client.errors import PassmillError

_SPREAD = 0.25
_FIRST_WAIT, _LONGEST_WAIT, _GROWTH = 0.2, 5.0, 3.0
# A deadline bounds each call of a stream, so that one that hangs is noticed; and a chunk whose
# checksum differs is to be sent again.
_BROKEN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_SEND_AGAIN = "CHECKSUM_MISMATCH"


def seconds_before_retry(error: PassmillError, seconds_left: float) -> float | None:
    """How long to wait before the same call is sent again; None when it should not be.

    Only what was refused for load, with a time to come back (google.rpc.RetryInfo) that is before
    the deadline: gRPC's own retries cannot read it. Waits differ a little, so that callers refused
    together do not return together.
    """
    if error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED or error.retry_after is None:
        return None
    wait = _spread(error.retry_after.total_seconds())
    return wait if wait < seconds_left else None


class Patience:
    """Bears the breaks of a stream, which gRPC does not mend once something was received, as long
    as it gets on."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long it may stand still."""
        self._seconds = seconds
        self.progressed()

    def progressed(self) -> None:
        """Something was received."""
        self._give_up_at = time.monotonic() + self._seconds
        self._next_wait = _FIRST_WAIT

    def seconds_before_reopening(self, error: PassmillError) -> float | None:
        """How long to wait before the stream is opened again; None when it should not be."""
        seconds_left = self._give_up_at - time.monotonic()
        if error.code not in _BROKEN and error.reason != _SEND_AGAIN:
            return seconds_before_retry(error, seconds_left)
        wait = _spread(self._next_wait)
        self._next_wait = min(_GROWTH * self._next_wait, _LONGEST_WAIT)
        return wait if wait < seconds_left else None


def _spread(seconds: float) -> float:
    return seconds * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - a spread
