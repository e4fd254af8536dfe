"""Push to devices of one pass type: now, or at the end of their windows; and see to what became of
it."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import perf_counter
from typing import Final, Protocol
from uuid import UUID

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.domain.push_outcomes import PushOutcome, PushState
from passmill.domain.registrations import DeviceNumber
from passmill.errors import AppError, Reason
from passmill.push.pace import PushPace
from passmill.push.topic_places import TopicPlaces
from passmill.push.windows import ClosedWindow, PushWindows
from passmill.signing.identities import IdentityCache
from passmill.signing.native import SigningIdentity
from passmill.store import devices
from passmill.store.database import Database, Transaction
from passmill.store.push_counts import add_push_counts
from passmill.store.push_jobs import MOST_DEVICES, enqueue_device_push
from passmill.telemetry.push_metrics import PushMetrics
from passmill.usecases.guard_topics import GuardTopics, is_blamed

ATTEMPTS_A_ROUND: Final = 2
"""The engine's own; with the rounds below a token is pushed at most eight times."""
_NEXT_ROUND: Final = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=3))
_SECONDS: Final = 30.0
# A trailing push that came before its window's end would only be queued again.
_AFTER_WINDOW: Final = timedelta(milliseconds=200)
_AGAIN: Final = timedelta(seconds=5)
_NOT_SIGNING: Final = frozenset({Reason.NO_SIGNING_IDENTITY, Reason.SIGNING_IDENTITY_EXPIRED})
# The engine's words for an endpoint it never spoke to, and for its own end.
_NEVER_REACHED: Final = frozenset({"DNS", "CONNECT", "CLOSED"})
# So many tokens may go unanswered by themselves where nobody can tell.
_FEW: Final = 5


