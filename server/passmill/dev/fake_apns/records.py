"""What is kept of each push, for whoever checks a run afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple


class Fate(StrEnum):
    """How a push ended."""

    ANSWERED = "answered"
    """With a status."""
    HUNG = "hung"
    """No answer; the stream or the whole connection was left as it is."""
    RESET = "reset"
    DISCONNECTED = "disconnected"
    IGNORED = "ignored"
    """Above the last stream of a GOAWAY: not looked at."""
    CUT_OFF = "cut off"
    """The client went, or the connection ended, before the answer was written."""


class PushRecord(NamedTuple):
    """One push. `at`: seconds of `time.monotonic`, which all processes of a machine share, when
    the end was decided. `status`: 0 without an answer. `is_accepted`: Apple's side took it, whether
    or not the client heard so; `is_lost`: took it and lost it."""

    at: float
    token: str
    topic: str
    status: int
    reason: str
    fate: Fate
    is_accepted: bool
    is_lost: bool
    expiration: int
    connection: int
    stream: int
    apns_id: str


class PushLog:
    """All pushes of a run, in the order they ended."""

    def __init__(self) -> None:
        self.records: list[PushRecord] = []
        self.protocol_errors: list[str] = []
        """What clients did that HTTP/2 forbids; empty after a clean run."""
        self.connections = 0
        """How many were ever made."""

    def extend(self, records: Iterable[PushRecord]) -> None:
        """Add records that came from elsewhere."""
        self.records.extend(records)

    def accepted(self) -> Counter[str]:
        """How often each token's push was accepted."""
        return Counter(record.token for record in self.records if record.is_accepted)

    def of_token(self, token: str) -> list[PushRecord]:
        """Everything that happened to a token."""
        return [record for record in self.records if record.token == token]

    def statuses(self) -> Counter[int]:
        """How many pushes ended with which status; 0 without an answer."""
        return Counter(record.status for record in self.records)
