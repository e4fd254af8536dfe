"""Single passes ride along: those that come while another is being signed are signed together.

A lone request is signed at once. Those that come meanwhile, for the same revision and identity,
wait for it to end; the first of them then takes all the others with it, eight to a vector. So
nobody waits for a group to fill, and a burst costs a third of what its passes would cost alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from passmill.signing.native import PreparedRevision, SignerError, SigningIdentity

Request = TypeVar("Request")
Answer = TypeVar("Answer")

_MAX_TOGETHER: Final = 64  # some milliseconds of work: nobody waits long for the others
# Revision and identity by id: whoever is at work holds both, so neither is used again meanwhile.
_Lane: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Rider(Generic[Request, Answer]):
    """Somebody who waits. `answer` None: to lead the next group."""

    request: Request
    answer: asyncio.Future[Answer | None]


class Rides(Generic[Request, Answer]):
    """Gathers requests that are under way at the same time. `sign`: signs some for one revision and
    identity, in their order."""

    __slots__ = ("_sign", "_waiting")

    def __init__(
        self,
        sign: Callable[
            [PreparedRevision, SigningIdentity, Sequence[Request]], Awaitable[Sequence[Answer]]
        ],
    ) -> None:
        self._sign = sign
        # A lane is there as long as somebody is at work in it.
        self._waiting: dict[_Lane, list[_Rider[Request, Answer]]] = {}

    async def sign(
        self, prepared: PreparedRevision, identity: SigningIdentity, request: Request
    ) -> Answer:
        """Signs one pass, alone or among others. Raises what signing it raises; another's fault is
        not its own."""
        lane = (id(prepared), id(identity))
        if lane not in self._waiting:
            self._waiting[lane] = []
        elif (answer := await self._wait(lane, request)) is not None:
            return answer
        waiting = self._waiting[lane]
        others = waiting[: _MAX_TOGETHER - 1]
        del waiting[: len(others)]
        try:
            return await self._lead(prepared, identity, request, others)
        finally:
            # Whoever has no answer, as this task was cancelled, waits on, before the rest.
            waiting[:0] = [each for each in others if not each.answer.done()]
            self._hand_on(lane)

    async def _wait(self, lane: _Lane, request: Request) -> Answer | None:
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        rider = _Rider(request, future)
        self._waiting[lane].append(rider)
        try:
            return await future
        except asyncio.CancelledError:
            if rider in self._waiting.get(lane, ()):
                self._waiting[lane].remove(rider)
            elif future.done() and not future.cancelled() and future.result() is None:
                self._hand_on(lane)  # it was its turn to lead
            raise

    async def _lead(
        self,
        prepared: PreparedRevision,
        identity: SigningIdentity,
        request: Request,
        others: Sequence[_Rider[Request, Answer]],
    ) -> Answer:
        try:
            mine, *theirs = await self._sign(
                prepared, identity, [request, *(each.request for each in others)]
            )
        except SignerError:
            if not others:
                raise
            # One pass' fault must not be its neighbours': each alone.
            for other in others:
                await self._answer_alone(prepared, identity, other)
            [mine] = await self._sign(prepared, identity, [request])
            return mine
        for other, answer in zip(others, theirs, strict=True):
            if not other.answer.done():
                other.answer.set_result(answer)
        return mine

    async def _answer_alone(
        self,
        prepared: PreparedRevision,
        identity: SigningIdentity,
        other: _Rider[Request, Answer],
    ) -> None:
        try:
            [answer] = await self._sign(prepared, identity, [other.request])
        except SignerError as error:
            if not other.answer.done():
                other.answer.set_exception(error)
        else:
            if not other.answer.done():
                other.answer.set_result(answer)

    def _hand_on(self, lane: _Lane) -> None:
        """Lets the first who still waits lead, or closes the lane."""
        waiting = self._waiting[lane]
        while waiting:
            first = waiting.pop(0)
            if not first.answer.done():
                first.answer.set_result(None)
                return
        del self._waiting[lane]
