"""Apple's push service, reached through the native engine: a pool of connections a topic."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from passmill._signer import PushEngine, PushOutcomes, PushPool, SigningIdentity
from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.domain.push_outcomes import ACCEPTED, PushOutcome, PushState

APPLE_HOST: Final = "api.push.apple.com"
"""Production. Passes know no other: their pushes never reach a device over Apple's sandbox."""
APPLE_PORT: Final = 443

_IDLE_SECONDS: Final = 3600.0
_STORED_FOR: Final = timedelta(days=7)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STATES: Final = (
    PushState.ACCEPTED,
    PushState.REJECTED,
    PushState.INVALIDATED,
    PushState.UNREACHABLE,
)

_Topic: TypeAlias = tuple[TenantId, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApnsEndpoint:
    """Where pushes go. `roots`: the certificates to trust as PEM, None for the public ones."""

    host: str = APPLE_HOST
    port: int = APPLE_PORT
    roots: bytes | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class _Topical:
    """A topic's connections, under one certificate."""

    pool: PushPool = field(repr=False)
    fingerprint: bytes
    used_at: float
    calls: int = 0
    is_retired: bool = False

    def close_if_done(self) -> None:
        if self.is_retired and not self.calls:
            self.pool.close()


class ApnsPools:
    """Pushes to devices, a pool of connections for each tenant's pass type.

    `deadline_seconds`: by when every push of a call has ended. `stored_for`: how long Apple keeps a
    push for a device that is off. `connections`: of a topic at most, 1 to 64. `threads`: of the
    engine; one sends 100,000 pushes a second. `calls`: under way at once; others wait. `attempts`:
    how often one token is sent to where Apple says 429 or 5xx. `topics`: whose connections are kept
    open; the least recently used go first, and those not used for `idle_seconds`. `monotonic`:
    seconds that no clock correction moves.
    """

    def __init__(
        self,
        endpoint: ApnsEndpoint,
        *,
        clock: Clock,
        deadline_seconds: float = 15.0,
        stored_for: timedelta = _STORED_FOR,
        connections: int = 1,
        threads: int = 1,
        calls: int = 16,
        topics: int = 1_000,
        attempts: int = 8,
        ping_seconds: float = 15.0,
        idle_seconds: float = _IDLE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._stored_for = stored_for
        self._connections = connections
        self._attempts = attempts
        self._ping_seconds = ping_seconds
        self._most_topics = topics
        self._idle_seconds = idle_seconds
        self._monotonic = monotonic
        self._engine = PushEngine(threads=threads)
        # Not asyncio's own threads: a call may block for as long as its deadline.
        self._callers = ThreadPoolExecutor(max_workers=calls, thread_name_prefix="push")
        self._topics: OrderedDict[_Topic, _Topical] = OrderedDict()

    async def push(
        self, tenant_id: TenantId, identity: SigningIdentity, tokens: Sequence[str]
    ) -> list[PushOutcome]:
        """Push once to each token, at most a million; how each push ended, in their order.

        The topic is the identity's pass type. Another certificate than before closes the
        connections that showed the old one, once nobody uses them. A cancelled call is pushed to
        its end nevertheless. ValueError when an endpoint's host or roots cannot be used.
        """
        if not tokens:
            return []
        topical = self._borrow(tenant_id, identity)
        pushing = asyncio.get_running_loop().run_in_executor(
            self._callers, self._push, topical.pool, identity, tokens
        )
        pushing.add_done_callback(lambda _: self._give_back(topical))
        return await asyncio.shield(pushing)

    def close_idle(self) -> None:
        """Close connections that nobody has used for long. `push` does so too."""
        now = self._monotonic()
        for topic, topical in list(self._topics.items()):
            if len(self._topics) <= self._most_topics and (
                now - topical.used_at < self._idle_seconds
            ):
                return  # all that follow were used later
            if not topical.calls:
                self._retire(topic)

    async def close(self) -> None:
        """End what is being pushed as unreachable, and close all connections."""
        for topical in self._topics.values():
            topical.pool.close()
        self._topics.clear()
        await asyncio.to_thread(self._callers.shutdown)

    def _borrow(self, tenant_id: TenantId, identity: SigningIdentity) -> _Topical:
        certificate = identity.certificate
        topic = (tenant_id, certificate.pass_type_identifier)
        topical = self._topics.get(topic)
        if topical is None or topical.fingerprint != certificate.fingerprint_sha256:
            self._retire(topic)
            topical = self._topics[topic] = _Topical(
                pool=PushPool(
                    self._engine,
                    identity,
                    host=self._endpoint.host,
                    port=self._endpoint.port,
                    roots=self._endpoint.roots,
                    connections=self._connections,
                    ping_seconds=self._ping_seconds,
                ),
                fingerprint=certificate.fingerprint_sha256,
                used_at=0.0,
            )
        topical.calls += 1
        topical.used_at = self._monotonic()
        self._topics.move_to_end(topic)
        self.close_idle()
        return topical

    def _retire(self, topic: _Topic) -> None:
        topical = self._topics.pop(topic, None)
        if topical is not None:
            topical.is_retired = True
            topical.close_if_done()

    @staticmethod
    def _give_back(topical: _Topical) -> None:
        topical.calls -= 1
        topical.close_if_done()

    def _push(
        self, pool: PushPool, identity: SigningIdentity, tokens: Sequence[str]
    ) -> list[PushOutcome]:
        expiration = self._clock.now() + self._stored_for
        return _outcomes(
            pool.push_many(
                tokens,
                topic=identity.certificate.pass_type_identifier,
                expiration=int(expiration.timestamp()),
                deadline_seconds=self._deadline_seconds,
                attempts=self._attempts,
            )
        )


def _outcomes(pushed: PushOutcomes) -> list[PushOutcome]:
    outcomes = [ACCEPTED] * len(pushed)
    for index, status, reason, at_ms in pushed.details:
        outcomes[index] = PushOutcome(
            state=_STATES[pushed.statuses[index]],
            status=status,
            reason=reason,
            at=_EPOCH + timedelta(milliseconds=at_ms) if at_ms else None,
        )
    return outcomes
