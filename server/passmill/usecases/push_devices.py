"""Push to devices of one pass type: now, or at the end of their windows; and see to what became of
it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from weakref import WeakValueDictionary

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.domain.push_outcomes import PushOutcome
from passmill.domain.push_rounds import next_round
from passmill.domain.registrations import DeviceNumber
from passmill.errors import AppError, Reason
from passmill.push.pace import PushPace
from passmill.push.topic_places import TopicPlaces
from passmill.push.windows import ClosedWindow, PushWindows
from passmill.signing.identities import IdentityCache
from passmill.signing.native import SigningIdentity
from passmill.store import devices
from passmill.store.database import Database
from passmill.store.push_jobs import MOST_DEVICES, enqueue_device_push
from passmill.telemetry.push_metrics import PushMetrics
from passmill.usecases.guard_topics import GuardTopics
from passmill.usecases.judge_pushes import NEVER_REACHED, JudgePushes
from passmill.usecases.send_pushes import DevicePush, SendPushes

ATTEMPTS_A_ROUND: Final = 2
"""The engine's own; with the four rounds of `domain.push_rounds` a token that fails where others do
not is pushed at most eight times."""
_SECONDS: Final = 30.0
# A trailing push that came before its window's end would only be queued again.
_AFTER_WINDOW: Final = timedelta(milliseconds=200)
_AGAIN: Final = timedelta(seconds=5)
_NOT_SIGNING: Final = frozenset({Reason.NO_SIGNING_IDENTITY, Reason.SIGNING_IDENTITY_EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pushed:
    """`unproven`: failed, and nobody can tell whether it is for their tokens."""

    ended: Mapping[bytes, PushOutcome] = field(repr=False)
    unproven: Set[bytes] = field(repr=False)


class PushDevices:
    """Pushes, each device once a window."""

    def __init__(
        self,
        *,
        database: Database,
        identities: IdentityCache,
        send: SendPushes,
        judge: JudgePushes,
        windows: PushWindows,
        pace: PushPace,
        places: TopicPlaces,
        guard: GuardTopics,
        clock: Clock,
        metrics: PushMetrics,
    ) -> None:
        self._database = database
        self._identities = identities
        self._send = send
        self._judge = judge
        self._windows = windows
        self._pace = pace
        self._places = places
        self._guard = guard
        self._clock = clock
        self._metrics = metrics
        # A lock lives as long as somebody holds it or waits for it.
        self._queueing: WeakValueDictionary[tuple[TenantId, str], asyncio.Lock] = (
            WeakValueDictionary()
        )

    async def __call__(self, wanted: DevicePush) -> None:
        """Every device has been pushed, or a job that will push it is in the queue.

        Done again, it pushes again, and loses nothing. AppError UNAVAILABLE while the pass type is
        stopped or APNs answers nobody, RATE_LIMITED while it has the places it may have: nothing is
        over then, do it again later.
        """
        if wanted.targets:
            with self._places.take(wanted.tenant_id, wanted.topic):
                await self._push_all(wanted)

    async def _push_all(self, wanted: DevicePush) -> None:
        is_free = await self._guard.admit(_inside(wanted.tenant_id), wanted.topic)
        identity = await self._identity(wanted)
        if not is_free:
            await self._judge.probe(wanted, identity)
        every = list(wanted.targets)
        # Many phones may hold one pass.
        for start in range(0, len(every), MOST_DEVICES):
            tokens = every[start : start + MOST_DEVICES]
            if not wanted.rounds:
                tokens = await self._open_windows(wanted, tokens)
            pushed = await self._push(wanted, identity, tokens)
            if pushed.ended:
                await self._settle(wanted, pushed)

    async def _identity(self, wanted: DevicePush) -> SigningIdentity:
        caller = _inside(wanted.tenant_id)
        try:
            _, identity = await self._identities.active(caller, wanted.topic)
        except AppError as error:
            if error.reason not in _NOT_SIGNING:
                raise
            await self._guard.stop(caller, wanted.topic, error.reason.value)
            raise
        return identity

    async def _open_windows(self, wanted: DevicePush, tokens: list[bytes]) -> list[bytes]:
        is_open, needs_trailing = await self._try_windows(wanted, tokens)
        trailing = len(needs_trailing)
        if needs_trailing:
            caller = _inside(wanted.tenant_id)
            async with self._queueing_alone(caller, wanted.topic):
                late, needs_trailing = await self._try_windows(wanted, list(needs_trailing))
                is_open += late
                trailing = len(needs_trailing)
                if needs_trailing:
                    await self._queue_trailing(caller, wanted, needs_trailing)
        self._metrics.windows(
            is_open=len(is_open),
            trailing=trailing,
            joined=len(tokens) - len(is_open) - trailing,
        )
        return is_open

    @asynccontextmanager
    async def _queueing_alone(self, caller: Caller, topic: str) -> AsyncIterator[None]:
        """Changes of one pass come together: without the lock each would queue a trailing push of
        its own before the first of them is seen in the window. AppError DEADLINE_EXCEEDED."""
        lock = self._queueing.setdefault((caller.tenant_id, topic), asyncio.Lock())
        try:
            async with asyncio.timeout_at(caller.deadline):
                await lock.acquire()
        except TimeoutError:
            raise AppError(
                reason=Reason.DEADLINE_EXCEEDED, message="Others queue this pass type's pushes."
            ) from None
        try:
            yield
        finally:
            lock.release()

    async def _try_windows(
        self, wanted: DevicePush, tokens: list[bytes]
    ) -> tuple[list[bytes], dict[bytes, ClosedWindow]]:
        """Whose window is open now, and who needs a trailing push at the end of one."""
        found = await self._windows.open(wanted.tenant_id, wanted.topic, tokens, wanted.push_id)
        is_open = [token for token, window in zip(tokens, found, strict=True) if window is None]
        # A trailing push is never left to another one (`push.windows` says why).
        return is_open, {
            token: window
            for token, window in zip(tokens, found, strict=True)
            if window is not None and (wanted.is_trailing or not window.has_trailing)
        }

    async def _queue_trailing(
        self, caller: Caller, wanted: DevicePush, trailing: Mapping[bytes, ClosedWindow]
    ) -> None:
        async with self._database.transaction(caller) as tx:
            await enqueue_device_push(
                tx,
                _devices(wanted, list(trailing)),
                delay=max(window.left for window in trailing.values()) + _AFTER_WINDOW,
                is_trailing=True,
            )
        await self._windows.mark_trailing(
            [window for window in trailing.values() if not window.has_trailing]
        )

    async def _push(
        self, wanted: DevicePush, identity: SigningIdentity, tokens: Sequence[bytes]
    ) -> _Pushed:
        every: dict[bytes, PushOutcome] = {}
        is_silent = False
        for start in range(0, len(tokens), self._pace.most_at_once):
            some = tokens[start : start + self._pace.most_at_once]
            self._metrics.paced(await self._pace.wait(len(some)))
            if start:
                # Another worker may have seen by now that the topic is refused.
                await self._guard.admit(_inside(wanted.tenant_id), wanted.topic)
            ended = await self._send(wanted, identity, some)
            every |= await self._judge.refused(wanted, identity, ended)
            is_silent = await self._judge.is_silence_unproven(wanted, identity, every)
        return _Pushed(
            ended=every,
            unproven={token for token, outcome in every.items() if is_silent or outcome.is_blamed},
        )

    async def _settle(self, wanted: DevicePush, pushed: _Pushed) -> None:
        await self._end_registrations(wanted, pushed.ended)
        again: defaultdict[bool, list[bytes]] = defaultdict(list)
        unreached = []
        for token, outcome in pushed.ended.items():
            is_unproven = token in pushed.unproven
            if outcome.reason in NEVER_REACHED:
                unreached.append(token)
            elif is_unproven or outcome.may_pass or outcome.stops_topic:
                again[is_unproven].append(token)
        async with self._database.transaction(_inside(wanted.tenant_id)) as tx:
            for is_unproven, tokens in again.items():
                delay = next_round(wanted.rounds, is_unproven=is_unproven)
                if delay is not None:
                    await enqueue_device_push(
                        tx, _devices(wanted, tokens), delay=delay, rounds=wanted.rounds + 1
                    )
            await enqueue_device_push(
                tx, _devices(wanted, unreached), delay=_AGAIN, rounds=max(wanted.rounds, 1)
            )
            await self._send.record(tx, wanted, pushed.ended)

    async def _end_registrations(
        self, wanted: DevicePush, ended: Mapping[bytes, PushOutcome]
    ) -> None:
        if not wanted.rounds:
            self._metrics.endings_held(sum(outcome.is_blamed for outcome in ended.values()))
        dead = [
            devices.DeadToken(push_token=token.hex(), invalidated_at=outcome.at)
            for token, outcome in ended.items()
            if outcome.at is not None and outcome.is_terminal_token
        ]
        if dead:
            async with self._database.transaction(_inside(wanted.tenant_id)) as tx:
                gone = await devices.forget_tokens(
                    tx, dead, pass_type_identifier=wanted.topic, now=self._clock.now()
                )
            self._metrics.registrations_ended(len(gone))


def _devices(wanted: DevicePush, tokens: Sequence[bytes]) -> list[DeviceNumber]:
    return [DeviceNumber(number) for token in tokens for number in wanted.targets[token]]


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _SECONDS
    return internal_caller(tenant_id, deadline=deadline)
