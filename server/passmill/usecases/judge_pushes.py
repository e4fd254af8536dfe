"""Find out what a failed push says: that its token is dead, or nothing of it. A wrong certificate
looks like bad tokens, and a silent APNs like tokens that it does not answer. A push to another
device of the topic, a witness, tells which it is."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from passmill.domain.callers import Caller, internal_caller
from passmill.domain.clock import Clock
from passmill.domain.ids import TenantId
from passmill.domain.push_outcomes import PushOutcome, PushState
from passmill.domain.registrations import DeviceNumber
from passmill.errors import AppError, Reason
from passmill.push.pace import PushPace
from passmill.signing.native import SigningIdentity
from passmill.store import devices, stopped_topics
from passmill.store.database import Database
from passmill.telemetry.push_metrics import PushMetrics
from passmill.usecases.guard_topics import GuardTopics
from passmill.usecases.send_pushes import DevicePush, SendPushes

_SECONDS: Final = 30.0
_AGAIN: Final = timedelta(seconds=5)
# The engine's words for an endpoint it never spoke to, and for its own end.
NEVER_REACHED: Final = frozenset({"DNS", "CONNECT", "CLOSED"})


class JudgePushes:
    """Judges what failed, by witnesses."""

    def __init__(
        self,
        *,
        database: Database,
        send: SendPushes,
        pace: PushPace,
        guard: GuardTopics,
        clock: Clock,
        metrics: PushMetrics,
    ) -> None:
        self._database = database
        self._send = send
        self._pace = pace
        self._guard = guard
        self._clock = clock
        self._metrics = metrics

    async def probe(self, wanted: DevicePush, identity: SigningIdentity) -> None:
        """Tries a stopped topic with one push: it goes on if Apple takes that, else AppError
        UNAVAILABLE."""
        # Not its own tokens where there are others: whoever is first in the queue may have bad ones
        # alone, each time.
        witness = await self._find_witness(wanted, ()) or _any_of(wanted, list(wanted.targets))
        outcome = await self._push_witness(witness, identity)
        caller = _inside(wanted.tenant_id)
        if not outcome.proves_topic:
            await self._guard.stop(caller, wanted.topic, outcome.reason)
        await self._guard.resume(caller, wanted.topic)

    async def refused(
        self, wanted: DevicePush, identity: SigningIdentity, ended: Mapping[bytes, PushOutcome]
    ) -> dict[bytes, PushOutcome]:
        """How these pushes ended, where those whose tokens were refused are pushed once more after
        a push that shows that the topic is good: what is refused before and after that is dead, as
        its outcome then says (`at`). Where none shows it they are as they were: nobody can tell.

        AppError UNAVAILABLE: it is the topic, and is stopped.
        """
        caller = _inside(wanted.tenant_id)
        outcomes = list(ended.values())
        await self._guard.note(caller, wanted.topic, outcomes, is_again=wanted.rounds > 0)
        refused = [token for token, outcome in ended.items() if outcome.is_blamed]
        if not refused:
            return dict(ended)
        good = [token for token, outcome in ended.items() if outcome.proves_topic]
        witness = _any_of(wanted, good) if good else await self._find_witness(wanted, refused)
        said = await self._push_witness(witness, identity) if witness else None
        if said is not None and said.proves_topic:
            return {**ended, **await self._push_again(wanted, identity, refused)}
        caller = _inside(wanted.tenant_id)
        if said is not None and said.stops_topic:
            await self._guard.stop(caller, wanted.topic, said.reason or str(said.status))
        # A witness that Apple is too busy for speaks neither for the topic nor against it.
        is_alone = said is None or said.is_blamed
        if is_alone and self._guard.is_in_doubt(caller, wanted.topic):
            await self._guard.stop(caller, wanted.topic, ended[refused[-1]].reason)
        return dict(ended)

    async def is_silence_unproven(
        self, wanted: DevicePush, identity: SigningIdentity, ended: Mapping[bytes, PushOutcome]
    ) -> bool:
        """Whether nobody of these was answered, and the topic has no other to ask.

        AppError UNAVAILABLE when another one is not answered either: APNs is away.
        """
        if any(not each.is_unanswered for each in ended.values()):
            return False
        if not all(each.reason in NEVER_REACHED for each in ended.values()):
            witness = await self._find_witness(wanted, list(ended))
            if witness is None:
                return True
            if not (await self._push_witness(witness, identity)).is_unanswered:
                return False
        raise AppError(
            reason=Reason.UNAVAILABLE, message="APNs does not answer.", retry_after=_AGAIN
        )

    async def _push_again(
        self, wanted: DevicePush, identity: SigningIdentity, refused: Sequence[bytes]
    ) -> dict[bytes, PushOutcome]:
        self._guard.clear(_inside(wanted.tenant_id), wanted.topic)
        self._metrics.paced(await self._pace.wait(len(refused)))
        again = await self._send(wanted, identity, refused)
        return {
            # Given again since it was read, it is another registration's.
            token: replace(outcome, at=wanted.read_time) if outcome.is_blamed else outcome
            for token, outcome in again.items()
        }

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
        """Who was just asked gives way to others the next time."""
        ended = await self._send(witness, identity, list(witness.targets))
        [(token, outcome)] = ended.items()
        async with self._database.transaction(_inside(witness.tenant_id)) as tx:
            if outcome.stops_topic:
                # It is not the device's fault, which is still one that was reached.
                numbers = [DeviceNumber(number) for number in witness.targets[token]]
                await stopped_topics.note_asked(tx, numbers, now=self._clock.now())
            else:
                await self._send.record(tx, witness, ended)
        return outcome


def _any_of(wanted: DevicePush, tokens: Sequence[bytes]) -> DevicePush:
    token = secrets.choice(tokens)
    return replace(wanted, targets={token: wanted.targets[token]})


def _inside(tenant_id: TenantId) -> Caller:
    deadline = asyncio.get_running_loop().time() + _SECONDS
    return internal_caller(tenant_id, deadline=deadline)
