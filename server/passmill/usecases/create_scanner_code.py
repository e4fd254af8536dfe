"""Create a code with which one device becomes a scanner."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from passmill.domain.clock import Clock
from passmill.domain.ids import parse_uuid
from passmill.domain.scanners import (
    CODE_LIFE,
    ScannerCode,
    ScannerRight,
    new_scanner_code,
    scanner_code_hash,
)
from passmill.domain.venues import VenueId
from passmill.errors import not_found
from passmill.store.database import Transaction
from passmill.store.outbox import insert_event
from passmill.store.scanners import insert_code
from passmill.store.venues import get_venue
from passmill.usecases.mutation import Answer, Mutation, Mutator


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedCode:
    """The code, to be shown this once; empty in a dry run."""

    text: str = field(repr=False)
    expire_time: datetime


class CreateScannerCode:
    """Makes codes for scanners."""

    __slots__ = ("_clock", "_mutator")

    def __init__(self, *, mutator: Mutator, clock: Clock) -> None:
        self._mutator = mutator
        self._clock = clock

    async def __call__(
        self,
        mutation: Mutation[CreatedCode],
        *,
        venue_id: str,
        rights: Iterable[ScannerRight],
    ) -> Answer:
        """A code good for ten minutes and one device; the answer holds it, so
        `mutation.holds_secret` must be set. AppError NOT_FOUND."""
        if not mutation.holds_secret:
            raise ValueError("An answer with a secret must be stored sealed.")
        parsed = parse_uuid(venue_id)
        if parsed is None:
            raise not_found("venue")
        text = new_scanner_code()
        code_hash = scanner_code_hash(text)
        if code_hash is None:
            raise RuntimeError("A code that was just made is none.")

        async def work(tx: Transaction) -> CreatedCode:
            venue = await get_venue(tx, VenueId(parsed))
            now = self._clock.now()
            code = ScannerCode(
                code_hash=code_hash,
                venue_id=venue.venue_id,
                rights=frozenset(rights),
                create_time=now,
                expire_time=now + CODE_LIFE,
            )
            await insert_code(tx, code)
            detail = json.dumps({"venue_id": str(venue.venue_id)})
            await insert_event(tx, kind="scanner.code_created", pass_ids=[], detail=detail, now=now)
            return CreatedCode(
                text="" if mutation.validate_only else text, expire_time=code.expire_time
            )

        return await self._mutator.run(mutation, work)