class Pusher(Protocol):
    """The push engine (`push.apns.ApnsPools`)."""

    async def push(
        self, tenant_id: TenantId, identity: SigningIdentity, tokens: Sequence[str]
    ) -> list[PushOutcome]:
        """How each push ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePush:
    """Whom to push, of one pass type. `targets`: device numbers by token, as they were at
    `read_time`. `push_id`, `rounds`, `is_trailing`: as of `store.push_jobs.PushPayload`."""

    tenant_id: TenantId
    topic: str
    targets: Mapping[bytes, Sequence[int]] = field(repr=False)
    read_time: datetime
    push_id: UUID
    rounds: int
    is_trailing: bool


class PushDevices:
    """Pushes, each device once a window."""

    def __init__(
        self,
        *,
        database: Database,
        identities: IdentityCache,
        pusher: Pusher,
        windows: PushWindows,
        pace: PushPace,
        places: TopicPlaces,
        guard: GuardTopics,
        clock: Clock,
        metrics: PushMetrics,
    ) -> None:
        self._database = database
        self._identities = identities
        self._pusher = pusher
        self._windows = windows
        self._pace = pace
        self._places = places
        self._guard = guard
        self._clock = clock
        self._metrics = metrics
        self._queueing_trailing = asyncio.Lock()

    async def __call__(self, wanted: DevicePush) -> None:
        """Every device has been pushed, or a job that will push it is in the queue.

        Done again, it pushes again, and loses nothing. AppError UNAVAILABLE while the pass type is
        stopped, has the places it may have, or APNs answers nobody: nothing is over then, do it
        again later.
        """
        if wanted.targets:
            with self._places.take(wanted.tenant_id, wanted.topic):
                await self._push_all(wanted)

    async def _push_all(self, wanted: DevicePush) -> None:
        is_free = await self._guard.admit(_inside(wanted.tenant_id), wanted.topic)
        identity = await self._identity(wanted)
        if not is_free:
            await self._probe(wanted, identity)
        every = list(wanted.targets)
        # Many phones may hold one pass.
        for start in range(0, len(every), MOST_DEVICES):
            tokens = every[start : start + MOST_DEVICES]
            if not wanted.rounds:
                tokens = await self._open_windows(wanted, tokens)
            ended = await self._push(wanted, identity, tokens)
            if ended:
                await self._settle(wanted, ended)

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

    async def _probe(self, wanted: DevicePush, identity: SigningIdentity) -> None:
        # Not its own tokens where there are others: whoever is first in the queue may have bad ones
        # alone, each time.
        witness = await self._find_witness(wanted, ()) or _any_of(wanted, list(wanted.targets))
        outcome = await self._push_witness(witness, identity)
        caller = _inside(wanted.tenant_id)
        if not outcome.proves_topic:
            await self._guard.stop(caller, wanted.topic, outcome.reason)
        await self._guard.resume(caller, wanted.topic)

    async def _find_witness(
        self, wanted: DevicePush, besides: Sequence[bytes]
    ) -> DevicePush | None:
        """A device of the topic that should be reached, other than these: what Apple says to its
        token, it says of the topic."""
        async with self._database.statement(_inside(wanted.tenant_id)) as tx:
            found = await devices.find_reached_device(
                tx,
                wanted.topic,
                besides=[token.hex() for token in besides],
                near=secrets.token_hex(16),
                reached=PushState.ACCEPTED,
            )
        if found is None:
            return None
        number, token = found
        return replace(wanted, targets={bytes.fromhex(token): [number]})

    async def _push_witness(self, witness: DevicePush, identity: SigningIdentity) -> PushOutcome:
        ended = await self._push_now(witness, identity, list(witness.targets))
        [outcome] = ended.values()
        if not outcome.stops_topic:
            # Who is not accepted gives way to others the next time.
            async with self._database.transaction(_inside(witness.tenant_id)) as tx:
                await self._record(tx, witness, ended)
        return outcome

    async def _open_windows(self, wanted: DevicePush, tokens: list[bytes]) -> list[bytes]:
        is_open, needs_trailing = await self._try_windows(wanted, tokens)
        trailing = len(needs_trailing)
        if needs_trailing:
            # Changes of one pass come together: without the lock each would queue a trailing push
            # of its own before the first of them is seen in the window.
            async with self._queueing_trailing:
                late, needs_trailing = await self._try_windows(wanted, list(needs_trailing))
                is_open += late
                trailing = len(needs_trailing)
                if needs_trailing:
                    await self._queue_trailing(wanted, needs_trailing)
        self._metrics.windows(
            is_open=len(is_open),
            trailing=trailing,
            joined=len(tokens) - len(is_open) - trailing,
        )
        return is_open

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
        self, wanted: DevicePush, trailing: Mapping[bytes, ClosedWindow]
    ) -> None:
        async with self._database.transaction(_inside(wanted.tenant_id)) as tx:
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
    ) -> dict[bytes, PushOutcome]:
        every: dict[bytes, PushOutcome] = {}
        for start in range(0, len(tokens), self._pace.most_at_once):
            some = tokens[start : start + self._pace.most_at_once]
            self._metrics.paced(await self._pace.wait(len(some)))
            if start:
                # Another worker may have seen by now that the topic is refused.
                await self._guard.admit(_inside(wanted.tenant_id), wanted.topic)
            ended = await self._push_now(wanted, identity, some)
            caller = _inside(wanted.tenant_id)
            if await self._guard.judge(caller, wanted.topic, list(ended.values())):
                ended |= await self._push_refused(wanted, identity, ended)
            every |= ended
            if await self._is_apns_away(wanted, identity, every):
                raise AppError(
                    reason=Reason.UNAVAILABLE, message="APNs does not answer.", retry_after=_AGAIN
                )
        return every

    async def _push_now(
        self, wanted: DevicePush, identity: SigningIdentity, tokens: Sequence[bytes]
    ) -> dict[bytes, PushOutcome]:
        began = perf_counter()
        with self._places.pushing(wanted.tenant_id, wanted.topic):
            ended = await self._pusher.push(
                wanted.tenant_id, identity, [token.hex() for token in tokens]
            )
        self._metrics.pushed(_by_outcome(ended), seconds=perf_counter() - began)
        return dict(zip(tokens, ended, strict=True))

    async def _push_refused(
        self, wanted: DevicePush, identity: SigningIdentity, ended: Mapping[bytes, PushOutcome]
    ) -> dict[bytes, PushOutcome]:
        """Once more those whose tokens were refused, after a push that shows that the topic is
        good: what is refused before and after that is dead. AppError UNAVAILABLE when none shows
        it: the topic is stopped."""
        refused = [token for token, outcome in ended.items() if is_blamed(outcome)]
        good = [token for token, outcome in ended.items() if outcome.proves_topic]
        witness = _any_of(wanted, good) if good else await self._find_witness(wanted, refused)
        is_good = witness is not None and (await self._push_witness(witness, identity)).proves_topic
        caller = _inside(wanted.tenant_id)
        if not is_good:
            await self._guard.stop(caller, wanted.topic, ended[refused[-1]].reason)
        self._guard.clear(caller, wanted.topic)
        self._metrics.paced(await self._pace.wait(len(refused)))
        again = await self._push_now(wanted, identity, refused)
        return {
            # Given again since it was read, it is another registration's.
            token: replace(outcome, at=wanted.read_time) if is_blamed(outcome) else outcome
            for token, outcome in again.items()
        }

    async def _is_apns_away(
        self, wanted: DevicePush, identity: SigningIdentity, ended: Mapping[bytes, PushOutcome]
    ) -> bool:
        """Whether nobody is answered, not only these."""
        if any(each.state is not PushState.UNREACHABLE for each in ended.values()):
            return False
        if all(each.reason in _NEVER_REACHED for each in ended.values()):
            return True
        witness = await self._find_witness(wanted, list(ended))
        if witness is None:
            return len(ended) > _FEW
        return (await self._push_witness(witness, identity)).state is PushState.UNREACHABLE

    async def _settle(self, wanted: DevicePush, ended: Mapping[bytes, PushOutcome]) -> None:
        await self._end_registrations(wanted, ended)
        again, unreached = [], []
        for token, outcome in ended.items():
            if outcome.reason in _NEVER_REACHED:
                unreached.append(token)
            elif outcome.may_pass or outcome.stops_topic:
                again.append(token)
        async with self._database.transaction(_inside(wanted.tenant_id)) as tx:
            if again and wanted.rounds < len(_NEXT_ROUND):
                await enqueue_device_push(
                    tx,
                    _devices(wanted, again),
                    delay=_NEXT_ROUND[wanted.rounds],
                    rounds=wanted.rounds + 1,
                )
            await enqueue_device_push(
                tx, _devices(wanted, unreached), delay=_AGAIN, rounds=max(wanted.rounds, 1)
            )
            await self._record(tx, wanted, ended)

    async def _record(
        self, tx: Transaction, wanted: DevicePush, ended: Mapping[bytes, PushOutcome]
    ) -> None:
        await devices.record_pushes(
            tx,
            [
                devices.PushRecord(
                    device_number=DeviceNumber(number), state=outcome.state, reason=outcome.reason
                )
                for token, outcome in ended.items()
                for number in wanted.targets[token]
            ],
            now=self._clock.now(),
        )
        await add_push_counts(
            tx,
            wanted.topic,
            Counter((int(each.state), each.reason) for each in ended.values()),
            day=self._clock.now().date(),
        )

    async def _end_registrations(
        self, wanted: DevicePush, ended: Mapping[bytes, PushOutcome]
    ) -> None:
        caller = _inside(wanted.tenant_id)
        dead = [
            devices.DeadToken(push_token=token.hex(), invalidated_at=outcome.at)
            for token, outcome in ended.items()
            if outcome.at is not None and outcome.is_terminal_token
        ]
        blamed = [token for token, outcome in ended.items() if is_blamed(outcome)]
        if blamed and self._guard.are_tokens_to_blame(caller, wanted.topic):
            # Given again since it was read, it is another registration's.
            dead += [
                devices.DeadToken(push_token=token.hex(), invalidated_at=wanted.read_time)
                for token in blamed
            ]
        else:
            self._metrics.endings_held(len(blamed))
        if dead:
            async with self._database.transaction(caller) as tx:
                gone = await devices.forget_tokens(
                    tx, dead, pass_type_identifier=wanted.topic, now=self._clock.now()
                )
            self._metrics.registrations_ended(len(gone))


def _any_of(wanted: DevicePush, tokens: Sequence[bytes]) -> DevicePush:
    token = secrets.choice(tokens)
    return replace(wanted, targets={token: wanted.targets[token]})


def _devices(wanted: DevicePush, tokens: Sequence[bytes]) -> list[DeviceNumber]:
    return [DeviceNumber(number) for token in tokens for number in wanted.targets[token]]


def _by_outcome(ended: Sequence[PushOutcome]) -> Counter[tuple[str, str]]:
    return Counter((each.state.name.lower(), each.reason) for each in ended)


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _SECONDS
    return internal_caller(tenant_id, deadline=deadline)
