"""Reads that ride together: those that come while one is under way go in the next, all in one
statement.

Nothing is kept, so nothing is stale: whoever asks is answered by a statement that began later. A
lone read goes at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.ids import PassId, TenantId
from passmill.errors import AppError, Reason

T = TypeVar("T")

_MAX_TOGETHER: Final = 64  # while they are answered, the next are read
_READ_SECONDS: Final = 5.0
# Where reads come faster than they are made, at least so many share a statement, or those that
# come within a millisecond: else the statements take most of the processor's time, and everybody
# waits longer.
_ENOUGH: Final = 16
_GATHER_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True, eq=False)
class _Rider(Generic[T]):
    pass_id: PassId
    answer: asyncio.Future[T | None]


class ReadTogether(Generic[T]):
    """Reads something of passes, one lane a tenant. `read`: reads many at once, by their ids, as
    far as they exist. Its tasks belong to the task group given."""

    __slots__ = ("_lanes", "_read", "_tasks")

    def __init__(
        self,
        read: Callable[[Caller, Sequence[PassId]], Awaitable[Mapping[PassId, T]]],
        *,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._read = read
        self._tasks = tasks
        # A lane is there as long as somebody is at work in it.
        self._lanes: dict[TenantId, deque[_Rider[T]]] = {}

    async def __call__(self, caller: Caller, pass_id: PassId) -> T | None:
        """What is read of a pass, None when there is no such pass. AppError DEADLINE_EXCEEDED, and
        whatever reading raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T | None] = loop.create_future()
        rider = _Rider(pass_id, answer)
        lane = self._lanes.get(caller.tenant_id)
        if lane is None:
            lane = self._lanes[caller.tenant_id] = deque()
            self._tasks.create_task(self._run_lane(caller.tenant_id, lane))
        lane.append(rider)
        # A third of what asyncio.timeout_at costs, and there may be thousands a second.
        expiry = loop.call_at(caller.deadline, _expire, answer)
        try:
            return await answer
        finally:
            expiry.cancel()

    async def _run_lane(self, tenant_id: TenantId, lane: deque[_Rider[T]]) -> None:
        try:
            while lane:
                # Whoever has given up meanwhile is not read for.
                riders = [lane.popleft() for _ in range(min(len(lane), _MAX_TOGETHER))]
                riders = [rider for rider in riders if not rider.answer.done()]
                if riders:
                    await self._answer(tenant_id, riders)
                if 0 < len(lane) < _ENOUGH:
                    await asyncio.sleep(_GATHER_SECONDS)
        finally:
            del self._lanes[tenant_id]
            for rider in lane:
                rider.answer.cancel()

    async def _answer(self, tenant_id: TenantId, riders: Sequence[_Rider[T]]) -> None:
        deadline = asyncio.get_running_loop().time() + _READ_SECONDS
        caller = internal_caller(tenant_id, deadline=deadline)
        try:
            found = await self._read(caller, list({rider.pass_id for rider in riders}))
        except asyncio.CancelledError:
            for rider in riders:
                rider.answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            for rider in riders:
                if not rider.answer.done():
                    rider.answer.set_exception(_again(error))
            return
        for rider in riders:
            if not rider.answer.done():
                rider.answer.set_result(found.get(rider.pass_id))


def _expire(answer: asyncio.Future[T | None]) -> None:
    if not answer.done():
        answer.set_exception(
            AppError(reason=Reason.DEADLINE_EXCEEDED, message="The deadline passed. Retry.")
        )


def _again(error: Exception) -> Exception:
    """An error for one of several to raise: each adds its own traceback to it."""
    if not isinstance(error, AppError):
        return error
    return AppError(
        reason=error.reason,
        message=error.message,
        metadata=error.metadata,
        retry_after=error.retry_after,
    )
