"""A service whose clock a test sets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.service import Service, SetClock


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """A service and what workers there are, by one clock."""

    clock: SetClock
    service: Service

    def stamp(self, span: timedelta) -> Timestamp:
        """So long from now."""
        found = Timestamp()
        found.FromDatetime(self.clock.now() + span)
        return found
