"""So many pushes a second in all, as each makes a phone come and fetch: a bucket that all workers
share, and one of each worker's own where Redis does not answer.

The generic cell rate algorithm (ITU-T I.371): a time in the future by which all that was reserved
will have gone out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from passmill.push.redis_link import RedisLink

_KEY: Final = "passmill:pace"
_BURST_SECONDS: Final = 0.1
_MICRO: Final = 1_000_000

# KEYS: the bucket. ARGV: how many, microseconds each, microseconds that may have been saved up.
# Gives how many microseconds to wait. Redis' own clock, so that workers' need not agree. The bucket
# keeps by which time it was written: where that has yet to come the clock was put back, and what
# was reserved is as far ahead as it was. So it is never emptied, however much is reserved.
_RESERVE: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local till, written = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')
local from = tonumber(till or '0') - math.max(0, tonumber(written or '0') - now)
if from < now - ARGV[3] then from = now - ARGV[3] end
till = from + ARGV[1] * ARGV[2]
local life = math.ceil(math.max(till - now, 0) / 1000) + 1000
local state = string.format('%.0f %.0f', till, now)
redis.call('SET', KEYS[1], state, 'PX', string.format('%.0f', life))
return math.max(0, math.ceil(from - now))
"""


class PushPace:
    """How fast pushes go out. `per_second`: of all workers. `share`: of that, a worker's own while
    it cannot ask the others."""

    def __init__(
        self,
        link: RedisLink,
        *,
        per_second: float,
        share: float,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._each_us = max(1, round(_MICRO / per_second))
        self._own_each = 1 / (per_second * share)
        self._own_till = 0.0
        self._sleep = sleep
        self._monotonic = monotonic
        # As many as go out in a tenth of a second, so that tenants take turns.
        self.most_at_once = max(1, min(1000, int(per_second / 10)))

    async def wait(self, count: int) -> float:
        """Returns when so many may go out, at most `most_at_once`; gives the seconds waited."""
        reply = await self._link.ask_one(
            "EVAL",
            _RESERVE,
            1,
            _KEY,
            count,
            self._each_us,
            round(_BURST_SECONDS * _MICRO),
        )
        seconds = reply / _MICRO if isinstance(reply, int) else self._reserve_own(count)
        if seconds > 0:
            await self._sleep(seconds)
        return seconds

    def _reserve_own(self, count: int) -> float:
        now = self._monotonic()
        start = max(self._own_till, now - _BURST_SECONDS)
        self._own_till = start + count * self._own_each
        return max(0.0, start - now)
