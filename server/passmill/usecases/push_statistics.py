"""Count pushes by how they ended, and say which pass types are stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from passmill.domain.callers import Caller
from passmill.domain.device_statistics import PushCount, StoppedTopic
from passmill.store.database import Database
from passmill.store.device_statistics import count_pushes, list_stopped_topics


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedPushes:
    """Counts by pass type, day, state and reason, and the pass types stopped now."""

    counts: Sequence[PushCount]
    stopped: Sequence[StoppedTopic]


class PushStatistics:
    """Counts a tenant's pushes."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def __call__(
        self,
        caller: Caller,
        *,
        pass_type_identifier: str | None,
        day_from: date | None,
        day_before: date | None,
        at_most: int,
    ) -> CountedPushes:
        """So many counts at most. Of a pass type that the tenant does not have there are none."""
        async with self._database.transaction(caller, read_only=True) as tx:
            return CountedPushes(
                counts=await count_pushes(
                    tx,
                    pass_type_identifier=pass_type_identifier,
                    day_from=day_from,
                    day_before=day_before,
                    at_most=at_most,
                ),
                stopped=await list_stopped_topics(tx, pass_type_identifier=pass_type_identifier),
            )
