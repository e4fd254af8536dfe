"""What a program has at the counter, offers and policy, as last read."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.counter_policies import CounterPolicy
from passmill.domain.ids import ProgramId, TemplateId, TenantId
from passmill.domain.offers import Offer
from passmill.domain.recent import Recent
from passmill.store.counter_policies import get_policy
from passmill.store.database import Database
from passmill.store.offers import program_offers

MOST_OFFERS: Final = 500
_FRESH_SECONDS: Final = 1.0
_MAX_PROGRAMS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCounter:
    """The active offers of a program, oldest first, at most 500, and its policy."""

    offers: Sequence[Offer]
    policy: CounterPolicy

    def for_template(self, template_id: TemplateId) -> list[Offer]:
        """The offers to passes of a template."""
        return [each for each in self.offers if each.template_id in {None, template_id}]


class ProgramCounters:
    """Reads it once a second. What decides a use reads the offer itself; this is for showing."""

    __slots__ = ("_database", "_known", "_monotonic")

    def __init__(
        self, *, database: Database, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._monotonic = monotonic
        self._known: Recent[tuple[TenantId, ProgramId], ProgramCounter] = Recent(
            capacity=_MAX_PROGRAMS
        )

    async def of(self, caller: Caller, program_id: ProgramId) -> ProgramCounter:
        """What the program has, as it was at most a second ago."""
        known, asked = self._known, self._monotonic()
        found = known.find((caller.tenant_id, program_id), now=asked)
        if found is None:
            async with self._database.transaction(caller, read_only=True) as tx:
                found = ProgramCounter(
                    offers=await program_offers(tx, program_id, at_most=MOST_OFFERS),
                    policy=await get_policy(tx, program_id),
                )
            known.keep((caller.tenant_id, program_id), found, until=asked + _FRESH_SECONDS)
        return found

    def forget(self) -> None:
        """Lets a committed change show at once in this process."""
        # Replaced, not emptied: an answer still on its way goes into the old one.
        self._known = Recent(capacity=_MAX_PROGRAMS)
