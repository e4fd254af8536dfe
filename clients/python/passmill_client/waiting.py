"""When to ask again after the service said "not now"."""

from __future__ import annotations

import random

import grpc

from passmill_client.errors import PassmillError

_SPREAD = 0.25


def seconds_before_retry(error: PassmillError, seconds_left: float) -> float | None:
    """How long to wait before the same call is sent again; None when it should not be.

    Only what was refused for load, with a time to come back (google.rpc.RetryInfo) that is before
    the deadline: gRPC's own retries cannot read it. Waits differ a little, so that callers refused
    together do not return together.
    """
    if error.code is not grpc.StatusCode.RESOURCE_EXHAUSTED or error.retry_after is None:
        return None
    wait = error.retry_after.total_seconds() * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - a spread
    return wait if wait < seconds_left else None
