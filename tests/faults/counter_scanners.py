"""Scanners that show copies of passes to a service, and the journal of what they were told."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.dev.coffee_counter import CoffeeCounter, ShownPass
from passmill_client import AsyncClient, PassmillError
from passmill_client.messages import RefusalReason, ScanOutcome, ScanRef, ScanState

CALL_SECONDS = 60.0
# What a killed server answers; whoever hears it asks again.
PASSING = frozenset({"UNAVAILABLE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """One showing of a pass at a scanner, however often its request is sent. `number`: told to the
    service as the name of staff, so that a redemption can be traced to it."""

    number: int
    shown: ShownPass
    request_id: UUID = field(default_factory=uuid4)

    @property
    def staff(self) -> str:
        """Its name."""
        return f"scan {self.number}"


class Journal:
    """Lines of JSON, in the order in which the scanners heard of it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self.redeem_seconds: list[float] = []
        self.verify_seconds: list[float] = []

    def write(self, kind: str, began: float, **facts: object) -> None:
        """A try that began then and ended now (Unix seconds)."""
        line = {"kind": kind, "began": began, "ended": time.time(), **facts}
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """To be read by others."""
        self._file.close()


class Scanner:
    """A device of staff: an API key, a connection of its own, and the scans it made."""

    def __init__(self, number: int, address: str, counter: CoffeeCounter, journal: Journal) -> None:
        self.number = number
        self.scans: list[Scan] = []
        self._journal = journal
        self._offer_id = counter.offer_id
        _, api_key = counter.scanners[number]
        self._client = AsyncClient(address, api_key, channels=1, timeout=CALL_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.close()

    async def redeem(self, scan: Scan, *, hang_up_after: float | None = None) -> str:
        """Sends the scan's request: how that ended, "answered", "cancelled", "failed" for now or
        "refused" for good. `hang_up_after`: seconds after which the call is cancelled."""
        began, clock = time.time(), time.monotonic()
        facts: dict[str, object]
        try:
            async with asyncio.timeout(hang_up_after):
                answer = await self._client.redeem_pass(
                    ScanRef(barcode=scan.shown.barcode),
                    self._offer_id,
                    staff=scan.staff,
                    request_id=scan.request_id,
                )
        except TimeoutError:
            facts = {"end": "cancelled"}
        except PassmillError as error:
            facts = describe(error)
        else:
            self._journal.redeem_seconds.append(time.monotonic() - clock)
            facts = {
                "end": "answered",
                "is_accepted": answer.outcome == ScanOutcome.SCAN_OUTCOME_ACCEPTED,
                "reason": RefusalReason.Name(answer.reason),
                "state": ScanState.Name(answer.state),
                "uses": answer.uses,
                "redemption_id": answer.redemption.redemption_id,
                "scan_time": _seconds(answer.redemption.scan_time),
                "first_use_id": answer.first_use.redemption_id,
                "first_use_time": _seconds(answer.first_use.scan_time),
                "digest": _digest(answer),
            }
        self._journal.write(
            "redeem",
            began,
            scanner=self.number,
            staff=scan.staff,
            pass_id=scan.shown.pass_id,
            **facts,
        )
        return str(facts["end"])

    async def insist(self, scan: Scan) -> None:
        """Sends the same request until it is answered; what is not to be waited out ends it."""
        while await self.redeem(scan) == "failed":  # noqa: ASYNC110 - a server, not an event
            await asyncio.sleep(0.1)

    async def verify(self, shown: ShownPass) -> None:
        """Asks what the pass is worth."""
        began, clock = time.time(), time.monotonic()
        facts: dict[str, object]
        try:
            answer = await self._client.verify_pass(ScanRef(barcode=shown.barcode))
        except PassmillError as error:
            facts = describe(error)
        else:
            self._journal.verify_seconds.append(time.monotonic() - clock)
            facts = {"end": "answered", "state": ScanState.Name(answer.state)}
        self._journal.write("verify", began, pass_id=shown.pass_id, **facts)


class Showings:
    """Passes as they come to the counter: so many copies of each at about the same time, each at
    another scanner."""

    def __init__(self, shown: Sequence[ShownPass], *, copies: int) -> None:
        self.total = len(shown) * copies
        self.begun = 0
        self.current = shown[0]
        self._rest = itertools.chain.from_iterable([each] * copies for each in shown)

    def next(self) -> Scan | None:
        """The next one, None when all were shown."""
        shown = next(self._rest, None)
        if shown is None:
            return None
        self.current = shown
        self.begun += 1
        return Scan(number=self.begun, shown=shown)


def describe(error: PassmillError) -> dict[str, object]:
    """A call that failed, for the journal."""
    end = "failed" if error.reason in PASSING else "refused"
    return {"end": end, "reason": error.reason, "message": error.message}


def _seconds(moment: Timestamp) -> float:
    return moment.seconds + moment.nanos / 1e9


def _digest(answer: Message) -> str:
    return hashlib.sha256(answer.SerializeToString(deterministic=True)).hexdigest()
