"""Stop a pass type's pushes when APNs refuses all of them, and try again from time to time: it is
the certificate then, and no token may pay for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, TypeAlias

import structlog

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.domain.push_outcomes import PushOutcome, PushState
from passmill.domain.recent import Recent
from passmill.domain.topic_tally import TopicTally
from passmill.errors import AppError, Reason
from passmill.store import stopped_topics
from passmill.store.database import Database

_KNOWN_SECONDS: Final = 1.0
_MOST_TOPICS: Final = 10_000
_LEAST_WAIT: Final = timedelta(seconds=1)

_Topic: TypeAlias = tuple[TenantId, str]


class GuardTopics:
    """Watches what becomes of pushes, by pass type. `probe_every`: how often one push tries a
    stopped one."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        probe_every: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._clock = clock
        self._probe_every = probe_every
        self._monotonic = monotonic
        self._running: Recent[_Topic, bool] = Recent(capacity=_MOST_TOPICS)
        self._tallies: Recent[_Topic, TopicTally] = Recent(capacity=_MOST_TOPICS)
        self._log = structlog.get_logger("passmill.push")

    async def admit(self, caller: Caller, topic: str) -> bool:
        """Whether its pushes go out freely; False: the caller is the one who tries, with one push.

        AppError UNAVAILABLE, with when to come again, while it is stopped.
        """
        key = (caller.tenant_id, topic)
        if self._running.find(key, now=self._monotonic()):
            return True
        async with self._database.statement(caller) as tx:
            probe_time = await stopped_topics.find_probe_time(tx, topic)
        if probe_time is None:
            self._running.keep(key, True, until=self._monotonic() + _KNOWN_SECONDS)
            return True
        now = self._clock.now()
        if probe_time <= now:
            async with self._database.statement(caller) as tx:
                if await stopped_topics.claim_probe(
                    tx, topic, now=now, probe_time=now + self._probe_every
                ):
                    return False
        raise _stopped(max(probe_time - now, _LEAST_WAIT))

    async def note(
        self, caller: Caller, topic: str, outcomes: Sequence[PushOutcome], *, is_again: bool
    ) -> None:
        """Looks at how pushes ended. `is_again`: of tokens that were pushed in vain before; what is
        refused of these was counted then.

        AppError UNAVAILABLE when its pushes are stopped, as no token can be to blame.
        """
        accepted = sum(each.state is PushState.ACCEPTED for each in outcomes)
        self._tally(caller, topic).note(
            accepted=accepted,
            blamed=0 if is_again else sum(each.is_blamed for each in outcomes),
            now=self._monotonic(),
        )
        refused = next((each for each in outcomes if each.stops_topic), None)
        if refused is not None and not accepted:
            await self.stop(caller, topic, refused.reason or str(refused.status))

    def is_in_doubt(self, caller: Caller, topic: str) -> bool:
        """Whether so many tokens were refused that it may be the topic: who finds out that it is
        calls `stop`, and else `clear`."""
        return self._tally(caller, topic).is_in_doubt

    def clear(self, caller: Caller, topic: str) -> None:
        """Forgets what was refused, as the topic was not to blame."""
        self._tally(caller, topic).clear()

    async def stop(self, caller: Caller, topic: str, reason: str) -> None:
        """Stops its pushes. Always AppError UNAVAILABLE, with when to come again."""
        self._running.forget((caller.tenant_id, topic))
        now = self._clock.now()
        async with self._database.statement(caller) as tx:
            is_new = await stopped_topics.stop_topic(
                tx, topic, reason=reason, now=now, probe_time=now + self._probe_every
            )
        if is_new:
            self._log.error(
                "push.topic_stopped",
                tenant_id=str(caller.tenant_id),
                pass_type_identifier=topic,
                reason=reason,
            )
        raise _stopped(self._probe_every)

    async def resume(self, caller: Caller, topic: str) -> None:
        """Lets its pushes go on, as one has shown that the topic is good."""
        self.clear(caller, topic)
        async with self._database.statement(caller) as tx:
            is_new = await stopped_topics.resume_topic(tx, topic)
        if is_new:
            self._log.warning(
                "push.topic_resumed", tenant_id=str(caller.tenant_id), pass_type_identifier=topic
            )

    def _tally(self, caller: Caller, topic: str) -> TopicTally:
        key = (caller.tenant_id, topic)
        tally = self._tallies.find(key)
        if tally is None:
            tally = TopicTally()
            self._tallies.keep(key, tally)
        return tally


def _stopped(retry_after: timedelta) -> AppError:
    return AppError(
        reason=Reason.UNAVAILABLE,
        message="The pushes of this pass type are stopped.",
        retry_after=retry_after,
    )
