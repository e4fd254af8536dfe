"""Redis (or Valkey, or a cluster of either), asked for what would be quick to know and never for
what must be known: whoever asks gets None when it does not answer, and goes another way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

Argument: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Argument, ...]
Reply: TypeAlias = object
"""Bytes, int, None or a list of these; a RedisError where that one command failed."""

_FIRST_REST: Final = 0.2
_LONGEST_REST: Final = 5.0
_TIMES_A_TIMEOUT: Final = 4  # so long may all of a pipeline take, which reads many times


class _Pipeline(Protocol):
    def execute_command(self, *arguments: Argument) -> object: ...
    async def execute(self, raise_on_error: bool = True) -> list[Reply]: ...
    async def __aenter__(self) -> _Pipeline: ...
    async def __aexit__(self, *_: object) -> None: ...


class _Client(Protocol):
    def pipeline(self, transaction: bool = ...) -> _Pipeline: ...
    async def aclose(self) -> None: ...


class LinkMetrics(Protocol):
    """What a link tells of itself."""

    def redis_failed(self) -> None:
        """Redis was asked and did not answer, or not in time."""
        ...

    def redis_away(self, is_away: bool) -> None:
        """Whether it is left alone for a while."""
        ...


@dataclass(slots=True)
class _Rest:
    """Redis is left alone until then."""

    until: float = 0.0
    seconds: float = 0.0


class RedisLink:
    """One process' connections to Redis.

    After a failure it is left alone for a while, twice as long each time up to five seconds; then
    one question goes out, and the others wait for nobody meanwhile. `timeout_seconds`: for
    connecting and for each read.
    """

    def __init__(
        self,
        client: _Client,
        *,
        timeout_seconds: float,
        metrics: LinkMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._timeout = timeout_seconds
        self._metrics = metrics
        self._monotonic = monotonic
        self._rest = _Rest()

    @property
    def is_away(self) -> bool:
        """Whether it is left alone just now."""
        return self._monotonic() < self._rest.until

    async def ask(self, commands: Sequence[Command]) -> list[Reply] | None:
        """The replies, in this order; None when Redis does not answer. Not a transaction: in a
        cluster the commands go to several nodes, and those of one that is away fail alone."""
        if not commands:
            return []
        if self.is_away:
            return None
        if self._rest.seconds:
            # One probes; the others take it for away until that is over.
            self._rest.until = self._monotonic() + self._timeout * _TIMES_A_TIMEOUT
        try:
            async with _uncancelled(), asyncio.timeout(self._timeout * _TIMES_A_TIMEOUT):
                replies = await self._send(commands)
        except (RedisError, OSError, TimeoutError):
            self._stumble()
            return None
        if all(isinstance(reply, Exception) for reply in replies):
            self._stumble()
            return None
        if self._rest.seconds:
            self._rest = _Rest()
            self._metrics.redis_away(False)
        return replies

    async def ask_one(self, *command: Argument) -> Reply | None:
        """The reply to one command; None as well when it failed."""
        replies = await self.ask([command])
        if replies is None or isinstance(replies[0], Exception):
            return None
        return replies[0]

    async def _send(self, commands: Sequence[Command]) -> list[Reply]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute(raise_on_error=False)

    def _stumble(self) -> None:
        self._metrics.redis_failed()
        if not self._rest.seconds:
            self._metrics.redis_away(True)
        seconds = min(max(2 * self._rest.seconds, _FIRST_REST), _LONGEST_REST)
        self._rest = _Rest(until=self._monotonic() + seconds, seconds=seconds)


@asynccontextmanager
async def _uncancelled() -> AsyncIterator[None]:
    """Raises CancelledError where the block let it get lost: redis-py sends within
    `asyncio.wait_for`, which before Python 3.12 forgets it if what it waits for is just done."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


@asynccontextmanager
async def open_redis(
    url: str,
    *,
    is_cluster: bool,
    timeout_seconds: float,
    metrics: LinkMetrics,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[RedisLink]:
    """A link that connects when it is first asked, and closes in the end. ValueError for a URL that
    is none."""
    options: dict[str, Any] = {
        "protocol": 3,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        # A connection that the server has closed meanwhile is opened anew, once.
        "retry": Retry(NoBackoff(), 1),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    client = cast(
        "_Client",
        RedisCluster.from_url(url, **options, require_full_coverage=False)
        if is_cluster
        else Redis.from_url(url, **options),
    )
    try:
        yield RedisLink(
            client, timeout_seconds=timeout_seconds, metrics=metrics, monotonic=monotonic
        )
    finally:
        await client.aclose()
